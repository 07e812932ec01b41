"""Trainings that are killed and go on until they are done, compared with one that nothing happened to.

Two kinds: the command `tfcli train` on a small corpus, killed at random instants, and the bare training loop, killed
before each of its operations on files in turn.
"""

import hashlib
import json
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tests.nursery import (
    AVERAGE,
    CHECKPOINT,
    DELETION,
    END,
    ENVIRONMENT,
    LOOP,
    START,
    STEP,
    VALIDATION,
    Nursery,
)

STEPS, CHECKPOINT_EVERY = 200, 10
RECIPE = f"""\
name: killed
seed: 5
data:
  train: [{{src: train.src, tgt: train.tgt}}]
  valid: {{src: valid.src, tgt: valid.tgt}}
tokenizer: {{kind: char, vocab_size: 40}}
model: {{preset: tiny, n_encoder_layers: 1, n_decoder_layers: 1, d_model: 16, d_ff: 32, n_heads: 2, dropout: 0.1}}
training:
  {{batch_tokens: 64, accumulation_steps: 2, max_steps: {STEPS}, learning_rate: 1e-2, warmup_steps: 10, log_every: 7,
   validate_every: 15, checkpoint_every: {CHECKPOINT_EVERY}, keep_checkpoints: 3, patience: 50, ema_decay: 0.9,
   precision: fp32, compile: false}}
decoding: {{beam_size: 1, max_output_ratio: 1.0, max_output_extra: 2}}
"""
WORDS = ("ba", "be", "bi", "bo", "bu", "da", "de", "di", "do", "du")
# What a kill waits for, how often it may come before it is time, and its weight among the others.
AIMS = {START: (1, 3), LOOP: (12, 2), STEP: (12, 5), VALIDATION: (1, 3), CHECKPOINT: (2, 4), DELETION: (2, 2)}
AIMS_AT_THE_END = (AVERAGE, AVERAGE, END)
FILES = "an operation on files"
COMMAND = "a real command"
LAST_PATIENCE = 120.0  # seconds that a start may take


def write_text(folder):
    """Write a recipe and the text that it names: words, and the same words spelt backwards."""
    chance = random.Random(1)
    for name, lines in (("train", 150), ("valid", 8)):
        src = [" ".join(chance.choices(WORDS, k=chance.randint(1, 4))) for _ in range(lines)]
        (folder / f"{name}.src").write_text("".join(f"{line}\n" for line in src))
        (folder / f"{name}.tgt").write_text("".join(f"{line[::-1]}\n" for line in src))
    (folder / "killed.yaml").write_text(RECIPE)


def fingerprint(run_dir):
    """Return all that a finished run has come to; times aside, and the model's card, which names the folder."""
    found = {
        str(path.relative_to(run_dir)): hashlib.sha256(path.read_bytes()).hexdigest()
        for pattern in ("best/*.json", "best/*.safetensors", "checkpoints/*/*.safetensors", "recipe.yaml", "finished.json", "tokenizer.model")
        for path in sorted(run_dir.glob(pattern))
    }  # fmt: skip
    folders = [run_dir, *run_dir.glob("checkpoints"), *run_dir.glob("best")]
    found["left over"] = [path.name for folder in folders for path in folder.glob(".*") if path.is_dir()]
    for path in sorted(run_dir.glob("checkpoints/*/state.json")):
        values = json.loads(path.read_text())
        del values["state"]["elapsed_seconds"]
        found[str(path.relative_to(run_dir))] = values
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().split("\n")[:-1]]
    found["rows"] = [{key: row[key] for key in row if key != "elapsed_seconds"} for row in rows]
    return found


def differences(found, expected):
    """Return the keys under which two fingerprints differ."""
    return [key for key in sorted(found.keys() | expected.keys()) if found.get(key) != expected.get(key)]


