"""docs/transformer.md: its lines of source are those of today, its snippets print what it says, its pictures are what is drawn."""

import contextlib
import io
import re

import pytest

from docs.draw_transformer import IMAGES, positions, schedules, standing_alone
from docs.include_source import INCLUDED, PAGE, source_of, with_source


@pytest.fixture(scope="module")
def page():
    return PAGE.read_text(encoding="utf-8")


def test_the_lines_of_source_are_those_of_the_source(page):
    assert len(INCLUDED.findall(page)) > 20
    assert page.count("<!-- source: ") == page.count("<!-- end of source -->") == len(INCLUDED.findall(page))
    assert with_source(page) == page, "run `python docs/include_source.py`"


def test_the_snippets_print_what_stands_below_them(page):
    own = INCLUDED.sub("", page)
    snippets = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```\n", own, flags=re.DOTALL)
    assert len(snippets) == own.count("```python\n") > 10
    names = {}
    for code, printed in snippets:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(code, names)
        assert out.getvalue() == printed, code


@pytest.mark.parametrize(("name", "draw"), [("positions", positions), ("learning-rates", schedules)])
def test_a_picture_that_needs_no_training_is_the_one_that_is_drawn(name, draw):
    pytest.importorskip("PIL")
    assert (IMAGES / f"{name}.svg").read_text(encoding="utf-8") == standing_alone(draw())


def test_pictures_stand_alone_and_are_small(page):
    named = re.findall(r"\]\(images/([^)]+)\)", page)
    assert len(named) == 5
    files = [(IMAGES / name).read_text(encoding="utf-8") for name in named]
    assert sum(map(len, files)) < 150_000
    for text in files:
        assert "prefers-color-scheme:dark" in text
        assert not re.search(r"<(image|mask)|href", text)


def including(marker):
    return with_source(f"<!-- source: {marker} -->\nold\n<!-- end of source -->\n")


def test_a_method_is_included_without_docstring_and_type_checkers_comments():
    assert source_of("tfcli/model/transformer.py", "Transformer.logits") == [
        "    def logits(self, states: Tensor) -> Tensor:",
        "        return self.output(states)",
    ]
    assert including("tfcli/model/transformer.py::Transformer.logits").split("\n") == [
        "<!-- source: tfcli/model/transformer.py::Transformer.logits -->",
        "`Transformer.logits` in [tfcli/model/transformer.py](../tfcli/model/transformer.py):",
        "",
        "```python",
        "def logits(self, states: Tensor) -> Tensor:",
        "    return self.output(states)",
        "```",
        "<!-- end of source -->",
        "",
    ]


def test_a_part_goes_from_one_text_to_the_next_line_with_another():
    part = including('tfcli/model/layout.py::causal_mask, from "seen =" to "return"')
    assert part.split("```")[1].split("\n")[1:-1] == [
        "seen = torch.arange(room or start + length, device=device)",
        "return seen <= seen[start : start + length, None]",
    ]


@pytest.mark.parametrize(
    "marker",
    [
        "tfcli/model/layout.py::no_mask",
        "tfcli/model/transformer.py::Transformer.no_method",
        'tfcli/model/layout.py::causal_mask, from "nothing" to "return"',
        'tfcli/model/layout.py::causal_mask, from "return" to "seen ="',
    ],
)
def test_what_the_source_does_not_have_is_an_error(marker):
    with pytest.raises(LookupError, match="has no"):
        including(marker)
