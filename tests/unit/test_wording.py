"""Numbers with their nouns."""

import pytest

from tfcli.wording import counted


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 lines"), (1, "1 line"), (2, "2 lines"), (12_345, "12,345 lines")]
)
def test_one_is_singular_and_all_else_plural(count, said):
    assert counted(count, "line") == said


def test_a_plural_of_its_own_is_given():
    assert [counted(n, "entry", "entries") for n in (1, 2)] == ["1 entry", "2 entries"]
