"""`tfcli eval RUN`: test sets translated, kept, scored and compared with what the recipe expects."""

import gzip
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sacrebleu
from sacrebleu.dataset import DATASETS
from safetensors.numpy import save

from tfcli.app import main
from tfcli.commands import console
from tfcli.commands import eval_run as eval_verb
from tfcli.recipe.loader import dump_recipe, load_recipe
from tfcli.recipe.schema import DecodingSection, Expectation
from tfcli.scoring.evaluation import compare
from tfcli.scoring.results import Interval, Score, SetResult, SystemResult

SOURCE = ["die Katze", "", "zwei\u2028Hunde", "Anna sieht"]
REFERENCE = [
    "The cat is sitting on the mat.",
    "",
    "Two dogs\u2028play in the snow.",
    "Anna sees a very small house.",
]
HYPOTHESES = [
    "The cat sits on the mat.",
    "",
    "two dogs\u2028are playing in the snow.",
    "Anna sees a very small house.",
]
TABLE = dict(zip(SOURCE, HYPOTHESES, strict=True))
WEIGHTS = save({"a": np.zeros(3, np.float32)})
RECIPE = """\
name: toy
data:
  root: {root}
  train: [{{src: a.en, tgt: a.de}}]
  valid: {{src: a.en, tgt: a.de}}
  tests:
    near: {{src: near.src, tgt: near.tgt.gz}}
    far: {{tsv: far.tsv}}
model: {{preset: tiny}}
scoring: {{lowercase: true}}
expected: {{near: {{bleu: 70, tolerance: 15}}, far: {{bleu: 50}}}}
"""


@pytest.fixture(autouse=True)
def _fresh_console() -> Iterator[None]:
    console._console.cache_clear()
    yield
    console._console.cache_clear()


def text(lines: Sequence[str]) -> bytes:
    return "".join(line + "\n" for line in lines).encode()


def refused(capsys: pytest.CaptureFixture[str], code: int, *args: object) -> str:
    """Run a command that fails before it has a result; return what it says."""
    assert main(["eval", *map(str, args)]) == code
    out, err = capsys.readouterr()
    assert out == ""
    return err


def as_json(capsys: pytest.CaptureFixture[str], *args: object) -> Any:
    assert main(["eval", *map(str, args), "--json", "-q"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


class LookupTranslator:
    """Translates what it knows, and writes down how it was asked."""

    def __init__(self, table: dict[str, str], beam_size: int | None = None) -> None:
        self.table = table
        self.info = {"trained": {"step": 800, "validation_bleu": 33.5}}
        self.decoding = DecodingSection(beam_size=beam_size or 5)
        self.engine = SimpleNamespace(name="torch", device="cpu", precision="fp32")
        self.asked: list[list[str]] = []

    def translate(
        self, lines: Sequence[str], advance: Callable[[int], None] | None = None
    ) -> list[SimpleNamespace]:
        self.asked.append(list(lines))
        if advance is not None:
            advance(len(lines))
        return [SimpleNamespace(text=self.table[line]) for line in lines]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    (data / "near.src").write_bytes(text(SOURCE))
    (data / "near.tgt.gz").write_bytes(gzip.compress(text(REFERENCE)))
    (data / "far.tsv").write_bytes(text([f"{src}\tnothing alike {src}" for src in SOURCE[2:]]))
    recipe = tmp_path / "toy.yaml"
    recipe.write_text(RECIPE.format(root=data))
    folder = tmp_path / "run"
    (folder / "best").mkdir(parents=True)
    (folder / "recipe.yaml").write_text(dump_recipe(load_recipe(recipe)))
    (folder / "best" / "config.json").write_text("{}")
    (folder / "best" / "model.safetensors").write_bytes(WEIGHTS)
    return folder


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Put a lookup table in the network's place; return what each load was asked for."""
    monkeypatch.delenv("TFCLI_DATA", raising=False)
    loads: list[dict[str, Any]] = []

    def load(folder: Path, **options: Any) -> LookupTranslator:
        translator = LookupTranslator(TABLE, beam_size=options["beam_size"])
        loads.append({"folder": folder, **options, "translator": translator})
        return translator

    monkeypatch.setattr(eval_verb, "_load", load)
    return loads


def test_a_run_is_scored_on_all_test_sets_and_compared_with_what_is_expected(
    run: Path, loaded: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(run), "--device", "cpu"]) == 0
    out, err = capsys.readouterr()
    bleu = sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCE], lowercase=True).score
    shown = [line.split() for line in out.split("\n")]
    table = {row[0]: row[1:] for row in shown if len(row) == 11}
    assert table["near"][:3] == ["4", f"{bleu:.2f}", "+-"]
    assert table["far"][0] == "2"
    assert "tok:13a" in out
    assert out.count("|case:lc|") == 3  # the same signature for both sets is shown once
    verdicts = [line for line in out.split("\n") if "reproduced" in line]
    assert verdicts[0].split() == [
        "near", "70.00", "+-", "15", f"{bleu:.2f}", "+-", table["near"][3], f"{bleu - 70:+.2f}", "reproduced",
    ]  # fmt: skip
    assert verdicts[1].startswith("far")
    assert verdicts[1].rstrip().endswith("not reproduced")
    assert f"translations are in {run / 'eval'}, scores in {run / 'scores.json'}" in err
    (load,) = loaded
    assert (load["folder"], load["device"], load["precision"], load["beam_size"]) == (
        run, "cpu", None, None,
    )  # fmt: skip
    assert load["translator"].asked == [SOURCE, SOURCE[2:]]
    assert (run / "eval" / "near.hyp").read_bytes() == text(HYPOTHESES)
    assert (run / "eval" / "far.hyp").read_bytes() == text(HYPOTHESES[2:])


