"""`tfcli predict --lines`: a language model writes on from the end of an input, over line ends and its context."""

import json

import pytest

from tfcli.app import main

CONTEXT = 24


def written(text_run, stdin, capsysbinary, prompt, *options):
    stdin(prompt.encode())
    # greedy search of so small a model repeats itself for ever
    assert main(["predict", str(text_run), "--sample", *options]) == 0
    return capsysbinary.readouterr().out.decode()


def test_so_many_lines_are_written_behind_an_input(text_run, stdin, capsysbinary):
    for prompt in ("The dog\n", "The dog", "The dog\n\n", "\n", "The dog\nA\u2028 \u00e4"):
        found = written(text_run, stdin, capsysbinary, prompt, "--lines", "4", "--max-pieces", "2000")
        begun = prompt.removesuffix("\n")
        assert found.startswith(begun)
        # the last of its lines is continued, and three more are begun; the last one ends if that of the input did
        assert found.count("\n") == begun.count("\n") + 3 + prompt.endswith("\n")
        assert found.endswith("\n") or not prompt.endswith("\n")
    assert len(found) > 2 * CONTEXT  # it went on where the context was full


def test_lines_end_at_the_most_pieces_and_one_is_what_a_line_gets_without(text_run, stdin, capsysbinary):
    found = written(text_run, stdin, capsysbinary, "The dog", "--lines", "99", "--max-pieces", "70")
    assert len(found) == len("The dog") + 70  # a piece is a character
    assert found.count("\n") < 98
    few = written(text_run, stdin, capsysbinary, "The dog", "--lines", "99", "--max-pieces", "5")
    assert found.startswith(few)
    one = written(text_run, stdin, capsysbinary, "The dog\n", "--lines", "1")
    assert one == written(text_run, stdin, capsysbinary, "The dog\n")
    most = written(text_run, stdin, capsysbinary, "The dog", "--max-pieces", "70")
    assert most == found.split("\n")[0]


def test_in_json_each_line_is_a_prompt_of_its_own_and_holds_its_lines(text_run, stdin, capsysbinary):
    options = ("--lines", "3", "--max-pieces", "500")
    found = written(text_run, stdin, capsysbinary, "The dog\nA", "--json", *options)
    for prompt, line in zip(("The dog", "A"), found.removesuffix("\n").split("\n"), strict=True):
        one = json.loads(line)
        assert one["prompt"] == prompt
        whole = prompt + one["continuations"][0]["text"]
        assert whole == written(text_run, stdin, capsysbinary, prompt, *options)
    objects = json.dumps({"scene": "The dog\nA"}) + "\n" + json.dumps({"scene": "A"}) + "\n"
    first, second = map(
        json.loads,
        written(text_run, stdin, capsysbinary, objects, "--field", "scene", *options).split("\n")[:-1],
    )
    assert first["prediction"] == written(text_run, stdin, capsysbinary, "The dog\nA", *options)
    assert second["prediction"] == whole


def test_files_become_files_and_nothing_when_there_is_nothing(text_run, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("The dog\nToday\n")
    (tmp_path / "in" / "b.txt").write_text("")
    command = ["predict", str(text_run), str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    command += ["--sample", "--max-pieces", "2000", "--lines", "2"]
    assert main(command) == 0
    assert "a.txt: 1 prompt\n" in capsys.readouterr().err
    assert (tmp_path / "out" / "a.txt").read_text().startswith("The dog\nToday")
    assert (tmp_path / "out" / "a.txt").read_text().count("\n") == 3
    assert (tmp_path / "out" / "b.txt").read_text() == ""
    assert main(command) == 0
    assert capsys.readouterr().err.count("up to date") == 2
    assert main([*command[:-1], "3"]) == 2
    assert "exists already" in capsys.readouterr().err


def test_of_a_long_input_the_end_is_read_and_bad_bytes_are_told_by_line(text_run, stdin, capsysbinary):
    told = []
    for start in (b"x" * 40, b"yz" * 30):
        stdin(start + b"\n\xff\nthe old woman")
        assert main(["predict", str(text_run), "--lines", "2", "--max-pieces", "40"]) == 0
        out, err = capsysbinary.readouterr()
        told.append(out.removeprefix(start))
        said = " ".join(err.decode().split())
        assert (
            "1 prompt was too long for the model: the beginning, all but the last 12 pieces, was not read"
            in said
        )
        assert "no UTF-8 were replaced in 1 line: 2" in said
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "tsv"], "--lines 2: a row of a table holds one line"),
        (["--column", "1"], "--lines 2: a row of a table holds one line"),
        (["--score-only"], "--score-only and --lines contradict each other"),
        (["a.txt", "a.txt"], "--lines 2: nothing would part what becomes of 2 inputs"),
    ],
)
def test_lines_that_nothing_would_part_are_refused(text_run, tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("The\n")
    assert main(["predict", str(text_run), "--lines", "2", *options]) == 2
    out, err = capsys.readouterr()
    assert message in " ".join(err.split())
    assert out == ""


def test_lines_are_for_language_models(labelled_run, stdin, capsys):
    stdin(b"the dog\n")
    assert main(["predict", str(labelled_run), "--lines", "2"]) == 2
    assert "--lines: for language models" in capsys.readouterr().err
