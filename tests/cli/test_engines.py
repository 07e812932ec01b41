"""`--engine` and `--precision` of translate and eval."""

import json
import shutil
import subprocess
import sys

import pytest

from tests.cli.test_bad_input import refused
from tfcli.app import main

TEXT = b"the dog sleeps .\n\na cat sees the bird .\ntwo birds sing , and the dog hears them .\n"


@pytest.fixture
def model(tiny_model_folder, tmp_path, monkeypatch):
    """Return a copy of a tiny model folder, `model` in the current folder, and text to translate beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(tiny_model_folder, tmp_path / "model")
    (tmp_path / "in.txt").write_bytes(TEXT)
    return tmp_path / "model"


@pytest.fixture
def installed():
    return pytest.importorskip("ctranslate2")


@pytest.fixture
def not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "ctranslate2", None)


def translated(capsys, *options):
    """Return what `translate` prints on standard output, and on standard error."""
    code = main(["translate", "model", "in.txt", "-v", *options])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return printed


def test_both_engines_translate_alike_and_auto_is_ctranslate2(model, capsys, installed):
    torch = translated(capsys, "--engine", "torch", "--json")
    assert "model: torch, cpu, fp32, beam size 1" in torch.err
    assert not (model / "ctranslate2").exists()
    first = translated(capsys, "--json")
    assert "model: converting to CTranslate2 in fp32" in first.err
    assert "model: ctranslate2, cpu, fp32, beam size 1" in first.err
    again = translated(capsys, "--engine", "ctranslate2", "--json")
    assert "converting" not in again.err
    assert again.out == first.out
    for ours, theirs in zip(torch.out.split("\n"), first.out.split("\n"), strict=True):
        if ours:
            assert json.loads(theirs)["translation"] == json.loads(ours)["translation"]


def test_int8_is_used_when_it_is_asked_for_and_by_ctranslate2_alone(model, capsys, installed):
    printed = translated(capsys, "--precision", "int8")
    assert "model: ctranslate2, cpu, int8, beam size 1" in printed.err
    assert printed.out.count("\n") == TEXT.count(b"\n")
    [error], hint = refused(
        capsys, 2, "translate", "model", "in.txt", "--precision", "int8", "--engine", "torch"
    )
    assert error == "--precision int8: torch does not have it"
    assert hint == "hint: use --engine ctranslate2"


def test_auto_says_why_it_takes_torch_and_ctranslate2_alone_is_an_error(model, capsys, installed):
    printed = translated(capsys, "--precision", "bf16", "--device", "cpu")
    assert "using torch, not CTranslate2: it has no bf16 on cpu here" in printed.err
    assert "model: torch, cpu, bf16" in printed.err
    wish = ("--precision", "bf16", "--device", "cpu", "--engine", "ctranslate2")
    [error], hint = refused(capsys, 2, "translate", "model", "in.txt", *wish)
    assert error == "--engine ctranslate2: CTranslate2 cannot be used: it has no bf16 on cpu here"
    assert hint == "hint: use --precision fp32, or --engine torch"
    wish = ("--device", "cuda:99", "--engine", "ctranslate2")
    [error], hint = refused(capsys, 2, "translate", "model", "in.txt", *wish)
    assert error == "--engine ctranslate2: CTranslate2 cannot be used: it has no device cuda:99 here"


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--sample"], "sampling"),
        (["--no-repeat-ngram", "2"], "no repeat ngram"),
        (["--min-output-ratio", "0.01"], "min output ratio"),
        (["--length-penalty-kind", "gnmt"], "length penalty kind gnmt"),
        (["--ensemble", "model"], "ensembles"),
        (["--prefix-column"], "target prefixes"),
        (["--score-only", "--ref", "in.txt"], "scores of given translations"),
    ],
)
def test_what_ctranslate2_does_not_have_is_left_to_torch(model, capsys, installed, options, what):
    printed = translated(capsys, *options)
    assert printed.err.count(f"using torch, not CTranslate2: it does not have {what}\n") == 1
    assert printed.out.count("\n") == TEXT.count(b"\n")
    [error], hint = refused(capsys, 2, "translate", "model", "in.txt", "--engine", "ctranslate2", *options)
    assert error == f"--engine ctranslate2: CTranslate2 cannot be used: it does not have {what}"
    assert hint == "hint: leave it out, or use --engine torch"


def test_batches_of_sentences_are_no_reason_to_take_torch(model, capsys, installed):
    assert translated(capsys, "--batch-size", "1").out == translated(capsys).out
    printed = translated(capsys, "--batch-size", "1", "--length-penalty", "0.5", "--max-output-ratio", "1")
    assert "model: ctranslate2, cpu, fp32" in printed.err


def test_a_converted_model_that_cannot_be_read_is_passed_over(model, capsys, installed):
    translated(capsys)
    (model / "ctranslate2" / "fp32" / "model.bin").write_bytes(b"damaged")
    printed = translated(capsys)
    assert "using torch, not CTranslate2: it cannot load " in printed.err
    [error], hint = refused(capsys, 2, "translate", "model", "in.txt", "--engine", "ctranslate2")
    assert "cannot load" in error
    assert "or remove " in hint


@pytest.fixture
def broken_gpu(installed, monkeypatch):
    """Return a function that has CTranslate2 find a GPU, on which what is computed fails."""

    def give(error):
        class Broken:
            def __init__(self, folder, **options):
                assert options["device"] == "cuda"

            def translate_batch(self, source, **options):
                raise error

        monkeypatch.setattr(installed, "get_cuda_device_count", lambda: 1)
        monkeypatch.setattr(installed, "get_supported_compute_types", lambda _: {"float32"})
        monkeypatch.setattr(installed, "Translator", Broken)

    return give


def test_a_gpu_without_room_is_told_and_torch_not_tried_on_it(model, capsys, broken_gpu):
    broken_gpu(RuntimeError("CUDA failed with error out of memory"))
    [error], hint = refused(capsys, 2, "translate", "model", "in.txt")
    assert error == "out of memory"
    assert "--device" in hint


@pytest.mark.parametrize("search", [["--beam-size", "1"], ["--beam-size", "3", "--n-best", "2", "--json"]])
@pytest.mark.parametrize("engine", ["torch", "ctranslate2"])
def test_both_engines_name_outputs_that_ran_into_the_limit(model, capsys, installed, engine, search):
    printed = translated(capsys, "--engine", engine, *search)
    assert (
        "in.txt: 3 lines came out as long as is allowed, cut off or going round in circles: 1, 3, 4"
        in printed.err
    )


def test_a_gpu_without_its_libraries_is_passed_over(model, capsys, broken_gpu):
    broken_gpu(RuntimeError("Library libcublas.so.12 is not found or cannot be loaded"))
    printed = translated(capsys)
    assert "using torch, not CTranslate2: it cannot load " in printed.err
    assert "libcublas.so.12" in printed.err
    [error], hint = refused(capsys, 2, "translate", "model", "in.txt", "--engine", "ctranslate2")
    assert "libcublas.so.12" in error
    assert "use --engine torch" in hint


def test_where_nothing_can_be_written_auto_is_torch(model, tmp_path, capsys, installed):
    for place in (model / "ctranslate2", tmp_path / "cache"):
        place.write_text("in the way")
    printed = translated(capsys)
    assert (
        "using torch, not CTranslate2: model: the converted model can be written neither there nor "
        in printed.err
    )
    [error], hint = refused(capsys, 4, "translate", "model", "in.txt", "--engine", "ctranslate2")
    assert error.startswith("model: the converted model can be written neither there nor into ")
    assert "use --engine torch" in hint


def test_without_ctranslate2_auto_is_torch_and_its_own_options_say_how_to_install_it(
    model, capsys, not_installed
):
    printed = translated(capsys)
    assert "model: torch, cpu, fp32, beam size 1" in printed.err
    assert "CTranslate2" not in printed.err
    [error], hint = refused(capsys, 2, "translate", "model", "in.txt", "--engine", "ctranslate2")
    assert error == "--engine ctranslate2: CTranslate2 is not installed"
    assert "pip install ctranslate2" in hint
    [error], hint = refused(capsys, 2, "translate", "model", "in.txt", "--precision", "int8")
    assert error == "--precision int8: torch does not have it"
    assert "pip install ctranslate2" in hint


def test_an_unknown_engine_is_an_error(model, capsys):
    [error], hint = refused(capsys, 2, "translate", "model", "in.txt", "--engine", "fast")
    assert error == "--engine fast: unknown"
    assert hint == "hint: use auto, torch or ctranslate2"


def test_eval_takes_the_engine_and_writes_it_down(model, tmp_path, capsys, installed):
    (tmp_path / "ref.txt").write_bytes(TEXT)
    for wish, engine, precision in (
        ([], "torch", "fp32"),  # as in validation, whatever is installed
        (["--engine", "ctranslate2"], "ctranslate2", "int8"),
    ):
        options = [*wish, "--precision", precision, "--out", engine]
        assert main(["eval", "model", "--src", "in.txt", "--ref", "ref.txt", *options, "-q"]) == 0
        decoding = json.loads((tmp_path / engine / "scores.json").read_text())["decoding"]
        assert (decoding["engine"], decoding["precision"]) == (engine, precision)
    capsys.readouterr()


def test_a_translation_with_ctranslate2_imports_no_torch(model, installed):
    run = "import sys; from tfcli.app import main; code = main(sys.argv[1:]); print('torch' in sys.modules); sys.exit(code)"
    command = [sys.executable, "-c", run, "translate", "model", "in.txt", "-o", "out.txt"]
    subprocess.run(command, check=True)  # converts
    again = subprocess.run(command, check=True, capture_output=True, text=True)
    assert again.stdout == "False\n"
