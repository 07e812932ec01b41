"""Scalars follow YAML 1.2; nothing but plain values is read; every place knows its line."""

import math

import pytest

from tfcli.recipe.yaml12 import YamlSyntaxError, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("-1.5e+3", -1500.0),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("12:30", "12:30"),
        ("010", 10),
        ("+7", 7),
        ("0o10", 8),
        ("0x1F", 31),
        ("-0x1F", "-0x1F"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("2024-01-02", "2024-01-02"),
        ("null", None),
        ("~", None),
        ("", None),
        ("nUll", "nUll"),
        ("True", True),
        ("FALSE", False),
        ("tRue", "tRue"),
        ("-.INF", -math.inf),
        ("+.inf", math.inf),
        ("inf", "inf"),
        ("<<", "<<"),
        ("=", "="),
        ("'3e-4'", "3e-4"),
        ('"null"', "null"),
        ("!!str 12", "12"),
    ],
)
def test_a_scalar_is_what_yaml_1_2_says(text: str, value: object) -> None:
    found = read_yaml(f"key: {text}").value["key"]
    assert found == value
    assert type(found) is type(value)


def test_nan_is_a_number() -> None:
    assert math.isnan(read_yaml(".nan").value)


def test_keys_are_text_as_written() -> None:
    assert read_yaml("{2016: 1, no: 2, null: 3}").value == {"2016": 1, "no": 2, "null": 3}


def test_every_key_and_every_entry_has_its_line() -> None:
    document = read_yaml("a:\n  b: 1\n\n  c:\n    - x\n    - {d: 2}\n")
    assert document.lines == {
        (): 1,
        ("a",): 1,
        ("a", "b"): 2,
        ("a", "c"): 4,
        ("a", "c", 0): 5,
        ("a", "c", 1): 6,
        ("a", "c", 1, "d"): 6,
    }


def test_an_empty_text_is_no_value() -> None:
    assert read_yaml("# nothing\n").value is None


def test_a_byte_order_mark_and_windows_lines_change_nothing() -> None:
    document = read_yaml("\ufeffa: 1\r\nb: 2\r\n")
    assert document.value == {"a": 1, "b": 2}
    assert document.lines["b",] == 2


def test_a_duplicate_key_is_a_problem_that_names_both_lines() -> None:
    document = read_yaml("a: 1\nb: 2\na: 3\n")
    [problem] = document.problems
    assert (problem.line, problem.loc, problem.message) == (3, ("a",), "given twice, first on line 1")
    assert document.value["a"] == 1


def test_a_key_that_is_no_word_is_a_problem() -> None:
    [problem] = read_yaml("a: 1\n? [b]\n: 2\n").problems
    assert (problem.line, problem.message) == (2, "a key must be a single word, not a list or a map")


def test_a_number_too_long_for_python_is_a_problem() -> None:
    [problem] = read_yaml("a:\n  b: " + "9" * 5000).problems
    assert (problem.line, problem.loc, problem.message) == (2, ("a", "b"), "too many digits")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: !!python/object/apply:os.system [ls]", 2, "the tag 'tag:yaml.org,2002:python/object"),
        ("a: !mine 1", 1, "the tag '!mine' is not read"),
        ("a: !!int 1", 1, "the tag 'tag:yaml.org,2002:int' is not read"),
        ("a: !!str [1]", 1, "the tag 'tag:yaml.org,2002:str' is not read"),
        ("a: &x [1]\nb: *x", 1, "anchors and aliases (&name, *name) are not read"),
        ("a: *x", 1, "anchors and aliases"),
        ("\n" + "[" * 1000, 2, "nested too deeply"),
        ("a: 1\n\tb: 2", 2, "a tab cannot indent or start a value: use spaces"),
        ("a: 1\n  b: 2", 2, "mapping values are not allowed here"),
        ("a: [1\nb: 2\n", 2, "expected ',' or ']', but got ':'"),
        ("a: 1\n- b\n", 2, "not YAML: check the indentation, quotes and brackets up to here"),
        ("a: 1\nb: \0", 2, "U+0000 cannot stand in YAML"),
        ("a: 'open", 1, "found unexpected end of stream"),
        ("a: 1\n---\nb: 2", 2, "but found another document"),
        ('a: "\\UFFFFFFFF"', 1, "an escape names no character"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(YamlSyntaxError) as caught:
        read_yaml(text)
    assert message in caught.value.message
    assert caught.value.line == line
