"""Fixtures of the tests that prepare a corpus."""

import pytest

from tests.toy_corpus import files_of, sentences


@pytest.fixture
def corpora(tmp_path):
    return files_of(tmp_path, "train", sentences(400)), files_of(tmp_path, "valid", sentences(30, seed=2))


@pytest.fixture
def run_dir(tmp_path):
    return tmp_path / "run"
