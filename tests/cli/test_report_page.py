"""The page of a report in a real browser: it opens offline, sorts and filters, and suits dark, print and phone."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.browser import CHROMIUM, DRIVER, MISSING, Browser, chromium
from tests.demo_report import SETTINGS, demo_report, scored
from tfcli.scoring.findings import find
from tfcli.scoring.picture import Picture
from tfcli.scoring.report import Report
from tfcli.scoring.report_html import html_page

pytestmark = pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason=MISSING)

N_LINES = 120
ATTACK = "</script><script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"
ROWS = ".lines tbody tr"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 10" width="20" height="10"><path d="M0 0h20"/></svg>'


@pytest.fixture(scope="module")
def shared_browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def browser(shared_browser: Browser) -> Browser:
    shared_browser.show(1200, 800)
    return shared_browser


@pytest.fixture(scope="module")
def report() -> Report:
    return replace(demo_report(N_LINES), pictures=[Picture("Loss", "Over the steps.", SVG)])


@pytest.fixture(scope="module")
def page(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(html_page(report), encoding="utf-8")
    return path


def column(browser: Browser, label: str) -> list[str]:
    return browser.texts(f'{ROWS} td[data-label="{label}"]')


def numbers(browser: Browser, label: str) -> list[float]:
    return [float(text.replace("\u2212", "-").replace(",", "")) for text in column(browser, label)]


def sort_by(browser: Browser, label: str) -> None:
    next(one for one in browser.all(".lines th button") if one.text == label).click()


def sorted_by(browser: Browser) -> dict[str, str]:
    return {one.text: one.get_attribute("aria-sort") for one in browser.all(".lines th[aria-sort]")}


def fill(browser: Browser, position: int, text: str) -> None:
    control = browser.all(".controls input")[position]
    control.clear()
    control.send_keys(text)


def test_it_opens_from_the_disk_without_a_complaint_or_a_request(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert browser.find("h1").text == "better against worse"
    assert browser.complaints() == []
    assert browser.requests() == [page.as_uri()]


def test_its_policy_lets_nothing_be_fetched_and_no_other_script_run(browser: Browser, page: Path) -> None:
    """Else the test above would only show that we fetch nothing yet."""
    browser.open(page)
    browser.run(
        "const [image, script] = [document.createElement('img'), document.createElement('script')];"
        "image.src = 'file:///nothing.png'; script.textContent = \"document.title = 'owned'\";"
        "document.body.append(image, script)"
    )
    assert sum("Content Security Policy" in complaint for complaint in browser.complaints()) == 2
    assert browser.run("return document.title") == "better against worse"


def test_what_strangers_wrote_is_text(browser: Browser, tmp_path: Path) -> None:
    hostile = {"theirs": ["good", "a b"], f"mine {ATTACK}": [ATTACK, "a b"]}
    of = scored(f"set {ATTACK}", [f"src {ATTACK}", "c"], [["good", "a b"]], hostile, compared=True)
    path = tmp_path / "report.html"
    path.write_text(html_page(Report(f"title {ATTACK}", [of], SETTINGS, provenance=[(ATTACK, ATTACK)])))
    browser.open(path)
    assert browser.run("return document.title") == f"title {ATTACK}"
    assert browser.complaints() == []
    assert browser.all("img") == []
    assert column(browser, "Source")[0] == f"src {ATTACK}"
    assert column(browser, f"mine {ATTACK}".replace('"', '\\"'))[0] == ATTACK
    assert f"src {ATTACK}" in browser.texts(".samples dd")
    assert browser.texts("#provenance dd") == [ATTACK]


def test_lines_are_sorted_by_each_column_of_numbers(browser: Browser, page: Path, report: Report) -> None:
    browser.open(page)
    found = find(report)[0]
    chrf = [round(value, 1) for value in found.systems[0].analysis.chrf if value is not None]
    assert numbers(browser, "chrF") == sorted(chrf)[:25]
    assert sorted_by(browser) == {"chrF": "ascending"}
    sort_by(browser, "chrF")
    assert numbers(browser, "chrF") == sorted(chrf, reverse=True)[:25]
    assert sorted_by(browser) == {"chrF": "descending"}
    sort_by(browser, "Line")
    assert numbers(browser, "Line") == list(range(1, 26))
    assert column(browser, "better") == list(found.systems[0].system.hypotheses[:25])
    sort_by(browser, "Change")
    assert sorted_by(browser) == {"Change": "ascending"}
    assert numbers(browser, "Line")[:5] == [n + 1 for n in found.systems[0].losses]
    sort_by(browser, "Change")
    assert numbers(browser, "Line")[:5] == [n + 1 for n in found.systems[0].gains]
    assert browser.run("return document.activeElement.textContent") == "Change"


def test_a_line_without_a_score_comes_last_either_way(browser: Browser, tmp_path: Path) -> None:
    ref = ["a dog", "", "a cat"]
    of = scored("blank", None, [ref], {"mine": ["a dog", "", "dogs"]})
    path = tmp_path / "report.html"
    path.write_text(html_page(Report("blank", [of], SETTINGS)))
    browser.open(path)
    assert column(browser, "Line") == ["3", "1", "2"]
    sort_by(browser, "chrF")
    assert column(browser, "Line") == ["1", "3", "2"]
    assert column(browser, "chrF")[-1] == "\u2013"
    assert column(browser, "Source") == []


def test_lines_are_filtered_by_text_and_by_chrf(browser: Browser, page: Path, report: Report) -> None:
    browser.open(page)
    src = report.sets[0].src or []
    fill(browser, 0, "THE CHILD")
    all_texts = [src, *report.sets[0].references, *(one.hypotheses for one in report.sets[0].systems)]
    found = [
        n
        for n, texts in enumerate(zip(*all_texts, strict=True))
        if any("the child" in text.lower() for text in texts)
    ]
    assert 0 < len(found) < N_LINES
    assert sorted(numbers(browser, "Line")) == [n + 1 for n in found][:25]
    assert browser.texts('[role="status"]') == [f"{len(found)} of {N_LINES} lines"]
    fill(browser, 0, "no line has this")
    assert browser.all(ROWS) == []
    browser.open(page)
    fill(browser, 1, "60")
    fill(browser, 2, "80")
    chrf = numbers(browser, "chrF")
    assert chrf
    assert all(60 <= value <= 80 for value in chrf)


def test_more_lines_come_a_slice_at_a_time_or_all_at_once(browser: Browser, page: Path) -> None:
    browser.open(page)
    more, every = browser.all(".more button")
    assert len(browser.all(ROWS)) == 25
    more.click()
    assert len(browser.all(ROWS)) == 50
    assert every.text == f"Show all {N_LINES}"
    every.click()
    assert len(browser.all(ROWS)) == N_LINES
    assert not more.is_displayed()
    assert not every.is_displayed()


def test_one_of_several_systems_is_chosen(browser: Browser, tmp_path: Path) -> None:
    ref = ["a dog sleeps", "a cat"]
    systems = {"old": ["dog", "cat"], "first": ["a dog", "a cat"], "second": ["a dog sleeps", "no"]}
    of = scored("s", None, [ref], systems, compared=True)
    path = tmp_path / "report.html"
    path.write_text(html_page(Report("three", [of], SETTINGS)))
    browser.open(path)
    sort_by(browser, "Line")
    assert column(browser, "first") == ["a dog", "a cat"]
    assert browser.texts("td[data-label='Reference'] mark") == ["sleeps"]
    browser.run(
        "const choice = document.querySelector('.controls select'); choice.value = '1';"
        "choice.dispatchEvent(new Event('change'))"
    )
    assert column(browser, "second") == ["a dog sleeps", "no"]
    assert column(browser, "old") == ["dog", "cat"]
    assert browser.texts("td[data-label='second'] mark") == ["no"]


def test_two_thousand_lines_are_there_in_a_second_and_five_megabytes(
    browser: Browser, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    path.write_text(html_page(demo_report(2000, only=50)), encoding="utf-8")
    assert path.stat().st_size < 5_000_000
    times = []
    for _ in range(3):  # the best of three: other tests run beside this one
        browser.open(path)
        times.append(browser.run("return performance.getEntriesByName('interactive')[0].startTime"))
    assert min(times) < 1000
    assert browser.texts('[role="status"]') == ["2,000 of 2,000 lines"]
    busy = browser.run(
        "const start = performance.now(); document.querySelector('.lines th button').click();"
        "return performance.now() - start"
    )
    assert busy < 1000
    assert len(browser.all(ROWS)) == 25


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def style(browser: Browser, selector: str, name: str) -> str:
    found = browser.run(
        "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]", selector, name
    )
    return str(found)


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_in_the_light_and_in_the_dark(browser: Browser, page: Path, dark: bool) -> None:
    browser.open(page)
    browser.show(1200, 800, dark=dark)
    paper = luminance(style(browser, "body", "backgroundColor"))
    assert (paper < 0.05) == dark
    for selector, least in {"body": 7, ".note": 4.5, "a": 4.5, "mark.missing": 4.5}.items():
        light, darker = sorted((luminance(style(browser, selector, "color")), paper), reverse=True)
        assert (light + 0.05) / (darker + 0.05) >= least, selector
    marked = [luminance(style(browser, ".lines mark.differs", name)) for name in ("color", "backgroundColor")]
    assert (max(marked) + 0.05) / (min(marked) + 0.05) >= 7


def test_print_has_black_text_on_white_and_no_controls(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.show(800, 800, dark=True, medium="print")
    assert style(browser, "body", "backgroundColor") == "rgb(255, 255, 255)"
    assert style(browser, "body", "color") == "rgb(0, 0, 0)"
    for selector in (".controls", ".more", "nav"):
        assert style(browser, selector, "display") == "none"
    assert style(browser, ".lines thead", "display") == "table-header-group"


def test_a_phone_shows_it_without_scrolling_sideways(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.show(360, 740)
    assert browser.run("return document.documentElement.scrollWidth") == 360
    assert style(browser, ".lines tbody tr", "display") == "block"
    assert (
        browser.run(
            "return getComputedStyle(document.querySelector('.lines td:last-child'), '::before').content"
        )
        == '"worse"'
    )
    sort_by(browser, "Line")
    assert numbers(browser, "Line")[0] == 1


def test_every_control_has_a_name_and_every_table_a_head(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert browser.run("return [...document.querySelectorAll('input')].map(one => one.labels[0].textContent)") == [
        "Search all columns", "chrF from", "to",
    ]  # fmt: skip
    assert browser.run(
        "return [...document.querySelectorAll('table')].every(one => one.tHead.rows.length === 1)"
    )
    assert all(
        browser.run("return [...document.querySelectorAll('thead th')].map(one => one.scope === 'col')")
    )
    labelled = browser.run(
        "return [...document.querySelectorAll('[aria-labelledby]')]"
        ".map(one => document.getElementById(one.getAttribute('aria-labelledby')).textContent)"
    )
    assert labelled == ["Line by line"] * 2
    levels = [int(one.tag_name[1]) for one in browser.all("h1, h2, h3")]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_pictures_stand_in_the_page_with_their_captions(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert len(browser.all(".picture svg path")) == 1
    assert browser.texts(".picture figcaption") == ["Loss. Over the steps."]
