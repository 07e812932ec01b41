"""Exact resume as promised: a training that is killed at any instant, and goes on, comes to the same bytes."""

import os
import random

import pytest

from tests.killed_runs import COMMAND, Campaign, differences, fingerprint, fit_tiny_killed_before
from tests.nursery import AVERAGE, CHECKPOINT, PHASES, STEP, Nursery

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="processes are watched as Linux does it"),
]


def test_twenty_kills_at_random_instants_change_neither_weights_nor_metrics(tmp_path):
    seed = random.randrange(1 << 32)
    campaign = Campaign(tmp_path, seed)
    campaign.go(20, commands=2)
    told = f"seed {seed}, in {campaign.rounds} runs: {dict(campaign.hits)}"
    assert campaign.mismatches == [], told
    assert campaign.kills == 20
    assert campaign.hits[COMMAND] == 2, told
    assert campaign.hits.keys() & {STEP, CHECKPOINT, AVERAGE}, told


def test_a_kill_before_any_operation_on_files_changes_nothing(tmp_path):
    with Nursery(tmp_path) as nursery:
        child = nursery.start(
            "tests.killed_runs:fit_tiny", str(tmp_path), "unharmed", watched=str(tmp_path / "unharmed")
        )
        assert child.wait() == 0, nursery.said.read_text()
        assert all(child.board.times(phase) for phase in PHASES)
        expected, operations = fingerprint(tmp_path / "unharmed"), child.board.operations
        assert operations > 40
        for operation in range(1, operations + 1):
            found = fit_tiny_killed_before(nursery, tmp_path, operation)
            assert differences(found, expected) == [], f"killed before operation {operation} of {operations}"
        assert fit_tiny_killed_before(nursery, tmp_path, operations + 1) is None
