"""`tfcli predict` with a classifier: labels of lines, columns and fields, whatever stands beside them."""

import gzip
import json

import pytest

from tests.cli.test_classification import failed
from tests.labelled_text import labelled
from tfcli.app import main


def test_predict_gives_a_label_for_each_line_and_a_blank_one_for_a_blank_line(
    labelled_run, stdin, capsysbinary
):
    stdin("the dog runs\n\n   \nmy cow sits\u2028now\nthe wolf eats".encode())
    assert main(["predict", str(labelled_run)]) == 0
    assert capsysbinary.readouterr().out == b"pet\n\n\nfarm\nwild"


def test_a_line_of_which_the_tokenizer_leaves_nothing_has_no_label(labelled_run, stdin, capsysbinary):
    stdin("\u200b\nthe dog runs\n\ufeff\u200b\n".encode())
    assert main(["predict", str(labelled_run)]) == 0
    assert capsysbinary.readouterr().out == b"\npet\n\n"


def test_predict_gives_the_most_probable_labels_with_their_probabilities(labelled_run, tmp_path, capsys):
    (tmp_path / "in.txt").write_text("the dog runs\n\n")
    assert main(["predict", str(labelled_run), str(tmp_path / "in.txt"), "--top", "2"]) == 0
    first, blank, end = capsys.readouterr().out.split("\n")
    label, p, second, q = first.split("\t")
    assert (label, blank, end) == ("pet", "", "")
    assert second in ("farm", "wild")
    assert 1 >= float(p) > 0.5 > float(q)
    assert main(["predict", str(labelled_run), str(tmp_path / "in.txt"), "--top", "9", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.split("\n")[:-1]]
    assert [(row["line"], row["text"], len(row["labels"])) for row in rows] == [
        (1, "the dog runs", 3),
        (2, "", 0),
    ]
    assert sum(each["probability"] for each in rows[0]["labels"]) == pytest.approx(1, abs=1e-5)


def test_predict_writes_files_whole_and_counts_long_lines(labelled_run, tmp_path, capsys):
    (tmp_path / "in.txt").write_text("the dog runs\n" + "the dog " * 30 + "\n")
    out = tmp_path / "out.txt"
    assert main(["predict", str(labelled_run), str(tmp_path / "in.txt"), "-o", str(out)]) == 0
    assert out.read_text() == "pet\npet\n"
    assert "1 line was too long for the model and was cut off there" in capsys.readouterr().err
    assert main(["predict", str(labelled_run), str(tmp_path / "in.txt"), "-o", str(out)]) == 0
    assert "up to date" in capsys.readouterr().err


def test_predict_reads_a_column_or_a_field_and_puts_the_label_behind_what_was_there(
    labelled_run, tmp_path, capsysbinary
):
    table = tmp_path / "table.tsv"
    table.write_bytes(b"1\tthe dog runs\r\n\n2\t\n\xff\tmy cow sits\tx")
    assert main(["predict", str(labelled_run), str(table), "--column", "2"]) == 0
    labelled_table = b"1\tthe dog runs\tpet\r\n\n2\t\t\n\xff\tmy cow sits\tx\tfarm"
    assert capsysbinary.readouterr().out == labelled_table
    objects = tmp_path / "objects.jsonl"
    objects.write_bytes(b'{"label": "farm", "text": "my\\ncow"}\n\n{"text": "the wolf"}\n')
    assert (
        main(["predict", str(labelled_run), str(objects), "--field", "text", "-o", str(tmp_path / "out")])
        == 0
    )
    assert (tmp_path / "out").read_bytes() == (
        b'{"label": "farm", "text": "my\\ncow", "prediction": "farm"}\n\n{"text": "the wolf", "prediction": "wild"}\n'
    )


def test_a_table_or_json_lines_that_are_read_as_plain_text_are_warned_of_once(labelled_run, tmp_path, capsys):
    contents = {"a.txt": b"the dog\n{\n", "b.tsv": b"the dog\tpet\n", "c.jsonl": b'{"text": "the dog"}\n'}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(contents["c.jsonl"]))
    for names, warned in (
        (["a.txt"], None),
        (["b.tsv"], "b.tsv: its lines have tabs, and are read whole; --column N"),
        (["c.jsonl.gz"], "c.jsonl.gz: its lines are JSON objects, and are read as plain text; --field NAME"),
        (["a.txt", "c.jsonl", "b.tsv"], "c.jsonl: its lines are JSON objects"),
        (["b.tsv", "--column", "1"], None),
        (["c.jsonl", "--field", "text"], None),
    ):
        files = [str(tmp_path / name) if "." in name else name for name in names]
        assert main(["predict", str(labelled_run), *files]) == 0
        said = " ".join(capsys.readouterr().err.split())
        assert said.count("warning") == (warned is not None)
        assert warned is None or warned in said


