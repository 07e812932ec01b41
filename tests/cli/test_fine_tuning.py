"""Training that leaves parts of the network as they are."""

import pytest

from tests.cli.conftest import write_small_corpus
from tests.cli.test_bad_input import refused


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.delenv("TFCLI_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    return write_small_corpus(tmp_path / "data")


def test_an_unknown_part_is_refused_before_any_text_is_read(recipe, tmp_path, capsys):
    (error,), hint = refused(capsys, 2, "train", recipe, "--set", "training.freeze=[encoder.1]")
    assert error == "training.freeze: no parameter's name begins with 'encoder.1'"
    assert "encoder.0" in hint
    assert not (tmp_path / "runs").exists()