@pytest.mark.parametrize(
    ("obtained", "reproduced"), [(39.0, False), (39.5, True), (40.0, True), (40.5, True), (41.0, False)]
)
def test_a_score_too_far_from_what_is_expected_is_not_reproduced_on_either_side(
    obtained: float, reproduced: bool
) -> None:
    scores = {"bleu": Score(obtained, "signature", "details")}
    results = [
        SetResult(name, ["a"], [["b"]], [SystemResult("run", ["b"], scores)]) for name in ("known", "other")
    ]
    (found,) = compare(results, {"known": Expectation(bleu=40.0, tolerance=0.5)})
    assert (found.name, found.difference, found.reproduced) == ("known", obtained - 40.0, reproduced)
    assert found.verdict == ("reproduced" if reproduced else "not reproduced")


@pytest.mark.parametrize(
    ("mean", "verdict"),
    [(40.9, "not reproduced, but within the 95 % interval"), (41.1, "not reproduced")],
)
def test_an_expectation_within_the_interval_is_told_apart_from_one_beyond_it(
    mean: float, verdict: str
) -> None:
    scores = {"bleu": Score(41.0, "signature", "details", Interval(mean, 1.0))}
    results = [SetResult("known", ["a"], [["b"]], [SystemResult("run", ["b"], scores)])]
    (found,) = compare(results, {"known": Expectation(bleu=40.0, tolerance=0.5)})
    assert found.verdict == verdict


