"""Text is taken out of tables and JSON, and its translation put in; all else stays as it is."""

import json

import pytest

from tfcli.text.fields import Column, JsonField, UnfitLineError


@pytest.mark.parametrize(
    ("number", "line", "text", "after"),
    [
        (1, b"one\ttwo", "one", b"one\ttwo\tNEW"),
        (2, b"one\ttwo", "two", b"one\ttwo\tNEW"),
        (2, b"one\ttwo\r", "two", b"one\ttwo\tNEW\r"),
        (2, b"\xffone\ttwo\xff\t", "two\ufffd", b"\xffone\ttwo\xff\t\tNEW"),
        (2, b'"a\tb"', 'b"', b'"a\tb"\tNEW'),
        (1, b"\t", "", b"\t\tNEW"),
    ],
)
def test_a_column_is_taken_and_one_added(number, line, text, after):
    assert Column(number).take(line) == (text, "\ufffd" in text)
    assert Column(number).put(line, "NEW") == after


def test_a_tab_in_a_translation_makes_no_column():
    assert Column(1).put(b"a", "b\tc") == b"a\tb c"


@pytest.mark.parametrize(
    "line",
    [
        '{"text": "a"}',
        '\ufeff {"id": 1.50e3, "big": %s, "text" : "a", "x": {"y": [1, {}]}} \r' % ("9" * 5000),
        '{"text": "first", "text": "a", "e": "\\u00e9"}',
    ],
    ids=["short", "long", "twice"],
)
def test_a_field_is_taken_and_one_added(line):
    raw = line.encode()
    assert JsonField("text", "translation").take(raw) == ("a", False)
    after = JsonField("text", "translation").put(raw, 'say "ü"\n').decode()
    assert after.startswith(line.rstrip().removesuffix("}"))
    assert after.endswith(line[len(line.rstrip()) :])
    assert json.loads(after.removeprefix("\ufeff"), parse_int=str)["translation"] == 'say "ü"\n'


def test_what_is_added_has_the_name_that_it_is_to_have():
    field = JsonField("text", "prediction")
    assert (
        field.put(b'{"text": "a", "translation": "b"}', "c")
        == b'{"text": "a", "translation": "b", "prediction": "c"}'
    )
    with pytest.raises(UnfitLineError, match="a field 'prediction' already"):
        field.take(b'{"text": "a", "prediction": "c"}')


def test_a_half_of_a_surrogate_pair_is_replaced_and_told():
    assert JsonField("text", "translation").take(rb'{"text": "a\ud83d"}') == ("a\ufffd", True)
    assert JsonField("text", "translation").take(rb'{"text": "\ud83d\ude00"}') == ("\U0001f600", False)


@pytest.mark.parametrize(
    ("field", "line", "said"),
    [
        (Column(3), b"a\tb", "expected 3 columns or more, parted by tabs, got 2 columns"),
        (Column(2), b"a", "expected 2 columns or more, parted by tabs, got 1 column"),
        (JsonField("text", "translation"), b"{", "expected a JSON object, got what is no JSON"),
        (JsonField("text", "translation"), b"[" * 100_000, "expected a JSON object, got what is no JSON"),
        (JsonField("text", "translation"), b"[]", "expected a JSON object, got a list"),
        (JsonField("text", "translation"), b'"text"', "expected a JSON object, got text"),
        (JsonField("text", "translation"), b"17", "expected a JSON object, got a number"),
        (JsonField("text", "translation"), b'{"id": 1, "txt": "a"}', "no field 'text' in the object; it has id, txt"),
        (JsonField("text", "translation"), b"{}", "no field 'text' in the object; it has none"),
        (JsonField("text", "translation"), b'{"text": 17}', "field 'text': expected text, got a number"),
        (JsonField("text", "translation"), b'{"text": null}', "field 'text': expected text, got null"),
        (JsonField("text", "translation"), b'{"text": true}', "field 'text': expected text, got true or false"),
        (JsonField("text", "translation"), b'{"text": {}}', "field 'text': expected text, got an object"),
        (JsonField("text", "translation"), b'{"text": "a", "translation": "b"}', "the object has a field 'translation' already"),
    ],
)  # fmt: skip
def test_a_line_without_such_text_is_unfit(field, line, said):
    with pytest.raises(UnfitLineError) as caught:
        field.take(line)
    assert str(caught.value).startswith(said)
