"""What is noticed of labels before anything is learnt from them: mistakes, lines that cannot be used, blank lines."""

import json

import pytest

from tests.labelled_text import write_labelled
from tfcli.corpus.label_survey import refuse_unfit_lines, survey_labels
from tfcli.corpus.labels import Labels
from tfcli.corpus.prepare import prepare
from tfcli.errors import DataError
from tfcli.recipe.loader import load_recipe
from tfcli.text.files import CorpusFiles
from tfcli.text.labelled import LabelFields
from tfcli.text.pairs import line_numbers, text_blocks

GOOD = ["a\tpositive", "b\tnegative"] * 60


def labelled_file(folder, lines, *, fields=None, name="a.tsv"):
    """Write lines; return where they are."""
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in lines))
    return CorpusFiles(None, None, path, None, fields or LabelFields(1, None, 2))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (GOOD, []),
        ([*GOOD, "c\tpostive"], ["a.tsv:121: no other text has the label 'postive', did you mean 'positive'?"]),
        ([*GOOD, "c\tother"], ["a.tsv:121: no other text has the label 'other'"]),
        (
            [*GOOD, "c\tPositive"],
            ["labels that differ in case alone: 'Positive' (1 text, a.tsv:121), 'positive' (60 texts, a.tsv:1)"],
        ),
        (
            ["sentence\tlabel", *GOOD],
            ["a.tsv:1: no line but the first has the label 'label': if it is a line of headings, remove it"],
        ),
        (["", "sentence\tlabel", *GOOD], ["a.tsv:2: no other text has the label 'label'"]),
        (["sentence\tlabel", *GOOD, "c\tlabel"], []),
        ([*GOOD[:90], "c\tother"], []),  # a first try
        (
            [*GOOD, *(f"c\tdifferent-{n}{n}{n}" for n in range(7))],
            [f"a.tsv:{121 + n}: no other text has the label 'different-{n}{n}{n}'" for n in range(5)]
            + ["2 more labels with one text only"],
        ),
        (
            [f"a\tb {n}\tpet" for n in range(10)],
            [
                "10 labels for 10 texts: are data.text_field and data.label_field the right way round? column 3 is not "
                "read in a.tsv; data.second_text_field names a second text"
            ],
        ),
    ],
)  # fmt: skip
def test_labels_that_look_like_mistakes_are_doubted(tmp_path, monkeypatch, lines, expected):
    monkeypatch.chdir(tmp_path)
    files = labelled_file(tmp_path, lines)
    found = survey_labels([files], len(lines)).doubts()
    assert [doubt.replace(f"{tmp_path}/", "") for doubt in found] == expected


def test_headings_of_several_files_are_found_together(tmp_path):
    files = [labelled_file(tmp_path, ["text\tlabel", *GOOD], name=f"{name}.tsv") for name in "ab"]
    (doubt,) = survey_labels(files, 242).doubts()
    assert doubt.startswith(f"{tmp_path}/a.tsv:1: no line but the first has the label 'label'")


def test_blank_lines_are_passed_over_and_the_others_keep_their_numbers(tmp_path):
    files = labelled_file(tmp_path, ["", "a\tpet", " ", "b\tfarm", "\t", "c\tfram", ""])
    survey = survey_labels([files], 7)
    assert survey.counts == {"pet": 1, "farm": 1, "fram": 1}
    assert survey.places["fram"].endswith("a.tsv:6")
    assert line_numbers(files) == [2, 4, 6]
    with pytest.raises(DataError, match=r"a.tsv:6: the label 'fram' is not one of .*, did you mean 'farm'\?"):
        refuse_unfit_lines(files, ("farm", "pet"))
    (block,) = text_blocks([files])
    with pytest.raises(
        DataError, match=r"a.tsv:6: the label 'fram'"
    ):  # as when the file has changed meanwhile
        Labels(("farm", "pet"), (1, 1)).ids(["pet", "farm", "fram"], block)


def test_unknown_labels_and_lines_that_cannot_be_used_are_told_in_the_order_of_the_file(tmp_path):
    files = labelled_file(tmp_path, ["a\tsea", "no tab", "b\tsky", "c\tpet"])
    with pytest.raises(DataError) as caught:
        refuse_unfit_lines(files, ("farm", "pet"))
    assert [line.split(":")[1] for line in caught.value.message.split("\n")] == ["1", "2", "3"]


