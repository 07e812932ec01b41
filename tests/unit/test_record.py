"""The record of a run, opened anew at each start."""

import json
import os

import pytest

from tfcli.errors import CheckpointError
from tfcli.training.record import Record, read_rows

ROWS = [
    {"step": 5, "kind": "train"}, {"step": 10, "kind": "train"}, {"step": 10, "kind": "valid"},
    {"step": 10, "kind": "average"}, {"step": 15, "kind": "train"},
]  # fmt: skip


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS) + '{"step": 20, "ki')
    return path


def test_a_run_that_resumes_keeps_the_rows_up_to_its_step(path):
    record = Record(path.parent, 10)
    record.add("train", 15, {"loss": 2.0})
    record.close()
    assert read_rows(path) == [*ROWS[:3], {"step": 15, "kind": "train", "loss": 2.0}]


def test_a_record_that_cannot_be_written_anew_stays_as_it_was(path, monkeypatch):
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl.*No space left"):
        Record(path.parent, 10)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["metrics.jsonl"]
