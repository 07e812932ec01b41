"""A report without a browser: what it says in words, that strangers' text is escaped, and its Markdown."""

import json
import re
from dataclasses import replace
from html import unescape
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.demo_report import SETTINGS, demo_report, scored
from tfcli.scoring.analysis import WordCounts
from tfcli.scoring.findings import find, headline, notes, verdicts, words_basis
from tfcli.scoring.report import Report
from tfcli.scoring.report_html import html_page, line_rows
from tfcli.scoring.report_markdown import markdown
from tfcli.scoring.results import Interval, Score

ATTACK = "<script>alert(1)</script> & <b onclick='x'> | `a` [x](http://x) *b*"
N_LINES = 40


@pytest.fixture(scope="module")
def report() -> Report:
    return demo_report(N_LINES)


@pytest.fixture(scope="module")
def hostile() -> Report:
    ref = [f"ref {ATTACK}", "fine"]
    systems = {"theirs": ["ref", "fin"], f"mine {ATTACK}": [ATTACK, "fine"]}
    of = scored(f"set {ATTACK}", [f"src {ATTACK}", "c"], [ref], systems, compared=True)
    return Report(f"title {ATTACK}", [of], SETTINGS, provenance=[(ATTACK, ATTACK)])


def data_of(page: str) -> list[Any]:
    return [
        json.loads(found) for found in re.findall(r'<script type="application/json">(.*?)</script>', page)
    ]


def test_a_headline_tells_the_scores_and_the_interval_of_the_first(report: Report) -> None:
    of = report.sets[0]
    scores = {"bleu": Score(40.123, "s", "", Interval(40.25, 2.25)), "ter": Score(50.0, "t", "")}
    assert headline(of, replace(of.judged, scores=scores)) == (
        "On news (40 lines), better scores BLEU 40.12 (95 % interval 38.00 to 42.50), TER 50.00."
    )


def test_only_what_the_table_has_is_explained(report: Report) -> None:
    (of,) = report.sets
    assert notes([of], "In brackets") == "In brackets 95 % intervals. Of TER, less is better."
    alone = replace(of.judged, scores={"bleu": Score(40.0, "s", "")}, comparisons={})
    plain = replace(of, systems=[alone], baseline=None)
    assert notes([plain], "In brackets") == ""
    for text in (html_page(replace(report, sets=[plain])), markdown(replace(report, sets=[plain]))):
        assert "less is better" not in text
        assert "95 %" not in text


def test_verdicts_name_the_set_where_there_are_several(report: Report) -> None:
    of = report.sets[0]
    (words, *_) = [comparison.words for comparison in of.judged.comparisons.values()]
    assert verdicts(find(report))[0] == f"{words}."
    two = replace(report, sets=[of, replace(of, name="talks")])
    assert f"On talks, {words}." in verdicts(find(two))


def test_it_is_said_in_which_text_words_were_counted(report: Report) -> None:
    assert "in the 300 lines of the training text" in words_basis(report)
    part = replace(report, training_words=WordCounts({}, 1000, complete=False))
    assert "in the first 1,000 lines of the training text" in words_basis(part)
    assert "in the references, since the training text is not at hand" in words_basis(
        replace(report, training_words=None)
    )


def test_systems_of_one_name_would_be_taken_for_each_other(report: Report) -> None:
    of = report.sets[0]
    with pytest.raises(ValueError, match="names of their own"):
        find(replace(report, sets=[replace(of, systems=[of.systems[0]] * 2)]))


def test_the_page_has_every_line_of_every_system(report: Report) -> None:
    (data,) = data_of(html_page(report))
    of = report.sets[0]
    assert data == json.loads(json.dumps(line_rows(find(report)[0])))
    assert data["systems"] == ["better", "worse"]
    assert data["baseline"]
    assert len(data["lines"]) == N_LINES
    for n, (src, *systems) in enumerate(data["lines"]):
        assert src == (of.src or [])[n]
        for one, (_, hyp, ref) in zip(reversed(of.systems), systems, strict=True):
            assert "".join(hyp) == one.hypotheses[n]
            assert "".join(ref) == of.references[0][n]


