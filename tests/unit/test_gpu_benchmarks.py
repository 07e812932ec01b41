"""The benchmarks for a GPU that is at hand for minutes come through on a CPU, and survive what fails."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.agreement import compare
from benchmarks.parts import OVER, Report, batch_rate, grow
from benchmarks.tiny_model import short_lines, write_model
from tfcli.decoding.hypothesis import ForcedTarget, Hypothesis

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CPU = torch.device("cpu")
FOREVER = float("inf")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """What the benchmark writes about tiny networks and a model folder."""
    folder = tmp_path_factory.mktemp("gpu_translate")
    write_model(folder / "model")
    lines = short_lines(1)
    (folder / "source").write_text("".join(next(lines) + "\n" for _ in range(30)))
    options = ["--device", "cpu", "--tiny", "--seconds", "0.01", "--out", folder / "found.json"]
    given = ["--model", folder / "model", "--source", folder / "source"]
    command = [sys.executable, BENCHMARKS / "gpu_translate.py", *options, *given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "found.json").read_text())


def test_no_part_of_translating_fails(measured):
    failed = {name: part["error"] for name, part in measured.items() if "error" in part}
    sizes = {name: part.get("sizes", []) for name, part in measured.items()}
    failed |= {name: size["error"] for name, of in sizes.items() for size in of if "error" in size}
    assert not failed


def test_the_same_device_finds_the_same(measured):
    for name in ("given", "small", "vaswani-base"):
        for beam in (5, 1):
            found = measured[f"{name}, check"][f"beam {beam}, fp32 against the CPU"]
            assert found["equal"] == found["lines"] > 0


def test_rates_of_every_engine_that_is_installed_are_summed_up(measured):
    for name in ("small", "vaswani-base"):
        for beam in (5, 1):
            part = f"{name}, beam {beam}"
            assert all(size["lengths_as_wanted"] for size in measured[f"{part}, torch"]["sizes"])
            for kind in ("generate", "ctranslate2"):
                rates = measured[f"{part}, {kind}"]
                assert f"times_{kind}" in measured["summary"][part] or "not installed" in rates["skipped"]
                assert rates.get("logits_differ_by", 0.0) < 1e-4


def test_a_profile_tells_what_the_device_did(measured):
    profile = measured["small, beam 5, profile of 192"]
    assert profile["device"]
    assert profile["device_busy_seconds"] <= profile["seconds_profiled"]


def test_a_part_that_fails_is_noted_and_the_next_runs(tmp_path):
    report = Report(tmp_path / "found.json", FOREVER)

    def fail():
        raise RuntimeError("no kernel image is available")

    report.part("first", fail)
    report.part("second", lambda: {"rate": 1})
    found = json.loads((tmp_path / "found.json").read_text())
    assert "no kernel image" in found["first"]["error"]
    assert found["second"]["rate"] == 1


def test_parts_are_skipped_when_the_minutes_are_used_up_but_for_the_summary(tmp_path):
    report = Report(tmp_path / "found.json", end=0.0)
    assert report.part("rate", lambda: {"rate": 1})["skipped"] == OVER
    assert report.part("summary", lambda: {"rate": 1}, always=True)["rate"] == 1


def test_sizes_grow_until_memory_is_used_up():
    def measure(size):
        if size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return {"sentences_per_second": size}

    found = grow((1, 2, 4, 8), measure, device=CPU, end=FOREVER)
    assert found["best"] == {"size": 2, "sentences_per_second": 2}
    assert [each["size"] for each in found["sizes"]] == [1, 2, 4]
    assert "out of memory" in found["sizes"][-1]["error"]


@pytest.mark.parametrize(("until_slower", "measured_sizes"), [(True, 3), (False, 4)])
def test_sizes_grow_until_they_are_slower_where_that_is_asked_for(until_slower, measured_sizes):
    rates = {1: 10.0, 2: 20.0, 4: 15.0, 8: 30.0}
    found = grow(
        rates,
        lambda size: {"sentences_per_second": rates[size]},
        device=CPU,
        end=FOREVER,
        until_slower=until_slower,
    )
    assert len(found["sizes"]) == measured_sizes
    assert found["best"]["size"] == (2 if until_slower else 8)


def test_a_rate_is_of_batches_from_long_to_short():
    worked = []

    def work(places):
        worked.append(places[0])
        return 3 * len(places), 2

    found = batch_rate(work, [[i] for i in range(9)], seconds=0.0, device=CPU)
    assert worked[-3:] == [1, 4, 7]  # before them, the middle one to warm up
    assert (found["batches"], found["sentences"]) == (3, 3)


def forced(**log_probs):
    """Return what scores outputs of these pieces."""

    def score(hypotheses):
        found = []
        for each in hypotheses:
            pieces = (*each.ids, 3)
            found.append(ForcedTarget(pieces, tuple(log_probs[f"p{piece}"] for piece in pieces)))
        return found

    return score


@pytest.mark.parametrize(("other", "ties"), [(-1.00001, 1), (-1.1, 0)])
def test_outputs_tie_only_if_they_are_as_probable(other, ties):
    one, two = Hypothesis((5, 7), -3.0, -1.0), Hypothesis((5, 8), -3.0, -1.0)
    found = compare([one, one], [one, two], forced(p5=-1.0, p7=-1.0, p8=other, p3=-1.0))
    assert (found["lines"], found["equal"], found["ties"], found["others"]) == (2, 1, ties, 1 - ties)


def test_an_output_that_begins_another_differs_at_its_end():
    one, two = Hypothesis((5,), -2.0, -1.0), Hypothesis((5, 7), -9.0, -3.0)
    found = compare([one], [two], forced(p5=-1.0, p7=-7.0, p3=-1.0))
    assert found["examples"][0]["first"] == 1
