"""`tfcli info RUN` on a training: one that was made up, row by row, and a real one while it goes on."""

import json
import math
import os
import re
import signal
import subprocess
import time

import pytest

from tests.cli.conftest import write_small_corpus
from tests.cli.test_app import loaded_by
from tests.cli.test_signals import start
from tests.cli.test_terminal import CONTROL, PLAIN, TFCLI, on_terminal
from tfcli.app import main
from tfcli.commands.sparkline import ASCII_LEVELS, BLOCKS
from tfcli.training.holding import hold

RECIPE = """\
name: toy
data:
  train: [{src: a.en, tgt: a.de}]
  valid: {src: v.en, tgt: v.de}
training: {max_steps: 20000, log_every: 5, validate_every: 500, checkpoint_every: 500}
"""
CONFIG = {"name": "toy", "model": {"d_model": 8}, "trained": {"step": 8500, "validation_bleu": 17.0}}


def train_row(step, loss):
    return {"step": step, "kind": "train", "loss": loss, "tokens": step * 400, "elapsed_seconds": step / 10}


@pytest.fixture
def run(tmp_path):
    """Return a run of 2,000 lines of training, three of them not finite, that is writing the next line."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(RECIPE)
    rows = []
    for step in range(5, 10_001, 5):
        rows.append(train_row(step, math.nan if step in (700, 705, 710) else 2 + 2000 / (step + 200)))
        if step % 500 == 0 and step < 10_000:
            bleu = 17 - abs(step - 8500) / 500
            rows.append({"step": step, "kind": "valid", "loss": 20_000 / (step + 5000), "bleu": bleu})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(lines + '{"step": 10005, "kind": "train", "lo')
    return folder


def info(run, **environment):
    """Run the command with its output in a pipe and return its lines."""
    done = subprocess.run(
        [*TFCLI, "info", str(run)], capture_output=True, env={**PLAIN, **environment}, check=True
    )
    out = done.stdout.decode(environment.get("PYTHONIOENCODING", "utf-8"))
    assert done.stderr == b""
    assert not CONTROL.search(out)
    return out.removesuffix("\n").split("\n")


def told(lines, name):
    """Return what stands behind a name, and below it for a curve."""
    place = next(i for i, line in enumerate(lines) if line.startswith(f"{name}  "))
    return lines[place].removeprefix(name).strip(), lines[place + 1].strip() if place + 1 < len(lines) else ""


def test_a_run_goes_on_from_the_newest_checkpoint_that_has_its_state(run, capsys):
    for step in (9000, 9500):
        (run / "checkpoints" / f"step-{step:08}").mkdir(parents=True)
    (run / "checkpoints" / "step-00009000" / "state.json").write_text('{"state": {"step": 9000}}')
    with hold(run, pytest.fail):
        pass
    assert as_json(capsys, run)["course"]["stopped_at"] == 9000


def as_json(capsys, run):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    assert main(["info", str(run), "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out, parse_constant=refuse)


def test_a_run_that_goes_on_is_told_with_its_curves_speed_and_time_left(run):
    lines = info(run, TERM="xterm")
    assert told(lines, "steps")[0] == "10,000 of 20,000"
    assert re.fullmatch(r"going on: last line \d+ s ago, a validation is due", told(lines, "status")[0])
    speed = "4,000 target tokens/s lately, 4,000 over the run (4,000,000 in 17 min)"
    assert told(lines, "speed")[0] == speed
    assert told(lines, "time left")[0] == "17 min to step 20,000 at this speed, validations not counted"
    curve, values = told(lines, "train loss")
    assert len(curve) == 80 - 12
    assert set(curve) == set(BLOCKS)
    assert (curve[0], curve[-1]) == ("█", "▁")
    assert values == (
        "11.756 at step 5 to 2.196 at step 10,000, lowest 2.196 at step 10,000, 3 of 2,000 values not finite"
    )
    curve, values = told(lines, "valid loss")
    assert (len(curve), curve[0], curve[-1]) == (19, "█", "▁")
    assert values == "3.636 at step 500 to 1.379 at step 9,500, best 1.379 at step 9,500"
    curve, values = told(lines, "valid BLEU")
    assert (len(curve), curve[16], curve[0]) == (19, "█", "▁")
    assert values == "1.00 at step 500 to 15.00 at step 9,500, best 17.00 at step 8,500"
    assert not any(line.startswith("best model") for line in lines)


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"PYTHONIOENCODING": "ascii", "TERM": "xterm"}])
def test_where_blocks_cannot_be_shown_the_curves_are_ascii(run, environment):
    lines = info(run, **environment)
    curve, _ = told(lines, "train loss")
    assert len(curve) == 80 - 12
    assert set(curve) == set(ASCII_LEVELS)
    assert all(line.isascii() for line in lines)


@pytest.mark.parametrize("columns", [40, 80, 160])
def test_curves_are_as_wide_as_the_terminal(run, columns):
    sent, _ = on_terminal([*TFCLI, "info", run], columns, NO_COLOR="1")
    text = sent.replace("\r\n", "\n")
    assert not CONTROL.search(text)
    assert len(told(text.split("\n"), "train loss")[0]) == columns - 12
    assert len(told(text.split("\n"), "valid BLEU")[0]) == 19


def test_json_has_the_same_as_numbers(run, capsys):
    course = as_json(capsys, run)["course"]
    assert course["status"] == "running"
    assert course["validation_is_due"]
    assert 0 <= course["seconds_since_last_line"] < 60
    assert (course["tokens"], course["elapsed_seconds"]) == (4_000_000, 1000.0)
    assert course["target_tokens_per_second"] == {"lately": 4000.0, "run": 4000.0}
    assert (course["seconds_per_step"], course["seconds_left"]) == (0.1, 1000.0)
    assert (course["skipped_updates"], course["stopped_at"]) == (None, None)
    assert len(course["train_loss"]) == 2000
    assert course["train_loss"][139] == [700, None]
    assert course["train_loss"][-1] == [10_000, pytest.approx(2 + 2000 / 10_200)]
    assert course["valid_bleu"][16] == [8500, 17.0]
    assert [step for step, _ in course["valid_loss"]] == list(range(500, 10_000, 500))


def test_what_a_run_has_not_written_yet_is_left_out(run, capsys):
    path = run / "metrics.jsonl"
    one = json.dumps(train_row(5, 9.0)) + "\n"
    for content, steps, curves in ((one, "5 of 20,000", ["train loss"]), ('{"st', "none yet", [])):
        path.write_text(content)
        lines = info(run)
        assert told(lines, "steps")[0] == steps
        assert told(lines, "status")[0].startswith("going on: ")
        assert [line.split("  ")[0] for line in lines if line[:6] in ("train ", "valid ")] == curves
    path.unlink()
    assert not any(line.startswith("status") for line in info(run))  # training has not begun
    course = as_json(capsys, run)["course"]
    assert (course["status"], course["train_loss"]) == (None, [])
    assert course["target_tokens_per_second"] == {"lately": None, "run": None}


def test_a_run_is_shown_without_waiting_for_torch(run):
    assert "torch" not in loaded_by("info", str(run))


def test_the_best_model_is_found_while_it_is_being_replaced(run, capsys):
    for name in ("best", ".best.old"):
        (run / name).mkdir()
    (run / ".best.old/config.json").write_text(json.dumps(CONFIG))
    (run / ".best.old/model.safetensors").write_bytes(b"\x02" + bytes(7) + b"{}")
    found = as_json(capsys, run)
    assert found["config"]["trained"] == CONFIG["trained"]
    assert found["weights"] == str(run / ".best.old/model.safetensors")
    assert told(info(run), "best model")[0] == f"{run / 'best'}, validation BLEU 17.00, step 8,500"


def test_a_training_can_be_followed_from_its_start_over_a_stop_to_its_end(tmp_path, capsys):
    recipe = write_small_corpus(tmp_path)
    run = tmp_path / "run"
    # so many steps would be worth compiling for, which takes minutes, where a processor has bf16 products
    changes = {
        "max_steps": 100_000,
        "log_every": 3,
        "validate_every": 12,
        "checkpoint_every": 12,
        "compile": "false",
    }
    # short translations: the weights are to be replaced often
    options = [
        word for key, value in changes.items() for word in ("--set", f"training.{key}={value}")
    ] + ["--set", "decoding.max_output_ratio=0.1"]  # fmt: skip
    training = start("train", recipe, "--out", run, "-q", *options, cwd=tmp_path)
    seen = []
    end_time = time.monotonic() + 600
    try:
        while not seen or len(seen[-1]["course"]["valid_bleu"]) < 3:
            assert training.poll() is None, training.stderr.read().decode()
            assert time.monotonic() < end_time
            if (run / "environment.json").is_file():  # training has begun
                seen.append(as_json(capsys, run))
                assert main(["info", str(run)]) == 0
                assert told(capsys.readouterr().out.split("\n"), "status")[0].startswith("going on: ")
    finally:
        training.send_signal(signal.SIGINT)
        training.communicate(timeout=120)
    assert {(found["course"]["status"], found["course"]["held"]) for found in seen} == {("running", True)}
    lengths = [len(found["course"]["train_loss"]) for found in seen]
    assert lengths == sorted(lengths)
    assert len(set(lengths)) > 2
    last = seen[-1]
    assert [step for step, _ in last["course"]["train_loss"]] == list(range(3, last["last_step"] + 1, 3))
    assert [step for step, _ in last["course"]["valid_bleu"]][:3] == [12, 24, 36]
    assert last["course"]["target_tokens_per_second"]["lately"] > 0
    left = (100_000 - last["course"]["train_loss"][-1][0]) * last["course"]["seconds_per_step"]
    assert last["course"]["seconds_left"] == pytest.approx(left)

    stopped = as_json(capsys, run)
    at = stopped["last_step"]
    assert (stopped["course"]["skipped_updates"], stopped["parameters"]) == (0, last["parameters"])
    # also where the step was to be saved in any case
    assert [stopped["course"][key] for key in ("status", "held", "stopped_at")] == ["stopped", False, at]
    assert main(["info", str(run)]) == 0
    lines = capsys.readouterr().out.split("\n")
    assert re.fullmatch(rf"stopped at step {at} of 100,000: last line \d+ s ago", told(lines, "status")[0])
    assert told(lines, "go on with")[0] == f"tfcli train {run}"
    assert (
        main(
            [
                "train",
                str(run / "recipe.yaml"),
                "--out",
                str(run),
                "-q",
                "--set",
                f"training.max_steps={at + 4}",
            ]
        )
        == 0
    )
    finished = as_json(capsys, run)
    assert (finished["course"]["status"], finished["last_step"]) == ("finished", at + 4)
    assert finished["course"]["seconds_left"] is None
    steps = [step for step, _ in finished["course"]["train_loss"]]
    assert steps == sorted(set(steps))
    assert main(["info", str(run)]) == 0
    assert told(capsys.readouterr().out.split("\n"), "status")[0] == f"finished at step {at + 4}"
    os.utime(run / "metrics.jsonl", (0, 0))
    assert as_json(capsys, run)["course"]["status"] == "finished"
