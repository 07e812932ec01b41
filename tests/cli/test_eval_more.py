"""`tfcli eval` with labels, with COMET, and with sacreBLEU's named test sets."""

import http.server
import io
import json
import re
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sacrebleu.dataset import DATASETS

from tests.cli.test_eval import as_json, refused
from tests.lookup_run import as_text
from tfcli.app import main
from tfcli.commands import console

SRC = ["Eins zwei drei vier.", "", "Die Katze schläft.", "Ein Hund läuft."]
REF = ["One two three four.", "", "The cat is sleeping.", "A dog is running."]
HYP = ["One two three four.", "", "The cat sleeps.", "One dog is running."]
# A package in COMET's place: it writes down what it is asked, and judges by the length of a translation.
FAKE_COMET = """
import json, pathlib, types
__version__ = "2.2.0"
HERE = pathlib.Path(__file__).parent
def download_model(name):
    if name != "known/model":
        raise KeyError(name)
    (HERE / "fetched.ckpt").write_text("model")
    return str(HERE / "fetched.ckpt")
class Model:
    def predict(self, samples, batch_size, gpus, progress_bar):
        (HERE / "asked.json").write_text(json.dumps(samples))
        return types.SimpleNamespace(scores=[len(one["mt"]) / 100 for one in samples])
def load_from_checkpoint(path):
    if pathlib.Path(path).read_text() != "model":
        raise ValueError("not a checkpoint")
    return Model()
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, lines in (("src", SRC), ("ref", REF), ("hyp", HYP)):
        (tmp_path / name).write_bytes(as_text(lines))
    return tmp_path


@pytest.fixture
def comet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "comet.py").write_text(FAKE_COMET)
    (folder / "model.ckpt").write_text("model")
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    sys.modules.pop("comet", None)


def scored(folder: Path, *options: object) -> tuple[object, ...]:
    return ("--hyp", folder / "hyp", "--ref", folder / "ref", *options)


def test_labels_are_scored_with_a_row_for_each_and_what_they_were_taken_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ref").write_bytes(as_text(["good", "bad", "good", "fair"]))
    (tmp_path / "hyp").write_bytes(as_text(["good", "good", "good", "bad"]))
    command = scored(tmp_path, "--metric", "accuracy", "--metric", "macro-f1")
    assert main(["eval", *map(str, command)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.split("\n")]
    assert rows[0] == ["system", "lines", "accuracy", "macro-F1"]
    assert rows[2][:3] == ["hyp", "4", "50.00"]
    assert ["label", "lines", "precision", "recall", "F1", "bad", "fair", "good"] in rows
    assert ["good", "2", "66.67", "100.00", "80.00", "0", "0", "2"] in rows
    found = as_json(capsys, *command)
    assert found["confusions"] == {
        "hyp": {"labels": ["bad", "fair", "good"], "counts": [[0, 0, 1], [1, 0, 0], [0, 0, 2]]}
    }
    assert found["sets"]["hyp"]["accuracy"]["score"] == 50.0
    (tmp_path / "hyp").write_bytes(b"good\r\ngood\r\n good\r\nbad \r\n")  # written by another system
    assert as_json(capsys, *command) == found
    many = [f"label{n}" for n in range(20)]
    (tmp_path / "ref").write_bytes(as_text(many))
    (tmp_path / "hyp").write_bytes(as_text(many))
    assert main(["eval", *map(str, command), "--resamples", "0"]) == 0
    shown = capsys.readouterr().out
    assert "label19" in shown
    assert "recallF1\n" in shown.replace(" ", "")  # twenty columns more would fit no screen


def test_comet_judges_with_source_and_reference_by_a_model_of_ones_own(
    files: Path, comet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--src", files / "src", "--metric", "comet", "--comet-model", comet / "model.ckpt")
    found = as_json(capsys, *scored(files, *options))["sets"]["hyp"]
    assert list(found) == ["comet"]
    assert found["comet"]["score"] == pytest.approx(sum(map(len, HYP)) / 4)
    assert found["comet"]["signature"] == (
        f"nrefs:1|model:{comet / 'model.ckpt'}|version:2.2.0|bs:1000|seed:12345"
    )
    assert found["comet"]["interval"]["low"] < found["comet"]["score"] < found["comet"]["interval"]["high"]
    asked = json.loads((comet / "asked.json").read_text())
    assert asked[2] == {"src": SRC[2], "mt": HYP[2], "ref": REF[2]}
    (comet / "checkpoints").mkdir()
    (comet / "model.ckpt").rename(comet / "checkpoints" / "model.ckpt")
    options = ("--src", files / "src", "--metric", "comet", "--metric", "bleu", "--comet-model", comet)
    assert list(as_json(capsys, *scored(files, *options))["sets"]["hyp"]) == ["comet", "bleu"]


def test_comet_fetches_only_when_it_is_asked(
    files: Path, comet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = scored(files, "--src", files / "src", "--metric", "comet", "--comet-model")
    said = refused(capsys, 3, *options, "known/model")
    assert "--comet-model known/model: no such file, nor a folder with checkpoints/model.ckpt" in said
    assert "--fetch lets COMET fetch a model by its name" in said
    assert not (comet / "fetched.ckpt").exists()
    assert "comet" in as_json(capsys, *options, "known/model", "--fetch")["sets"]["hyp"]
    assert (comet / "fetched.ckpt").exists()
    assert "COMET cannot fetch it: 'other'" in refused(capsys, 3, *options, "other", "--fetch")
    (comet / "model.ckpt").write_text("something else")
    assert "COMET cannot load it: not a checkpoint" in refused(capsys, 3, *options, comet / "model.ckpt")


def test_without_its_package_comet_says_what_to_install(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "comet", None)
    said = refused(
        capsys, 2, *scored(files, "--src", files / "src", "--metric", "comet", "--comet-model", "m")
    )
    assert "--metric comet: COMET's package cannot be imported: " in said
    assert "hint: pip install unbabel-comet" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--metric", "comet"], "--metric comet: it needs the source"),
        (["--metric", "comet", "--src", "src"], "--metric comet: which model?"),
        (["--comet-model", "m"], "--comet-model: only --metric comet has use for it"),
        (["--metric", "bleu", "--metric", "accuracy"], "--metric accuracy beside --metric bleu: one is for"),
        (["--metric", "acuracy"], "--metric acuracy: unknown metric, did you mean 'accuracy'?"),
        (["--testset", "wmt22", "--langpair", "en-de"], "--ref: --testset stands in its place"),
        (["--langpair", "en-de"], "--langpair: only --testset has use for it"),
        (["--fetch"], "--fetch: nothing to fetch"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    options: list[str],
    message: str,
    files: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(files)
    assert message in refused(capsys, 2, *scored(files, *options))


def test_labels_are_not_for_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--metric accuracy: for files of labels, but a run" in refused(
        capsys, 2, tmp_path, "--metric", "accuracy"
    )


def test_a_runs_own_test_sets_and_a_named_one_are_not_mixed(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--test", "--data-root"):
        said = refused(capsys, 2, "run", *NAMED, option, "x")
        assert f"{option}: for the run's test sets, but --testset is scored in their place" in said
    assert "--hyp: for scoring files, but a run was given" in refused(capsys, 2, "run", *NAMED, "--hyp", "x")


NAMED = ("--testset", "multi30k/2016", "--langpair", "en-de")


@pytest.fixture
def testset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return sacreBLEU's entry of a small test set, its home a folder of this test's."""
    dataset = DATASETS["multi30k/2016"]
    monkeypatch.setattr(dataset, "_outdir", str(tmp_path / "home"))
    monkeypatch.setattr(dataset, "_rawdir", str(tmp_path / "home" / "raw"))
    monkeypatch.setattr(dataset, "data", ["http://127.0.0.1:9/none.tar.gz"])
    return dataset