def test_scores_json_says_what_was_scored_and_how_and_info_shows_it(
    run: Path, loaded: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    found = as_json(capsys, run)
    record = json.loads((run / "scores.json").read_text())
    assert list(found) == ["sets"]
    assert record["sets"] == found["sets"]
    assert list(record["sets"]) == ["near", "far"]
    assert record["model"] == {
        "step": 800,
        "validation_bleu": 33.5,
        "sha256": hashlib.sha256(WEIGHTS).hexdigest(),
    }
    assert record["decoding"] == {
        **DecodingSection(beam_size=5).model_dump(),
        "device": "cpu",
        "engine": "torch",
        "precision": "fp32",
    }
    age = datetime.now(UTC) - datetime.fromisoformat(record["created"])
    assert timedelta(seconds=-2) < age < timedelta(minutes=1)
    assert main(["info", str(run)]) == 0
    assert f"{found['sets']['near']['bleu']['score']:.2f}" in capsys.readouterr().out
    assert sorted(path.name for path in run.iterdir()) == ["best", "eval", "recipe.yaml", "scores.json"]
    assert sorted(path.name for path in (run / "eval").iterdir()) == ["far.hyp", "near.hyp"]


def test_the_kept_translations_score_the_same_as_a_file(
    run: Path, loaded: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    of_run = as_json(capsys, run, "--test", "near")["sets"]["near"]
    reference = run.parent / "data" / "near.tgt.gz"
    of_file = as_json(capsys, "--hyp", run / "eval" / "near.hyp", "--ref", reference, "--lowercase")
    assert of_file["sets"] == {"near.hyp": of_run}


def test_a_run_is_compared_with_another_run_or_with_what_it_said_before(
    run: Path,
    loaded: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = run.parent / "other"
    said = refused(capsys, 4, run, "--baseline", other.parent)
    assert f"--baseline {other.parent}: it has no translations of near: no file" in said
    assert not loaded
    as_json(capsys, run, "--out", other)
    for key in TABLE:
        monkeypatch.setitem(TABLE, key, f"nothing of {key}")
    options = ("--metric", "bleu", "--resamples", "100")
    assert main(["eval", str(run), "--test", "near", "--baseline", str(other), *options]) == 0
    shown = capsys.readouterr().out
    assert shown.split("\n")[0].split() == ["set", "system", "lines", "BLEU"]
    words = rf"^near: ({other} beats {run} by|{run} and {other} cannot be told apart:) \d+\.\d\d BLEU \(p = "
    assert re.search(words, shown, flags=re.MULTILINE)
    found = as_json(capsys, run, "--test", "near", "--baseline", run, *options)
    assert found["baselines"] == found["sets"]
    (comparison,) = found["comparisons"]
    assert (comparison["baseline"], comparison["verdict"]) == (f"{run} before", "undecided")
    assert "baselines" not in json.loads((run / "scores.json").read_text())
    file = as_json(capsys, run, "--test", "near", "--baseline", run / "eval" / "near.hyp", *options)
    assert file["baselines"] == found["sets"]
    said = refused(capsys, 3, run, "--baseline", run / "eval" / "near.hyp", *options)
    assert "near.hyp has 4 lines, reference 1 of far has 2 lines" in said


def test_a_run_translates_a_test_set_that_sacrebleu_knows_by_name(
    run: Path,
    loaded: list[dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(DATASETS["multi30k/2016"], "_outdir", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "multi30k_2016.en-de.src").write_bytes(text(SOURCE))
    (tmp_path / "home" / "multi30k_2016.en-de.ref").write_bytes(text(REFERENCE))
    named = ("--testset", "multi30k/2016", "--langpair", "en-de")
    of_set = as_json(capsys, run, "--test", "near", "--out", tmp_path / "out")["sets"]["near"]
    assert main(["eval", str(run), *named, "--tokenize", "char"]) == 0
    out, err = capsys.readouterr()
    assert "|case:lc|eff:no|tok:char|" in out
    assert "--testset: the scores are only printed" in err
    found = as_json(capsys, run, *named, "--out", tmp_path / "out")["sets"]
    assert found == {"multi30k_2016-en-de": of_set}
    assert (tmp_path / "out" / "multi30k_2016-en-de.hyp").read_bytes() == text(HYPOTHESES)


def test_one_set_may_be_chosen_and_the_others_keep_the_scores_of_the_same_weights_and_decoding(
    run: Path, loaded: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    def sets_after(*options: str, folder: Path = run) -> list[str]:
        as_json(capsys, run, *options)
        return list(json.loads((folder / "scores.json").read_text())["sets"])

    assert list(as_json(capsys, run, "--test", "far", "--test", "far")["sets"]) == ["far"]
    assert sets_after("--test", "near") == ["far", "near"]
    out = run.parent / "out"
    greedy = ("--out", str(out), "--beam-size", "1")
    assert sets_after("--test", "near", "--out", str(out), folder=out) == ["near"]
    assert sets_after("--test", "far", *greedy, folder=out) == ["far"]
    assert sets_after("--test", "near", *greedy, folder=out) == ["far", "near"]
    (run / "best" / "model.safetensors").write_bytes(b"other weights")
    assert sets_after("--test", "far") == ["far"]
    (run / "scores.json").write_text("{damaged")
    assert main(["eval", str(run), "--test", "near", "-q"]) == 0
    assert "; it is now scores.damaged-1.json, and a new one is begun" in capsys.readouterr().err
    assert list(json.loads((run / "scores.json").read_text())["sets"]) == ["near"]


def test_the_history_of_a_run_is_shown_and_nothing_is_evaluated_for_it(
    run: Path, loaded: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "nothing was scored yet" in refused(capsys, 3, run, "--history")
    as_json(capsys, run, "--resamples", "0")
    (run / "best" / "model.safetensors").write_bytes(b"other weights")
    as_json(capsys, run, "--test", "far", "--metric", "ter")
    before = len(loaded)
    entries = as_json(capsys, run, "--history")["history"]
    assert [list(entry["sets"]) for entry in entries] == [["near", "far"], ["far"]]
    assert entries[0]["command"]
    assert entries[0]["model"]["sha256"] != entries[1]["model"]["sha256"]
    assert main(["eval", str(run), "--history"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.split("\n")[:-1]]
    assert rows[0] == ["when", "(UTC)", "step", "weights", "search", "set", "BLEU", "chrF", "TER"]
    bleu = entries[0]["sets"]["near"]["bleu"]["score"]
    assert rows[2][1:3] == ["800", entries[0]["model"]["sha256"][:8]]
    assert rows[2][3:9] == ["beam", "5,", "torch", "fp32", "near", f"{bleu:.2f}"]
    assert rows[4][7] == "far"
    assert rows[4][9] == "+-"
    assert len(rows) == 5
    assert len(loaded) == before
    assert "--history: expected a RUN and nothing else" in refused(
        capsys, 2, run, "--history", "--test", "far"
    )
    assert "--history: expected a RUN and nothing else" in refused(capsys, 2, "--history")
    assert "gone: no such folder" in refused(capsys, 4, "gone", "--history")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--beam-size", "1"], "--beam-size"),
        (["--precision", "fp32"], "--precision"),
        (["--precision", "fp32", "--beam-size", "1", "--test", "near"], "--beam-size and --precision"),
    ],
)
def test_what_is_tried_with_other_settings_is_printed_and_leaves_the_run_alone(
    options: list[str],
    named: str,
    run: Path,
    loaded: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    as_json(capsys, run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert main(["eval", str(run), *options]) == 0
    out, err = capsys.readouterr()
    assert "near" in out
    assert f"{named}: the scores are only printed, {run / 'scores.json'} is for the recipe's own" in err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_another_folder_takes_translations_and_scores_and_leaves_the_run_alone(
    run: Path, loaded: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "greedy"
    found = as_json(capsys, run, "--out", out, "--beam-size", "1")
    assert sorted(path.name for path in out.iterdir()) == ["far.hyp", "near.hyp", "scores.json"]
    assert json.loads((out / "scores.json").read_text())["sets"] == found["sets"]
    assert sorted(path.name for path in run.iterdir()) == ["best", "recipe.yaml"]


def test_data_may_lie_elsewhere(
    run: Path, loaded: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").rename(tmp_path / "moved")
    said = refused(capsys, 3, run)
    assert "data.tests.near.src: no file near.src; looked for" in said
    assert not loaded  # found before the network was loaded
    assert list(as_json(capsys, run, "--data-root", tmp_path / "moved")["sets"]) == ["near", "far"]


def test_test_sets_that_cannot_be_scored_are_refused_before_the_network_is_loaded(
    run: Path, loaded: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, 2, run, "--test", "neer")
    assert "--test neer: the recipe has no such test set, did you mean 'near'?" in said
    said = refused(capsys, 2, run, "--test", "zzz")
    assert "--test zzz: the recipe has no such test set\n" in said
    assert "hint: its test sets are: near, far" in said
    (tmp_path / "data" / "far.tsv").write_bytes(b"")
    said = refused(capsys, 3, run)
    assert f"data.tests.far.tsv: {tmp_path / 'data' / 'far.tsv'} is empty" in said
    (tmp_path / "data" / "near.src").write_bytes(b"one\n")
    said = refused(capsys, 3, run)
    assert "near.src has 1 line," in said
    assert "near.tgt.gz has 4" in said
    recipe = load_recipe(run / "recipe.yaml", ["data.tests={}", "expected={}"])
    (run / "recipe.yaml").write_text(dump_recipe(recipe))
    said = refused(capsys, 2, run)
    assert "data.tests: the recipe names no test set" in said
    assert f"hint: `tfcli eval {run} --src FILE --ref FILE` scores the run on text of your own" in said
    assert not loaded


def test_a_missing_tokenizer_is_found_before_the_network_is_loaded(
    run: Path,
    loaded: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sacrebleu.tokenizers.tokenizer_ko_mecab.MeCab", None)
    recipe = load_recipe(run / "recipe.yaml", ["scoring.tokenize=ko-mecab"])
    (run / "recipe.yaml").write_text(dump_recipe(recipe))
    assert "pip install 'sacrebleu[ko]'" in refused(capsys, 2, run)
    assert not loaded


def test_folders_that_are_no_runs_are_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"{tmp_path / 'gone'}: no such folder" in refused(capsys, 4, tmp_path / "gone")
    assert f"{tmp_path / 'toy.yaml'}: not a folder" in refused(capsys, 4, tmp_path / "toy.yaml")
    said = refused(capsys, 4, run / "best")
    assert f"{run / 'best'}: not a run folder: it has no recipe.yaml" in said
    (run / "recipe.yaml").write_text("name: x\n")
    assert "recipe.yaml:1: data: " in refused(capsys, 2, run)


def test_a_run_without_a_model_is_refused_by_the_real_loader(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TFCLI_DATA", raising=False)
    (run / "best" / "config.json").unlink()
    assert "neither a model folder" in refused(capsys, 4, run)
    assert not (run / "scores.json").exists()


def test_an_output_folder_that_cannot_be_made_is_found_before_translating(
    run: Path, loaded: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, 3, run, "--out", tmp_path / "toy.yaml" / "inside")
    assert f"{tmp_path / 'toy.yaml' / 'inside'}: Not a directory" in said
    assert loaded[0]["translator"].asked == []


def test_a_translation_of_several_lines_is_a_defect(
    run: Path,
    loaded: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(TABLE, SOURCE[0], "a\nb")
    assert "a translation must be a single line" in refused(capsys, 1, run)
    assert not list((run / "eval").iterdir())
