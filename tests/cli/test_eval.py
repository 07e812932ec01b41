"""`tfcli eval --hyp --ref`: files of translations scored for people and as JSON, and what is refused."""

import gzip
import json
import lzma
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sacrebleu

from tests.lookup_run import HYPOTHESES, REFERENCE, as_text
from tfcli.app import main


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "out.en").write_bytes(as_text(HYPOTHESES))
    (tmp_path / "ref.en").write_bytes(as_text(REFERENCE))
    return tmp_path


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


def test_files_are_scored_as_a_table_with_signatures(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["eval", "--hyp", f"{files}/out.en", "--ref", f"{files}/ref.en"]
    assert main([*command, "--resamples", "0"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    bleu = sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCE])
    chrf = sacrebleu.corpus_chrf(HYPOTHESES, [REFERENCE])
    ter = sacrebleu.corpus_ter(HYPOTHESES, [REFERENCE], case_sensitive=True)
    shown = [line.split() for line in out.split("\n")]
    assert shown[0] == ["system", "lines", "BLEU", "chrF", "TER"]
    assert ["out.en", "4", *(f"{found.score:.2f}" for found in (bleu, chrf, ter))] in shown
    assert f"out.en: {bleu}" in out
    for metric in ("BLEU  nrefs:1|case:mixed|eff:no|tok:13a|", "chrF  nrefs:1|", "TER   nrefs:1|"):
        assert f"\n{metric}" in out
    assert "expected" not in out
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert re.search(rf"^out.en +4 +{bleu.score:.2f} \+- \d+\.\d\d ", shown, flags=re.MULTILINE)
    assert "\nBLEU  nrefs:1|bs:1000|seed:12345|case:mixed|" in shown


def test_json_holds_score_interval_and_signature_of_each_metric_and_nothing_else(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = as_json(capsys, "--hyp", files / "out.en", "--ref", files / "ref.en")
    assert list(found) == ["sets"]
    assert list(found["sets"]) == ["out.en"]
    scores = found["sets"]["out.en"]
    assert list(scores) == ["bleu", "chrf", "ter"]
    assert all(set(score) == {"score", "signature", "interval"} for score in scores.values())
    assert all(set(score["interval"]) == {"mean", "low", "high"} for score in scores.values())
    assert scores["bleu"]["score"] == sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCE]).score
    assert scores["ter"]["signature"].startswith("nrefs:1|bs:1000|seed:12345|case:mixed|tok:tercom")


