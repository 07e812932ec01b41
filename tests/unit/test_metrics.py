"""BLEU, chrF and TER: equal to sacreBLEU's own, and what would make them lie is refused."""

import gzip
import logging
import os
from pathlib import Path

import pytest
import sacrebleu
from sacrebleu.tokenizers import tokenizer_spm

from tfcli.errors import DataError, RecipeError
from tfcli.recipe.schema import ScoringSection, TokenizerSection
from tfcli.scoring import metrics
from tfcli.scoring.doubts import tokenization_warning
from tfcli.scoring.metrics import (
    check_counts,
    corpus_bleu,
    require_tokenizer,
    score,
)
from tfcli.text.tokenizer import SHARED_FILE, train_tokenizer

HYPOTHESES = [
    "The cat sat on the mat.",
    "",
    "A Man's dog runs, quickly; through the park!",
    "Zwei Hunde spielen im Schnee .",
]
REFERENCES = [
    [
        "The cat is sitting on the mat.",
        "",
        "A man's dog is running quickly through the park!",
        "Zwei Hunde spielen im Schnee.",
    ],
    [
        "the Cat sat upon the mat.",
        "Nothing",
        "A Man's dog runs, fast; through a park!",
        "Im Schnee spielen zwei Hunde.",
    ],
]
PLAIN = ScoringSection()


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("tokenize", ["13a", "intl", "char", "none", "zh"])
@pytest.mark.parametrize("n_references", [1, 2])
def test_scores_and_signatures_are_those_of_sacrebleu(
    tokenize: str, lowercase: bool, n_references: int
) -> None:
    references = REFERENCES[:n_references]
    settings = ScoringSection.model_validate({"tokenize": tokenize, "lowercase": lowercase})
    found = score(HYPOTHESES, references, settings)
    ours = {
        "bleu": sacrebleu.BLEU(tokenize=tokenize, lowercase=lowercase),
        "chrf": sacrebleu.CHRF(lowercase=lowercase),
        "ter": sacrebleu.TER(case_sensitive=not lowercase),
    }
    assert list(found) == list(ours)
    for name, metric in ours.items():
        theirs = metric.corpus_score(HYPOTHESES, references)
        assert (found[name].score, found[name].signature) == (theirs.score, str(metric.get_signature()))
        assert found[name].details == str(theirs)
    assert corpus_bleu(HYPOTHESES, references, settings) == found["bleu"].score
    assert f"nrefs:{n_references}|case:{'lc' if lowercase else 'mixed'}" in found["ter"].signature


def test_the_settings_change_the_scores() -> None:
    bleu = {
        (tokenize, lowercase): corpus_bleu(
            HYPOTHESES,
            REFERENCES[:1],
            ScoringSection.model_validate({"tokenize": tokenize, "lowercase": lowercase}),
        )
        for tokenize in ("13a", "none")
        for lowercase in (False, True)
    }
    assert len(set(bleu.values())) == 4


def test_only_the_metrics_that_are_asked_for_are_counted() -> None:
    assert list(score(HYPOTHESES, REFERENCES, PLAIN, ("ter", "bleu"))) == ["ter", "bleu"]
    with pytest.raises(ValueError, match="unknown metric 'meteor'"):
        score(HYPOTHESES, REFERENCES, PLAIN, ("meteor",))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_unequal_counts_which_sacrebleu_would_cut_are_refused_with_both_counts(count: int) -> None:
    two = ["a b c d", "e f g h"]
    references = [[*two, "i j k l"][:count]]
    if count == 1:
        assert sacrebleu.BLEU().corpus_score(two, references).score == pytest.approx(100)  # the trap
    for call in (score, corpus_bleu):
        with pytest.raises(DataError) as caught:
            call(two, references, PLAIN)
        noun = "line" if count == 1 else "lines"
        assert caught.value.message == f"the hypotheses have 2 lines, reference 1 has {count} {noun}"


def test_the_second_of_two_references_is_counted_too_and_files_are_named() -> None:
    with pytest.raises(DataError, match=r"^the hypotheses have 1 line, reference 2 has 2 lines$"):
        score(["a"], [["a"], ["a", "b"]], PLAIN)
    with pytest.raises(DataError, match=r"^out\.de has 1 line, b\.de has 2 lines$"):
        check_counts(["a"], [["a"], ["a", "b"]], ["out.de", "a.de", "b.de"])


def test_nothing_is_no_score() -> None:
    with pytest.raises(DataError, match=r"^nothing to score: the hypotheses, reference 1: no lines$"):
        score([], [[]], PLAIN)


@pytest.mark.parametrize("references", [[], ["a"], ["a", "b"]])
def test_a_list_of_lines_in_place_of_a_list_of_references_is_a_programmers_mistake(
    references: list[str],
) -> None:
    with pytest.raises(ValueError, match="references must be a sequence of references"):
        score(["a"], references, PLAIN)


def test_a_perfect_translation_scores_100_and_no_hair_more() -> None:
    lines = ["a b c d e", "f g h i j k"]
    assert sacrebleu.BLEU().corpus_score(lines, [lines]).score > 100  # the trap
    found = score(lines, [lines], PLAIN)
    assert (found["bleu"].score, found["chrf"].score) == (100.0, 100.0)
    assert score(["a b c d e f"], [["x"]], PLAIN)["ter"].score > 100  # an error rate has no such limit


def test_blank_lines_are_lines() -> None:
    assert score(["", ""], [["", ""]], PLAIN)["bleu"].score == 0.0
    assert score(["", "a b c d"], [["x", "a b c d"]], PLAIN)["ter"].score == pytest.approx(20.0)