def test_ten_lines_that_cannot_be_used_are_told_and_the_others_counted(tmp_path):
    lines = ["a\tpet", *["no tab"] * 6, "a\t ", "b\tfarm", *["a\tb\tc"] * 12]
    files = labelled_file(tmp_path, lines)
    for read in (lambda: survey_labels([files, files], 21), lambda: refuse_unfit_lines(files)):
        with pytest.raises(DataError) as caught:
            read()
        told = caught.value.message.split("\n")
        assert [int(line.split(":")[1]) for line in told[:-1]] == [2, 3, 4, 5, 6, 7, 8, 10, 11, 12]
        assert told[6].endswith("a.tsv:8: the label is empty")
    assert told[-1] == "9 more lines cannot be used"


@pytest.mark.parametrize(
    ("line", "fields", "complaint", "hint"),
    [
        ('{"text": "a", "label": "b"}', None, "got 1 field", "named with jsonl in place of tsv"),
        ("a dog,pet", None, "got 1 field", "if commas or semicolons part the fields, save the file with tabs"),
        ("a dog", None, "got 1 field", "correct the line"),
        ("a\tb", LabelFields("text", None, "label"), "what is no JSON", "named with tsv in place of jsonl"),
        ("a\tvery\u00a0good", None, "the label 'very<U+00A0>good' holds U+00A0 (no-break space)", "an ordinary space"),
        ("a\tgo\u200bod", None, "the label 'go<U+200B>od' holds U+200B (zero width space)", "remove U+200B"),
        ("a\tgo\x07od", None, "holds the control character U+0007", "remove the control character"),
        (
            "pet\tthe dog\u00a0runs and runs and runs and runs and runs",
            None,
            "the label 'the dog<U+00A0>runs and runs and runs an...' holds",
            "the label looks like a text: are data.text_field and data.label_field the right way round?",
        ),
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_used_says_what_it_is_and_what_to_do(tmp_path, line, fields, complaint, hint):
    files = labelled_file(tmp_path, [line], fields=fields)
    with pytest.raises(DataError) as caught:
        survey_labels([files], 1)
    assert complaint in caught.value.message
    assert hint in caught.value.hint


def test_the_labels_count_the_texts_that_are_trained_on(tmp_path):
    settings = load_recipe(write_labelled(tmp_path), ["data.drop_duplicates=true"])
    rows = ["a dog\tpet"] * 5 + ["a cow\tfarm", "my cow\tfarm", " \tfarm", "\tlost", ""]
    train, valid = labelled_file(tmp_path, rows), labelled_file(tmp_path, rows[:6], name="b.tsv")
    said = []
    prepared = prepare(settings, [train], valid, tmp_path / "run", said.append)
    assert prepared.labels.as_json() == [
        {"label": "farm", "texts": 2},
        {"label": "lost", "texts": 0},
        {"label": "pet", "texts": 1},
    ]
    assert json.loads((tmp_path / "run" / "labels.json").read_text()) == prepared.labels.as_json()
    (row, _) = prepared.stats
    assert (row.lines, row.kept, row.dropped) == (10, 3, {"blank": 3, "duplicate": 4})
    assert (
        "warning: no text is left to be trained on with the label 'lost': all were dropped, or are held out"
        in said
    )
    assert prepare(settings, [train], valid, tmp_path / "run", said.append).labels == prepared.labels


def test_a_block_of_blank_lines_alone_is_encoded_to_nothing(tmp_path):
    settings = load_recipe(write_labelled(tmp_path))
    train = labelled_file(tmp_path, ["a dog\tpet", "a cow\tfarm", *[""] * 8192])
    prepared = prepare(settings, [train], train, tmp_path / "run", lambda _: None)
    assert [row.kept for row in prepared.stats] == [2, 2]


def test_at_most_twenty_labels_are_shown(tmp_path):
    few = Labels(("b", "c", "a"), (3, 1, 2))
    assert few.most() == ([("a", 2), ("b", 3), ("c", 1)], 0)
    assert few.told() == "training texts by label: a 2, b 3, c 1"
    many = Labels(tuple(f"{n:03}" for n in range(317)), tuple(range(317)))
    rows, more = many.most()
    assert rows == [(f"{n:03}", n) for n in range(297, 317)]
    assert more == 297
    assert many.told().endswith("316 316 and 297 more labels")