class Campaign:
    """Runs of a small recipe, killed again and again; `hits` tells what they were at, `mismatches` what differed."""

    def __init__(self, folder, seed):
        write_text(folder)
        self._folder, self._chance = folder, random.Random(seed)
        self.hits, self.mismatches, self.rounds = Counter(), [], 0

    @property
    def kills(self):
        return sum(self.hits.values())

    def go(self, kills, commands=0):
        """Kill so many times, `commands` of them, among the first half, the command as it is typed."""
        with Nursery(self._folder) as nursery:
            self._nursery = nursery
            self._learn_what_is_right()
            self._commands = set(self._chance.sample(range(kills // 2), commands))
            while self.kills < kills:
                self._round(kills)

    def _learn_what_is_right(self):
        run_dir = self._folder / "unharmed"
        child = self._start(run_dir)
        assert child.wait() == 0, self._nursery.said.read_text()
        self._usual = child.board
        self._expected = fingerprint(run_dir)
        start_time = time.perf_counter()
        assert self._start(run_dir).wait() == 0  # has nothing to do but to start
        self._start_seconds = time.perf_counter() - start_time

    def _round(self, kills):
        """Kill one run until it has nearly ended, then at its end, and compare what it comes to."""
        self.rounds += 1
        run_dir = self._folder / f"run-{self.rounds}"
        while (
            self.kills < kills - len(AIMS_AT_THE_END) and self._step(run_dir) < STEPS - 2 * CHECKPOINT_EVERY
        ):
            if self.kills in self._commands:
                self._kill_command(run_dir)
            elif self._chance.random() < 0.25:
                self._kill_before_operation(run_dir)
            else:
                aims = list(AIMS)
                aim = self._chance.choices(aims, [AIMS[each][1] for each in aims])[0]
                self._kill_in(run_dir, aim, self._chance.randint(1, AIMS[aim][0]))
        for aim in AIMS_AT_THE_END[: max(0, kills - self.kills)]:
            self._kill_in(run_dir, aim, 1)
        child = self._start(run_dir)
        if child.wait():
            self.mismatches.append(
                f"round {self.rounds}: cannot end: {self._nursery.said.read_text()[-2000:]}"
            )
        elif different := differences(fingerprint(run_dir), self._expected):
            self.mismatches.append(f"round {self.rounds}: {', '.join(different)}")
        else:
            shutil.rmtree(run_dir)

    def _start(self, run_dir, dies_before=0):
        command = ["train", str(self._folder / "killed.yaml"), "--out", str(run_dir), "-q"]
        return self._nursery.start("tfcli.app:main", command, watched=str(run_dir), dies_before=dies_before)

    def _kill_in(self, run_dir, aim, occurrence):
        """Kill when a phase has come so often, at a random instant within it or soon after."""
        usual = self._start_seconds if aim == START else self._usual.mean_seconds(aim)
        delay = self._chance.uniform(0, 1.1 * usual)
        child = self._start(run_dir)
        give_up = time.monotonic() + LAST_PATIENCE
        while not child.has_ended() and child.board.times(aim) < occurrence:
            assert time.monotonic() < give_up, f"a start does not come to its {aim}"
            time.sleep(0.0005)
        time.sleep(delay)
        child.kill()
        self._count(child, child.board.phase)

    def _kill_before_operation(self, run_dir):
        usual = self._usual.operations * CHECKPOINT_EVERY // STEPS
        child = self._start(run_dir, self._chance.randint(1, 3 * usual))
        self._count(child, FILES)

    def _count(self, child, hit):
        status = child.wait()
        if status == -9:
            self.hits[hit] += 1
        elif status:
            self.mismatches.append(f"ended with {status}: {self._nursery.said.read_text()[-2000:]}")

    def _kill_command(self, run_dir):
        """Kill the command as it is typed: while it starts up, or soon after the training has begun."""
        began = run_dir / "environment.json"
        before = began.stat().st_mtime_ns if began.exists() else 0
        early, delay = self._chance.random() < 0.3, self._chance.uniform(0.0, 1.0)
        command = ["train", str(self._folder / "killed.yaml"), "--out", str(run_dir), "-q"]
        with subprocess.Popen(
            [sys.executable, "-m", "tfcli", *command], env=ENVIRONMENT, stderr=subprocess.PIPE
        ) as process:
            give_up = time.monotonic() + LAST_PATIENCE
            while not early and process.poll() is None and time.monotonic() < give_up:
                if began.exists() and began.stat().st_mtime_ns > before:
                    break
                time.sleep(0.001)
            time.sleep(2 * delay if early else 0.3 * delay)
            process.kill()
            said = process.stderr.read().decode()
        if process.returncode == -9:
            self.hits[COMMAND] += 1
        elif process.returncode:
            self.mismatches.append(f"the command ended with {process.returncode}: {said[-2000:]}")

    @staticmethod
    def _step(run_dir):
        return max((int(path.name[5:]) for path in run_dir.glob("checkpoints/step-*")), default=0)


# Three steps with all that can be cut short: a checkpoint that goes, two validations, an average.
TINY = {
    "max_steps": 3, "validate_every": 2, "checkpoint_every": 1, "keep_checkpoints": 2, "accumulation_steps": 2,
    "ema_decay": 0.9, "patience": 9,
}  # fmt: skip


def fit_tiny(folder, name):
    """Train a network of a few thousand weights in the folder `name`, without the command around it."""
    from tests.training_runs import make_run
    from tfcli.training.fit import fit

    def score(model):  # any function of the weights
        return float(model.output.weight.detach().abs().sum())

    fit(make_run(Path(folder), name=name, validate=score, **TINY))


def fit_tiny_killed_before(nursery, folder, operation):
    """Kill `fit_tiny` before one of its operations on files; return its end, once it has gone on to it.

    None when it has fewer operations.
    """
    name = f"run-{operation}"
    call = ("tests.killed_runs:fit_tiny", str(folder), name)
    status = nursery.start(*call, watched=str(folder / name), dies_before=operation).wait()
    if status == 0:
        return None
    assert status == -9, nursery.said.read_text()
    assert nursery.start(*call, watched=str(folder / name)).wait() == 0, nursery.said.read_text()
    found = fingerprint(folder / name)
    shutil.rmtree(folder / name)
    return found