@pytest.mark.parametrize(
    ("code", "args", "message"),
    [
        (2, ["--column", "1", "--field", "text"], "--column 1 and --field text contradict each other"),
        (2, ["--column", "1", "--top", "2"], "--column 1 and --top contradict each other"),
        (2, ["--field", "text", "--json"], "--field text and --format jsonl contradict each other"),
        (2, ["--column", "1", "--score-only"], "--column 1 and --score-only contradict each other"),
        (3, ["--column", "2"], "in.txt:2: expected 2 columns or more, parted by tabs, got 1 column"),
        (3, ["--field", "text"], "in.txt:1: expected a JSON object, got what is no JSON"),
    ],
)
def test_a_column_or_field_that_is_not_there_or_does_nothing_is_refused(
    labelled_run, tmp_path, capsys, code, args, message
):
    (tmp_path / "in.txt").write_text("a\tb\nc\n")
    assert message in failed(capsys, code, "predict", labelled_run, tmp_path / "in.txt", *args)


def test_an_output_with_the_labels_of_another_column_is_not_taken_for_up_to_date(
    labelled_run, tmp_path, capsys
):
    (tmp_path / "in.tsv").write_text("the dog\tmy cow\n")
    command = ["predict", labelled_run, tmp_path / "in.tsv", "-o", tmp_path / "out.tsv", "--column"]
    assert main([str(arg) for arg in [*command, 1]]) == 0
    capsys.readouterr()
    assert "exists already" in failed(capsys, 2, *command, 2)


def test_a_text_has_the_same_label_and_probability_whatever_stands_beside_it(labelled_run):
    from tfcli.decoding.labeller import load_labeller
    from tfcli.model.description import describe_model

    labeller = load_labeller(describe_model(labelled_run), "cpu", "fp32")
    texts = [text for text, _ in labelled(30, 7)] + ["", "x", "the dog " * 40]
    together = labeller.label(texts, 3)
    assert [found.truncated for found in together] == [False] * 32 + [True]
    for text, found in zip(texts, together, strict=True):
        [alone] = labeller.label([text], 3)
        assert [label for label, _ in alone.labels] == [label for label, _ in found.labels]
        assert [p for _, p in alone.labels] == pytest.approx([p for _, p in found.labels], abs=1e-5)


def test_a_long_text_is_cut_as_it_is_for_training(labelled_run):
    import torch

    from tfcli.corpus.shards import IdBlock
    from tfcli.decoding.labeller import load_labeller
    from tfcli.model.description import describe_model
    from tfcli.model.folder import load_network

    description = describe_model(labelled_run)
    text = "the dog runs and the cow eats and the wolf sits"
    [ids] = description.tokenizer.encode_src_many([text], end_mark=True)
    cut, n = IdBlock.of([ids], "<u2").cut(description.max_source_pieces + 1)
    assert n == 1
    with torch.no_grad():
        logits = load_network(description)(torch.tensor(cut.ids.astype(int))[None])
    [found] = load_labeller(description, "cpu", "fp32").label([text], 3)
    expected = logits.softmax(dim=-1).sort(descending=True).values[0].tolist()
    assert [p for _, p in found.labels] == pytest.approx(expected, rel=1e-5)