def test_the_page_has_scores_intervals_signatures_verdicts_and_provenance(report: Report) -> None:
    text = unescape(re.sub(r"\s+", " ", html_page(report)))
    for one in report.sets[0].systems:
        for score in one.scores.values():
            assert f"{score.score:.2f}" in text
            assert score.interval is not None
            assert f"{score.interval.low:.2f} to {score.interval.high:.2f}" in text
            assert score.signature in text
    for comparison in report.sets[0].judged.comparisons.values():
        assert f"{comparison.words}." in text
        assert comparison.signature in text
    assert "tfcli eval better --baseline worse" in text


def test_the_page_escapes_what_strangers_wrote(hostile: Report) -> None:
    page = html_page(hostile)
    assert ATTACK not in page
    assert page.count("<script") == page.count("</script>") == 2
    assert "<b onclick" not in page
    assert "http://x" in data_of(page)[0]["lines"][0][0]


def test_the_page_names_no_address_and_the_hash_of_its_script(report: Report) -> None:
    page = html_page(report)
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", page)
    assert not re.search(r"@import|url\(", page)
    assert len(re.findall(r"script-src 'sha256-[\w+/]{43}='", page)) == 1


def test_a_report_without_source_baseline_or_training_text_says_so() -> None:
    ref = ["a dog", "a cat"]
    report = Report("files", [scored("out", None, [ref], {"out": ["a dog", "cat"]})], SETTINGS)
    for text in (html_page(report), markdown(report)):
        assert "no source is at hand" in text
        assert "the training text is not at hand" in text
        assert "Words of the reference" in text
        assert "baseline" not in re.sub(r"<s(tyle|cript).*?</s", "", text, flags=re.DOTALL)
        assert "Largest" not in text


def cells(text: str) -> list[list[str]]:
    """Return the rows of all tables as a renderer of Markdown sees them, their cells as plain text."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
    rows: list[list[str]] = []
    in_cell = False
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            in_cell = True
        elif token.type == "inline" and in_cell:
            in_cell = False
            assert all(child.type in ("text", "text_special") for child in token.children or []), (
                token.content
            )
            rows[-1].append("".join(child.content for child in token.children or []))
    return rows


def test_markdown_has_the_facts_of_the_page(report: Report) -> None:
    text = markdown(report)
    found = find(report)[0]
    rows = cells(text)
    best = found.systems[0]
    for one in report.sets[0].systems:
        for score in one.scores.values():
            assert f"`{score.signature}`" in text
            assert score.interval is not None
            shown = f"{score.score:.2f} ({score.interval.low:.2f} to {score.interval.high:.2f})"
            assert any(shown in row for row in rows)
    for n in (*best.gains, *best.losses, *best.worst):
        assert any(row[0] == f"{n + 1:,}" and best.system.hypotheses[n] in row for row in rows), n
    for comparison in report.sets[0].judged.comparisons.values():
        assert f"- {comparison.words}." in text
    assert ["command", "tfcli eval better --baseline worse"] in rows
    assert [[group.label for group in best.analysis.ratios]] == [
        [row[0] for row in rows if row[0] in {group.label for group in best.analysis.ratios}]
    ]


def test_markdown_shows_what_strangers_wrote_as_text(hostile: Report) -> None:
    text = markdown(hostile)
    rendered = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    assert "<script" not in rendered
    assert "<b " not in rendered
    assert "<a " not in rendered
    assert [ATTACK, ATTACK] in cells(text)


ONE_LINE = scored("s", None, [["x y"]], {"mine": ["x"]})


@given(st.text(st.sampled_from("a<&;|`*_[]()#\\ \n\u2028!~-1.$@"), max_size=25))
def test_any_text_fits_into_a_cell_of_markdown(line: str) -> None:
    of = replace(ONE_LINE, systems=[replace(ONE_LINE.judged, hypotheses=[line])])
    shown = [row for row in cells(markdown(Report("t", [of], SETTINGS))) if row[:1] == ["1"] and "x y" in row]
    assert [row[-1] for row in shown] == [" ".join(line.split())]
