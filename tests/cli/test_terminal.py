"""What the verbs print where: on a terminal, through pipes, as JSON, and when a shell asks for completions."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import write_small_corpus
from tests.pseudo_terminal import PLAIN, on_terminal
from tfcli.app import main

TFCLI = [sys.executable, "-m", "tfcli"]
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
COLOUR = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[0-9;]*m")
SEQUENCE = re.compile(r"\x1b\[(\??[0-9;]*)([A-Za-z])")
VERBS = ("tokenize", "train", "eval", "translate", "info")


class Screen:
    """What someone in front of a terminal sees: the lines that stay, and those that were wiped out again."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.lines = [""]
        self.row = self.column = 0
        self.wiped: list[str] = []

    def show(self, stream: str) -> "Screen":
        """Follow a stream; what is no text and no movement that a progress line needs is a mistake."""
        position = 0
        while position < len(stream):
            sequence = SEQUENCE.match(stream, position)
            if sequence is not None:
                self._obey(*sequence.groups())
                position = sequence.end()
                continue
            self._put(stream[position])
            position += 1
        return self

    def _obey(self, values: str, kind: str) -> None:
        if (values, kind) == ("2", "K"):
            if self.lines[self.row].strip():
                self.wiped.append(self.lines[self.row])
            self.lines[self.row] = ""
        elif kind == "A":
            self.row -= int(values or 1)
        else:
            assert kind == "m" or (values, kind) in (("?25", "l"), ("?25", "h")), (values, kind)

    def _put(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n" or self.column == self.columns:
            self.row += 1
            self.lines += [""] * (self.row + 1 - len(self.lines))
            self.column = 0 if self.column == self.columns else self.column
        if character not in "\r\n":
            assert character.isprintable(), repr(character)
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
            self.column += 1


def training(recipe, run, **settings):
    changes = [word for key, value in settings.items() for word in ("--set", f"training.{key}={value}")]
    return ["train", str(recipe), "--out", str(run), *changes]


@pytest.fixture
def copied_run(small_run, tmp_path):
    """Return a copy of the small run, which stands at step 90 of 90."""
    return shutil.copytree(small_run, tmp_path / "run")


def test_training_on_a_terminal_draws_a_line_that_fits_and_goes_away(tmp_path):
    recipe = write_small_corpus(tmp_path)
    args = training(recipe, tmp_path / "run", max_steps=40, validate_every=20)
    sent, _ = on_terminal([*TFCLI, *args], columns=100)
    screen = Screen(100).show(sent)
    live = [line for line in screen.wiped if "loss" in line]
    assert len({re.search(r" (\d+)/40\b", line)[1] for line in live}) > 1
    assert all(re.match(r"loss \d+\.\d+ ppl [\d.,]+ lr \S+ [\d,]+ tok/s ", line) for line in live)
    assert any("━" in line for line in live)
    assert re.search(r" [1-9][\d.]* steps/s \d:\d\d:\d\d$", live[-1].rstrip())
    assert COLOUR.search(sent)
    kept = "\n".join(screen.lines)
    assert "tok/s" not in kept
    assert "━" not in kept
    assert re.search(r"^step 20: validation loss .* BLEU", kept, re.MULTILINE)
    assert re.search(r"^finished at step 40; best validation BLEU", kept, re.MULTILINE)
    assert f"model: {tmp_path / 'run' / 'best'}" in "".join(screen.lines)
    assert sent.endswith("\n")
    assert sent.rindex("\x1b[?25h") > sent.rindex("\x1b[?25l")  # the cursor is there again
    rates = [re.search(r" ([\d,]+) tok/s ", line)[1] for line in live]
    assert "0" not in rates, "there is a rate from the first step on"


def test_no_color_leaves_the_line_but_takes_its_colours(small_run, copied_run):
    args = training(small_run.parent / "small.yaml", copied_run, max_steps=105)
    sent, _ = on_terminal([*TFCLI, *args], NO_COLOR="1")
    assert not COLOUR.search(sent)
    screen = Screen(100).show(sent)
    assert any(re.search(r"loss .* tok/s .*\b\d+/105 ", line) for line in screen.wiped)
    assert any(line.startswith("finished at step 105") for line in screen.lines)


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(small_run, copied_run):
    args = training(small_run.parent / "small.yaml", copied_run, max_steps=105, log_every=5)
    sent, _ = on_terminal([*TFCLI, *args], TERM="dumb")
    text = sent.replace("\r\n", "\n")
    assert not CONTROL.search(text)
    assert re.search(r"^step 100/105: loss .* target tokens/s", text, re.MULTILINE)
    assert re.search(r"^finished at step 105", text, re.MULTILINE)


@pytest.mark.parametrize("columns", [30, 60, 80, 200])
def test_a_live_line_fits_every_terminal_and_always_has_the_count(columns):
    program = (
        "import time\n"
        "from tfcli.commands import console\n"
        "with console.progress('loss 5.31 ppl 181.2 lr 1e-03 12,345 tok/s', 20000, 'step') as bar:\n"
        "    for _ in range(8):\n"
        "        bar.advance(50); time.sleep(0.06)\n"
        "    console.say('a remark')\n"
    )
    sent, _ = on_terminal([sys.executable, "-c", program], columns)
    screen = Screen(columns).show(sent)
    assert len(screen.wiped) > 2
    assert all(re.search(r"\b[\d,]+/20,000\b", line) for line in screen.wiped)
    assert ("━" in screen.wiped[-1]) == (columns > 100)
    assert [line for line in screen.lines if line] == ["a remark"]


def test_translations_in_a_pipe_are_clean_while_the_terminal_shows_progress(small_run):
    with (small_run.parent / "valid.en").open("rb") as source:
        command = [
            *TFCLI,
            "translate",
            small_run,
            "--engine",
            "torch",
        ]  # the other says that it converts the model
        sent, translations = on_terminal(command, stdin=source, stdout=subprocess.PIPE)
    assert translations.count("\n") == 20
    assert not CONTROL.search(translations)
    screen = Screen(100).show(sent)
    assert any(re.search(r"^standard input .*\b20\b", line) for line in screen.wiped)
    doubtful = r"warning: standard input: \d+ lines? came out as long as is allowed, .*"  # a model that learnt little
    assert re.fullmatch(f"({doubtful})?", "".join(screen.lines))


def test_translations_on_a_terminal_are_not_drawn_over(small_run, stdin, capfd):
    sentences = b"The dog sleeps.\nThe cat sees a bird.\n"
    stdin(sentences)
    assert main(["translate", str(small_run)]) == 0
    expected = capfd.readouterr().out
    reading, writing = os.pipe()
    os.write(writing, sentences)
    os.close(writing)
    sent, _ = on_terminal([*TFCLI, "translate", small_run], stdin=reading)
    os.close(reading)
    assert sent.replace("\r\n", "\n") == expected


def arguments(verb, run, tmp_path):
    """Return a command line that lets the verb do its work on the small run."""
    recipe = run.parent / "small.yaml"
    return {
        "tokenize": ["tokenize", str(recipe), "--out", str(tmp_path / "new")],
        "train": training(recipe, tmp_path / "run", max_steps=92, log_every=1),
        "eval": ["eval", str(run)],
        "translate": ["translate", str(run), str(run.parent / "valid.en")],
        "info": ["info", str(run)],
    }[verb]


@pytest.mark.parametrize("verb", VERBS)
def test_pipes_get_text_and_no_control_characters(verb, small_run, copied_run, tmp_path):
    reference = small_run.parent / "valid.de"
    args = arguments(verb, small_run, tmp_path)
    if verb == "eval":  # the same tables, without waiting for a network
        args = ["eval", "--hyp", reference, "--ref", reference]
    command = [*TFCLI, *args]
    done = subprocess.run(command, capture_output=True, env=PLAIN, check=True)
    out, err = done.stdout.decode(), done.stderr.decode()
    assert not CONTROL.search(out)
    assert not CONTROL.search(err)
    assert (out == "") == (verb == "train")
    assert ("loss" in err) == (verb == "train")


@pytest.mark.parametrize("verb", VERBS)
def test_q_says_nothing_and_v_no_less_than_without(verb, small_run, tmp_path, capfd):
    said = {}
    for flag in ("", "-q", "-v"):
        shutil.rmtree(tmp_path / "new", ignore_errors=True)
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        shutil.copytree(small_run, tmp_path / "run")
        assert main([*arguments(verb, small_run, tmp_path), *flag.split()]) == 0
        out, err = capfd.readouterr()
        assert not CONTROL.search(out + err)
        lines = [line for line in err.split("\n") if line and not line.startswith("warning: ")]
        said[flag] = {re.sub(r"[\d.,]+", "#", line) for line in lines}
    assert said["-q"] == set()
    assert said[""] <= said["-v"]


@pytest.mark.parametrize("verb", ["tokenize", "eval", "info"])
def test_json_is_one_object_and_nothing_else(verb, small_run, tmp_path, capfd):
    assert main([*arguments(verb, small_run, tmp_path), "--json"]) == 0
    assert isinstance(json.loads(capfd.readouterr().out), dict)


def test_training_tells_its_outcome_as_json(small_run, copied_run, tmp_path, capfd):
    args = [*arguments("train", small_run, tmp_path), "--json"]
    found = []
    for _ in range(2):
        assert main(args) == 0
        found.append(json.loads(capfd.readouterr().out))
    assert [outcome["reason"] for outcome in found] == ["finished", "already finished"]
    for outcome in found:
        assert outcome.keys() == {
            "run", "reason", "step", "best_step", "best_bleu", "seconds", "peak_memory_bytes", "model",
        }  # fmt: skip
        assert (outcome["run"], outcome["step"]) == (str(copied_run), 92)
        assert (Path(outcome["model"]) / "model.safetensors").is_file()
        assert 0 <= outcome["best_bleu"] <= 100


def test_a_rehearsal_tells_its_costs_as_json(small_run, tmp_path, capfd):
    args = training(small_run.parent / "small.yaml", tmp_path / "new", max_steps=20)
    assert main([*args, "--dry-run", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found.keys() == {
        "run", "parameters", "worst_batch", "peak_memory_bytes", "seconds_per_step",
        "target_tokens_per_second", "expected_seconds",
    }  # fmt: skip
    assert isinstance(found["worst_batch"], dict)


def test_translations_come_as_json_lines_or_with_tabs_where_that_is_asked_for(small_run, tmp_path, capfd):
    args = arguments("translate", small_run, tmp_path)
    assert main([*args, "--json"]) == 0
    lines = capfd.readouterr().out.removesuffix("\n").split("\n")
    assert len(lines) == 20
    assert all("translation" in json.loads(line) for line in lines)
    assert main([*args, "--format", "tsv"]) == 0
    rows = capfd.readouterr().out.removesuffix("\n").split("\n")
    assert [row.count("\t") for row in rows] == [1] * 20
    assert not CONTROL.search("".join(rows).replace("\t", ""))


def test_a_log_in_colour_has_colours_but_no_moving_line(small_run, monkeypatch, capfd):
    """FORCE_COLOR, which many build servers set, asks for colours alone."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    reference = str(small_run.parent / "valid.de")
    assert main(["eval", "--hyp", reference, "--ref", reference]) == 0
    out, err = capfd.readouterr()
    assert {kind for _, kind in SEQUENCE.findall(out)} <= {"m"}
    assert err == ""
    assert main(["info", "nowhere/at-all"]) != 0
    assert COLOUR.search(capfd.readouterr().err)


SHELLS = {
    "bash": lambda line: {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)},
    "zsh": lambda line: {"_TYPER_COMPLETE_ARGS": line},
    "fish": lambda line: {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
}


@pytest.fixture
def completed(monkeypatch, capfd):
    """Return a function that says what a shell is told to offer for a line that is being typed."""

    def ask(shell, line):
        for name, value in {"_TFCLI_COMPLETE": f"complete_{shell}", **SHELLS[shell](line)}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as stop:
            main([])
        assert stop.value.code == 0
        out, err = capfd.readouterr()
        assert err == ""
        return out.removesuffix("\n")

    return ask


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("tfcli t", ["tokenize", "train", "translate"]),
        ("tfcli translate --b", ["--beam-size", "--batch-tokens", "--batch-size"]),
        ("tfcli -q eval --j", ["--json"]),
        ("tfcli translate --format ", ["text", "tsv", "jsonl"]),
    ],
)
def test_shells_complete_verbs_options_and_choices(completed, shell, line, offered):
    told = completed(shell, line)
    found = {
        "bash": told.split("\n"),
        "zsh": re.findall(r'^(?:_arguments .*\(\()?"([^"]+)"', told, re.MULTILINE),
        "fish": [item.partition("\t")[0] for item in told.split("\n")],
    }[shell]
    assert found == offered


@pytest.mark.parametrize("verb", VERBS)
def test_what_zsh_shows_beside_an_option_is_one_line(completed, verb):
    lines = completed("zsh", f"tfcli {verb} -").split("\n")
    assert lines[0].startswith("_arguments '*: :((\"")
    assert [line for line in lines[1:] if not line.startswith('"')] == []


@pytest.mark.parametrize("shell", SHELLS)
def test_a_completion_loads_nothing_slow(shell):
    program = (
        "import atexit, sys\n"
        "slow = ('torch', 'numpy', 'sacrebleu', 'sentencepiece', 'yaml')\n"
        "atexit.register(lambda: print([name for name in slow if name in sys.modules], file=sys.stderr))\n"
        "from tfcli.app import main\n"
        "sys.exit(main([]))\n"
    )
    environment = {**PLAIN, "_TFCLI_COMPLETE": f"complete_{shell}", **SHELLS[shell]("tfcli translate --b")}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert "--beam-size" in done.stdout
    assert done.stderr == "[]\n"


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_with_the_script_that_show_completion_prints(tmp_path):
    (tmp_path / "tfcli").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tfcli "$@"\n')
    (tmp_path / "tfcli").chmod(0o755)
    session = (
        'eval "$(tfcli --show-completion bash)"; complete -p tfcli; COMP_WORDS=(tfcli ev) COMP_CWORD=1\n'
        '_tfcli_completion tfcli; echo "${COMPREPLY[@]}"\n'
    )
    path = f"{tmp_path}{os.pathsep}{PLAIN['PATH']}"
    done = subprocess.run(
        ["bash", "-c", session], capture_output=True, text=True, env={**PLAIN, "PATH": path}, check=True
    )
    assert (done.stdout, done.stderr) == ("complete -o default -F _tfcli_completion tfcli\neval\n", "")
