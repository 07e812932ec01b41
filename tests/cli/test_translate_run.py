"""`tfcli translate` with a trained run: as many lines as it takes, whatever they hold and however they come."""

import gzip
import json
import shutil
import subprocess
import sys

import pytest

from tfcli.app import main


def test_translate_gives_as_many_lines_as_it_takes(small_run, stdin, capfdbinary):
    stdin(b"The dog sleeps.\n\n   \nThe\xe2\x80\xa8cat\rsees\x00a bird.\r\nlast line without end")
    assert main(["translate", str(small_run), "-q"]) == 0
    lines = capfdbinary.readouterr().out.split(b"\n")
    assert len(lines) == 5
    assert lines[1] == lines[2] == b""
    assert lines[0]
    assert lines[4]


def test_a_pipe_that_stays_open_is_answered_line_by_line(small_run):
    command = [sys.executable, "-m", "tfcli", "translate", str(small_run), "-q"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in (b"The dog sleeps.\n", b"\n", b"The cat sees a bird.\n"):
            process.stdin.write(line)
            process.stdin.flush()
            answer = process.stdout.readline()  # would wait for ever if lines were held back
            assert answer.endswith(b"\n")
            assert (answer == b"\n") == (line == b"\n")
        process.stdin.write(b"no end")
        process.stdin.close()
        assert not process.stdout.read().endswith(b"\n")
    assert process.returncode == 0


def test_an_empty_input_gives_an_empty_output(small_run, stdin, capfdbinary):
    stdin(b"")
    assert main(["translate", str(small_run), "-q"]) == 0
    assert capfdbinary.readouterr().out == b""


def test_bytes_that_are_no_utf8_are_replaced_and_their_lines_named(small_run, stdin, capfdbinary):
    stdin(b"The dog sleeps.\nThe \xff\xfe cat.\n")
    assert main(["translate", str(small_run)]) == 0
    out, err = capfdbinary.readouterr()
    assert out.count(b"\n") == 2
    assert b"replaced in 1 line: 2" in err


def test_files_go_to_a_folder_and_equal_what_standard_input_gives(small_run, tmp_path, stdin, capfdbinary):
    text = b"The dog sleeps.\n\nThe cat sees a bird.\n"
    (tmp_path / "a.txt").write_bytes(text)
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(text[::-1].replace(b"\n", b" ") + b"\n"))
    files = [str(tmp_path / "a.txt"), str(tmp_path / "b.txt.gz")]
    assert main(["translate", str(small_run), *files, "-o", str(tmp_path / "out"), "-q"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("[!.]*")) == ["a.txt", "b.txt"]
    stdin(text)
    capfdbinary.readouterr()
    assert main(["translate", str(small_run), "-q"]) == 0
    assert (tmp_path / "out" / "a.txt").read_bytes() == capfdbinary.readouterr().out


def test_batches_and_windows_never_change_a_translation(small_run, stdin, capfdbinary, monkeypatch):
    lines = (small_run.parent / "valid.en").read_bytes()
    outputs = []
    for options, window in (([], 2000), (["--batch-tokens", "1"], 2000), (["--batch-tokens", "100000"], 3)):
        monkeypatch.setattr("tfcli.commands.translate.WINDOW_LINES", window)
        stdin(lines)
        assert main(["translate", str(small_run), "-q", "--precision", "fp32", *options]) == 0
        outputs.append(capfdbinary.readouterr().out)
    assert outputs[0] == outputs[1] == outputs[2]


def test_long_lines_are_cut_translated_and_joined(small_run, stdin, capfdbinary):
    long = b" ".join([b"The dog sleeps."] * 120)
    stdin(long + b"\nThe dog sleeps.\n")
    assert main(["translate", str(small_run)]) == 0
    out, err = capfdbinary.readouterr()
    assert out.count(b"\n") == 2
    assert b"1 line was too long for the model" in err
    whole, short = out.split(b"\n")[:2]
    assert len(whole) > 3 * len(short)


def test_n_best_comes_as_json_lines_best_first(small_run, stdin, capfdbinary):
    stdin(b"The dog sleeps.\n\n")
    args = ["translate", str(small_run), "-q", "--format", "jsonl", "--n-best", "3", "--beam-size", "4"]
    assert main(args) == 0
    first, blank = map(json.loads, capfdbinary.readouterr().out.split(b"\n")[:2])
    scores = [found["score"] for found in first["hypotheses"]]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert first["translation"] == first["hypotheses"][0]["text"]
    assert blank["translation"] == ""


def test_tsv_adds_the_score(small_run, stdin, capfdbinary):
    stdin(b"The dog sleeps.\n")
    assert main(["translate", str(small_run), "-q", "--format", "tsv"]) == 0
    text, score = capfdbinary.readouterr().out.decode().rstrip("\n").split("\t")
    assert text
    assert float(score) < 0


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["{tmp}/nothing"], 4, "no such folder"),
        (["{tmp}"], 4, "neither a model folder"),
        (["{run}/recipe.yaml"], 4, "a file, expected a run folder or a model folder"),
        (["{run}", "{tmp}/nothing.txt"], 3, "no such file"),
        (["{run}", "{tmp}"], 2, "a folder, but its results have no place"),
        (["{run}", "-o", "{tmp}"], 2, "the input has no name"),
        (["{run}", "{tmp}/a", "{tmp}/b", "-o", "{tmp}/a"], 2, "a file, but there are 2 inputs"),
        (["{run}", "{tmp}/a", "{tmp}/sub/a", "-o", "{tmp}/out"], 2, "several inputs would become"),
        (["{run}", "{tmp}/a", "-o", "{tmp}/a"], 2, "overwritten by its own result"),
        (["{run}", "--n-best", "2"], 2, "needs --format tsv or jsonl"),
        (["{run}", "--n-best", "3", "--format", "jsonl"], 2, "the beam size is 2"),
        (["{run}", "--device", "abacus"], 2, "unknown device"),
        (["{run}", "--device", "cuda:99"], 2, "no such device"),
        (["{run}", "--precision", "fp7"], 2, "precision fp7: unknown"),
        (["{run}", "--beam-size", "0"], 2, "--beam-size"),
        (["{run}", "--length-penalty", "inf"], 2, "--length-penalty: must be a finite number, got .inf"),
    ],
)
def test_what_translate_cannot_do_is_told_on_stderr(
    small_run, tmp_path, stdin, capfdbinary, args, code, said
):
    stdin(b"The dog.\n")
    (tmp_path / "sub").mkdir()
    for name in ("a", "b", "sub/a"):
        (tmp_path / name).write_text("The dog.\n")
    assert main(["translate", *(arg.format(tmp=tmp_path, run=small_run) for arg in args)]) == code
    out, err = capfdbinary.readouterr()
    assert out == b""
    assert said in err.decode()


def test_an_interrupted_translation_leaves_no_output_under_its_name(small_run, tmp_path, monkeypatch):
    from tfcli.decoding.translator import Translator

    (tmp_path / "a").write_text("The dog.\n")

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(Translator, "begin", interrupted)
    assert main(["translate", str(small_run), str(tmp_path / "a"), "-o", str(tmp_path / "out.txt")]) == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


def test_a_damaged_model_folder_is_named(small_run, tmp_path, capsys):
    folder = tmp_path / "model"
    shutil.copytree(small_run / "best", folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    assert main(["translate", str(folder)]) == 4
    assert f"{weights}: cannot be read" in capsys.readouterr().err
    config = json.loads((folder / "config.json").read_text())
    del config["model"]["d_ff"]
    (folder / "config.json").write_text(json.dumps(config))
    assert main(["translate", str(folder)]) == 4
    assert "keys missing or unknown: d_ff" in capsys.readouterr().err