def test_sacrebleu_keeps_silent_about_tokenized_text_and_we_say_it(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    lines = ["a b c ."] * 200
    with caplog.at_level(logging.DEBUG):
        assert corpus_bleu(lines, [lines], PLAIN) == pytest.approx(100)
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")
    warning = tokenization_warning([*lines, "end."], PLAIN)
    assert warning is not None
    assert "200 of 201 hypotheses end in ' .'" in warning
    assert "tokenizer 13a" in warning


@pytest.mark.parametrize(
    ("spaced", "plain", "tokenize"), [(9, 0, "13a"), (99, 901, "13a"), (1000, 0, "none")]
)
def test_a_few_spaced_full_stops_or_text_that_is_not_to_be_tokenized_raise_no_alarm(
    spaced: int, plain: int, tokenize: str
) -> None:
    settings = ScoringSection.model_validate({"tokenize": tokenize})
    assert tokenization_warning(["a ."] * spaced + ["a."] * plain, settings) is None


@pytest.mark.parametrize("language", ["ja", "ko"])
def test_a_tokenizer_whose_packages_are_missing_says_what_to_install(
    language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{language}-mecab"
    monkeypatch.setattr(f"sacrebleu.tokenizers.tokenizer_{language}_mecab.MeCab", None)
    settings = ScoringSection.model_validate({"tokenize": name})
    for call in (require_tokenizer, lambda settings: corpus_bleu(["a"], [["a"]], settings)):
        with pytest.raises(RecipeError) as caught:
            call(settings)
        assert caught.value.message.startswith(f"tokenizer {name} cannot be used: ")
        assert "extra dependencies" in caught.value.message
        assert caught.value.hint == f"pip install 'sacrebleu[{language}]'"


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder where sacreBLEU looks for tokenizers before it fetches them."""
    for module in ("sacrebleu.tokenizers.tokenizer_spm", "sacrebleu.utils"):
        monkeypatch.setattr(f"{module}.SACREBLEU_DIR", str(tmp_path))
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def flores_path(models: Path, name: str) -> Path:
    return models / tokenizer_spm.SPM_MODELS[name]["url"].rpartition("/")[2]


@pytest.mark.parametrize("name", ["flores101", "flores200"])
@pytest.mark.parametrize("failure", [OSError("no route to host"), SystemExit(1), TimeoutError()])
def test_a_tokenizer_that_cannot_be_fetched_says_where_it_belongs(
    name: str, failure: BaseException, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(url: str, path: str) -> None:
        raise failure

    monkeypatch.setattr(tokenizer_spm, "download_file", unreachable)
    with pytest.raises(RecipeError, match=f"^tokenizer {name} cannot be used: .") as caught:
        require_tokenizer(ScoringSection.model_validate({"tokenize": name}))
    assert caught.value.hint is not None
    assert str(flores_path(models, name)) in caught.value.hint
    assert tokenizer_spm.SPM_MODELS[name]["url"] in caught.value.hint


def test_a_damaged_tokenizer_is_refused_and_a_whole_one_is_used(models: Path) -> None:
    settings = ScoringSection(tokenize="flores200")
    path = flores_path(models, "flores200")
    path.write_bytes(b"half of it")
    with pytest.raises(RecipeError, match=r"^tokenizer flores200 cannot be used: "):
        require_tokenizer(settings)
    text = [line for reference in REFERENCES for line in reference if line]
    tokenizer = train_tokenizer(
        TokenizerSection(kind="char", vocab_size=100), text, text, lambda message: None
    )
    tokenizer.save(models)
    (models / SHARED_FILE).rename(path)
    require_tokenizer(settings)
    assert "tok:flores200" in score(HYPOTHESES, REFERENCES, settings)["bleu"].signature


def test_a_defect_of_a_built_in_tokenizer_is_not_taken_for_a_missing_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(**options: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("sacrebleu.metrics.bleu.BLEU", broken)
    with pytest.raises(RuntimeError, match=r"^broken$"):
        require_tokenizer(PLAIN)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("pair", "system", "reference", "tokenize"),
    [
        ("de-en", "PROMT", "A", "13a"),
        ("de-en", "Online-B", "B", "13a"),
        ("en-zh", "Online-B", "A", "zh"),
    ],
)
def test_the_scores_that_wmt22_published_come_out(
    pair: str, system: str, reference: str, tokenize: str
) -> None:
    root = Path(os.environ.get("TFCLI_DATA", "")) / "wmt22"
    if not os.environ.get("TFCLI_DATA") or not (root / "published-scores.tsv.gz").is_file():
        pytest.skip("TFCLI_DATA does not name a folder with wmt22/published-scores.tsv.gz")

    def lines(path: Path) -> list[str]:
        return gzip.decompress(path.read_bytes()).decode().removesuffix("\n").split("\n")

    tgt = pair.partition("-")[2]
    found = score(
        lines(root / pair / f"hyp.{system}.{tgt}.gz"),
        [lines(root / pair / f"ref.{reference}.{tgt}.gz")],
        ScoringSection.model_validate({"tokenize": tokenize}),
        ("bleu", "chrf"),
    )
    rows = [line.split("\t") for line in lines(root / "published-scores.tsv.gz")]
    published = {row[4]: float(row[5]) for row in rows if row[:2] == [pair, system]}
    for metric in ("bleu", "chrf"):
        assert found[metric].score == pytest.approx(published[f"{metric}-{reference}"], abs=1e-6)


def test_every_metric_is_counted_when_none_is_named() -> None:
    assert tuple(score(["a"], [["a"]], PLAIN)) == metrics.METRICS