def test_a_named_test_set_gives_the_reference_and_is_fetched_by_nobody(
    files: Path, testset: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, 3, "--hyp", files / "hyp", *NAMED)
    assert f"--testset multi30k/2016: it is not in {files / 'home'}, and nothing is fetched" in said
    assert "--fetch has sacreBLEU fetch it from http://127.0.0.1:9/none.tar.gz" in said
    assert "`sacrebleu -t multi30k/2016 -l en-de --echo src`" in said
    assert not (files / "home").exists()
    (files / "home").mkdir()
    (files / "home" / "multi30k_2016.en-de.src").write_bytes(as_text(SRC))
    (files / "home" / "multi30k_2016.en-de.ref").write_bytes(as_text(REF))
    by_name = as_json(capsys, "--hyp", files / "hyp", *NAMED)
    assert by_name == as_json(capsys, *scored(files))
    (files / "hyp").write_bytes(as_text(HYP[:3]))
    said = refused(capsys, 3, "--hyp", files / "hyp", *NAMED)
    assert f"{files / 'hyp'} has 3 lines, reference 1 of multi30k_2016-en-de has 4 lines" in said
    (files / "home" / "multi30k_2016.en-de.ref").write_bytes(as_text(REF[:3]))
    said = refused(capsys, 3, "--hyp", files / "hyp", *NAMED)
    assert f"--testset multi30k/2016: the files in {files / 'home'} are incomplete" in said