def test_the_real_command_reads_compressed_files_and_further_references(files: Path) -> None:
    (files / "out.en.gz").write_bytes(gzip.compress(as_text(HYPOTHESES)))
    (files / "ref.en.xz").write_bytes(lzma.compress(as_text(REFERENCE)))
    (files / "second.en").write_bytes(as_text(HYPOTHESES).removesuffix(b"\n"))
    command = [sys.executable, "-m", "tfcli", "eval", "--json", "--hyp", "out.en.gz", "--ref", "ref.en.xz"]
    command += ["--ref", "second.en", "--tokenize", "none", "--lowercase"]
    done = subprocess.run(command, capture_output=True, cwd=files, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    scores = json.loads(done.stdout)["sets"]["out.en.gz"]
    assert scores["bleu"]["score"] == pytest.approx(100)
    assert "nrefs:2|bs:1000|seed:12345|case:lc|eff:no|tok:none|" in scores["bleu"]["signature"]
    assert "case:lc" in scores["chrf"]["signature"]
    assert "case:lc" in scores["ter"]["signature"]


def test_the_options_change_the_score(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = [
        as_json(capsys, "--hyp", files / "out.en", "--ref", files / "ref.en", *options)["sets"]["out.en"]
        for options in ([], ["--tokenize", "char"], ["--lowercase"])
    ]
    assert len({scores["bleu"]["score"] for scores in found}) == 3


def test_only_the_metrics_that_are_asked_for_are_shown(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["eval", "--hyp", f"{files}/out.en", "--ref", f"{files}/ref.en"]
    assert main([*command, "--metric", "chrf++", "--metric", "ter", "--metric", "ter"]) == 0
    out = capsys.readouterr().out
    assert out.split("\n")[0].split() == ["system", "lines", "chrF++", "TER"]
    assert "BLEU" not in out
    assert "|nw:2|" in out


def test_several_systems_stand_in_one_table_and_are_compared_with_the_first_or_the_baseline(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "same.en").write_bytes(as_text(REFERENCE))
    (files / "other").mkdir()
    (files / "other" / "out.en").write_bytes(as_text(["nothing"] * 4))
    reference, options = ("--ref", f"{files}/ref.en"), ("--metric", "bleu", "--resamples", "100")
    systems = [f"{files}/out.en", f"{files}/same.en", f"{files}/out.en"]
    given = [word for path in systems for word in ("--hyp", path)]
    assert main(["eval", *given, *reference, *options]) == 0
    shown = capsys.readouterr().out.split("\n")
    assert [row.split()[0] for row in shown[:4]] == [
        "system",
        "─" * len(shown[1].strip()),
        "out.en",
        "same.en",
    ]
    assert any(re.match(r"(same.en beats out.en by|same.en and out.en cannot) ", line) for line in shown)
    found = as_json(
        capsys,
        "--hyp",
        systems[0],
        "--baseline",
        files / "other" / "out.en",
        *reference,
        *options,
        "--seed",
        5,
    )
    # two files of one name are told apart by their folders
    assert list(found["sets"]) == [str(files / "other" / "out.en"), systems[0]]
    (comparison,) = found["comparisons"]
    assert comparison["difference"] == found["sets"][systems[0]]["bleu"]["score"]
    assert "|bs:100|seed:5|" in comparison["signature"]
    found = as_json(capsys, *given, *reference, "--metric", "bleu", "--paired", "ar", "--resamples", "200")
    assert "|ar:200|seed:12345|" in found["comparisons"][0]["signature"]


def test_a_baseline_of_another_length_is_refused(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "short.en").write_bytes(as_text(REFERENCE[:3]))
    args = ("--hyp", files / "out.en", "--ref", files / "ref.en", "--baseline", files / "short.en")
    said = refused(capsys, 3, *args)
    assert f"error: --baseline {files / 'short.en'} has 3 lines, reference 1 of ref.en has 4 lines\n" in said
    args = ("--hyp", files / "out.en", "--ref", files / "ref.en", "--baseline")
    assert "--baseline: it is the file of --hyp, too" in refused(capsys, 2, *args, files / "out.en")
    assert f"--baseline {files}: it has no translations of ref.en: no file" in refused(
        capsys, 4, *args, files
    )


def test_scoring_files_loads_no_torch(files: Path) -> None:
    program = (
        "import sys; from tfcli.app import main\n"
        "assert main(['eval', '--hyp', 'out.en', '--ref', 'ref.en']) == 0\n"
        "assert 'sacrebleu' in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], cwd=files, check=True, capture_output=True, timeout=60)


def test_tokenized_hypotheses_are_warned_of(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "tok.en").write_bytes(as_text(["a b c d ."] * 20))
    assert main(["eval", "--hyp", f"{files}/tok.en", "--ref", f"{files}/tok.en"]) == 0
    assert "warning: tok.en: 20 of 20 hypotheses end in ' .'" in capsys.readouterr().err
    assert main(["eval", "--hyp", f"{files}/tok.en", "--ref", f"{files}/tok.en", "--tokenize", "none"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("count", [0, 1, 5])
def test_unequal_counts_are_refused_with_both_counts_and_names(
    count: int, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = files / "short.en"
    short.write_bytes(as_text((REFERENCE * 2)[:count]))
    said = refused(capsys, 3, "--hyp", files / "out.en", "--ref", files / "ref.en", "--ref", short, "--json")
    noun = "line" if count == 1 else "lines"
    assert f"error: {files / 'out.en'} has 4 lines, {short} has {count} {noun}\n" in said
    assert "hint: line i of the hypotheses" in said


def test_files_that_cannot_be_read_are_refused(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference = ("--ref", files / "ref.en")
    said = refused(capsys, 3, "--hyp", files / "gone.en", *reference)
    assert f"cannot read {files / 'gone.en'}: No such file or directory" in said
    (files / "odd.en").write_bytes(b"a\n\xff\nb\nc\n")
    assert "odd.en:2: not UTF-8: byte 0xff" in refused(capsys, 3, "--hyp", files / "odd.en", *reference)
    (files / "odd.en.gz").write_bytes(b"plain")
    said = refused(capsys, 3, "--hyp", files / "odd.en.gz", *reference)
    assert "odd.en.gz: damaged or incomplete compressed file" in said
    (files / "empty").write_bytes(b"")
    said = refused(capsys, 3, "--hyp", files / "empty", "--ref", files / "empty")
    assert f"nothing to score: {files / 'empty'}, {files / 'empty'}: no lines" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "expected a RUN, or --hyp and --ref together, got none of them"),
        (["--lowercase"], "expected a RUN, or --hyp and --ref together, got none of them"),
        (["--hyp", "out.en"], "expected a RUN, or --hyp and --ref together, got --hyp"),
        (["--ref", "ref.en"], "expected a RUN, or --hyp and --ref together, got --ref"),
        (
            ["run", "--hyp", "out.en", "--ref", "ref.en"],
            "--hyp, --ref: for scoring files, but a run was given",
        ),
        (["run", "--lowercase"], "--lowercase: for scoring files, but a run was given"),
        (["run", "--tokenize", "zh"], "leave RUN out; `tfcli eval run` keeps its translations in run/eval"),
        (
            ["--hyp", "out.en", "--ref", "ref.en", "--beam-size", "3", "--test", "x"],
            "--test, --beam-size: only a run has use for it",
        ),
        (["--hyp", "out.en", "--ref", "ref.en", "--device", "cpu"], "--device: only a run has use for it"),
        (["--hyp", "out.en", "--ref", "ref.en", "--precision", "fp32"], "--precision: only a run"),
        (["--hyp", "out.en", "--ref", "ref.en", "--data-root", "."], "--data-root: only a run"),
        (["--hyp", "out.en", "--ref", "ref.en", "--out", "."], "--out: only a run"),
        (
            ["--hyp", "out.en", "--ref", "ref.en", "--tokenize", "13b"],
            "--tokenize 13b: unknown tokenizer, did you mean '13a'?",
        ),
        (
            ["--hyp", "out.en", "--ref", "ref.en", "--tokenize", "moses"],
            "hint: sacreBLEU's tokenizers are: 13a, intl, zh, ja-mecab, ko-mecab, char, none",
        ),
        (["--beam-size", "0", "run"], "--beam-size 0: must be at least 1"),
        (["--metric", "ter"], "expected a RUN, or --hyp and --ref together, got none of them"),
        (
            ["--hyp", "out.en", "--ref", "ref.en", "--metric", "bleu", "--metric", "chrf+"],
            "--metric chrf+: unknown metric, did you mean 'chrf",
        ),
        (
            ["--hyp", "out.en", "--ref", "ref.en", "--metric", "meteor"],
            "hint: the metrics are: bleu, chrf, chrf++, ter",
        ),
        (["--hyp", "out.en", "--ref", "ref.en", "--resamples", "99"], "--resamples 99: too few for a 95 %"),
        (["--hyp", "out.en", "--ref", "ref.en", "--seed", "0"], "--seed 0: must be at least 1"),
        (["--hyp", "out.en", "--ref", "ref.en", "--paired", "bs"], "--paired: there is nothing to compare"),
        (
            ["--hyp", "out.en", "--hyp", "./out.en", "--ref", "ref.en", "--paired", "bs"],
            "--paired: there is nothing to compare",
        ),
        (["--hyp", "out.en", "--ref", "ref.en", "--ref", "./ref.en"], "--ref ref.en: given twice"),
        (["--hyp", "out.en", "--hyp", "b", "--ref", "r", "--paired", "t"], "--paired t: unknown test"),
        (
            ["--hyp", "out.en", "--hyp", "b", "--ref", "r", "--paired", "ar", "--resamples", "0"],
            "--paired with --resamples 0: a test needs resamples",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(
    options: list[str],
    message: str,
    files: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(files)
    assert message in refused(capsys, 2, *options)


def test_a_tokenizer_that_is_not_installed_is_refused_with_what_to_install(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sacrebleu.tokenizers.tokenizer_ja_mecab.MeCab", None)
    said = refused(capsys, 2, "--hyp", files / "out.en", "--ref", files / "ref.en", "--tokenize", "ja-mecab")
    assert "hint: pip install 'sacrebleu[ja]'" in said