@pytest.mark.filterwarnings("ignore:Python 3.14 will:DeprecationWarning")  # how sacreBLEU unpacks archives
def test_a_named_test_set_is_fetched_when_that_is_allowed_and_a_failure_is_told(
    files: Path, testset: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    said = refused(capsys, 3, "--hyp", files / "hyp", *NAMED, "--fetch")
    assert "--testset multi30k/2016: sacreBLEU cannot make it ready: " in said
    assert "without a network, run `sacrebleu" in said
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, lines in (("test_2016_flickr.en", SRC), ("test_2016_flickr.de", REF)):
            member = tarfile.TarInfo(name)
            member.size = len(as_text(lines))
            archive.addfile(member, io.BytesIO(as_text(lines)))

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(packed.getvalue())

        def log_message(self, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(testset, "data", [f"http://127.0.0.1:{server.server_port}/small.tar.gz"])
        monkeypatch.setattr(testset, "md5", None)
        found = as_json(capsys, "--hyp", files / "hyp", *NAMED, "--fetch")
        server.shutdown()
    assert found == as_json(capsys, *scored(files))
    assert found == as_json(capsys, "--hyp", files / "hyp", *NAMED)  # it is there now


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--testset", "wmt222"],
            "--testset wmt222: sacreBLEU knows no such test set, did you mean 'wmt22'?",
        ),
        (["--testset", "zzz"], "hint: it knows: iwslt17, "),
        (["--testset", "wmt22"], "--testset needs a --langpair"),
        (
            ["--testset", "wmt22", "--langpair", "en-dee"],
            "en-dee: wmt22 has no such pair, did you mean 'en-de'?",
        ),
        (["--testset", "wmt22", "--langpair", "xx"], "hint: wmt22 has: cs-en, "),
    ],
)
def test_unknown_test_sets_and_pairs_are_refused_with_what_there_is(
    options: list[str], message: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(capsys, 2, "--hyp", files / "hyp", *options)


def test_empty_translations_and_a_slip_are_told(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "hyp").write_bytes(as_text(["", *HYP[1:]]))
    assert main(["eval", *map(str, scored(files))]) == 0
    told = "warning: hyp: 1 of 4 hypotheses is empty, the first in line 1\n"
    assert told in capsys.readouterr().err
    assert main(["eval", *map(str, scored(files, "--src", files / "src"))]) == 0
    assert told in capsys.readouterr().err
    lines = [
        f"{word} number {n} of the {word}s" for n, word in enumerate(["cat", "dog", "tree", "house"] * 5)
    ]
    (files / "ref").write_bytes(as_text(lines))
    (files / "hyp").write_bytes(as_text([*lines[:6], *lines[7:]]))
    said = refused(capsys, 3, *scored(files))
    assert "hyp has 19 lines" in said
    assert "ref has 20 lines; from line 7 on they look shifted\n" in said


@pytest.mark.parametrize(
    ("metrics", "by"),
    [(["bleu"], ""), (["bleu", "ter"], " by 2 metrics"), (["accuracy", "macro-f1"], " by 2 metrics")],
)
def test_the_count_and_the_share_of_what_is_scored_agree(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    metrics: list[str],
    by: str,
) -> None:
    monkeypatch.setattr(console, "FIRST_LINE_SECONDS", 0.0)
    monkeypatch.setattr(console, "LINE_SECONDS", 0.0)
    for name in ("hyp", "ref"):
        (tmp_path / name).write_text("good\n" * 300)
    files = ["--hyp", str(tmp_path / "hyp"), "--ref", str(tmp_path / "ref"), "--resamples", "0"]
    assert main(["eval", *files, *(word for metric in metrics for word in ("--metric", metric))]) == 0
    told = re.findall(
        rf"scoring \w+{by}: ([\d,]+) of ([\d,]+) lines \((\d+)%\), .* lines?/s", capsys.readouterr().err
    )
    numbers = [[int(number.replace(",", "")) for number in line] for line in told]
    total = 300 * len(metrics)
    assert numbers[-1] == [total, total, 100]
    assert len(numbers) > 1
    assert all(of == total and share == 100 * done // total for done, of, share in numbers)
