"""Bad model folders, places that cannot be written, odd input to translate: one clear line and a hint.

Bad text is in test_bad_input.py, bad recipes in test_bad_recipes.py, bad run folders in test_bad_runs.py.
"""

import io
import json
import os
import pickle
import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import write_small_corpus
from tests.cli.test_bad_input import refused, tree
from tfcli.app import main
from tfcli.recipe.schema import TokenizerSection

SENTENCES = ["the dog sleeps .", "a cat sees the bird .", "two birds sing , and the dog hears them ."]


@pytest.fixture
def model(tiny_model_folder, tmp_path, monkeypatch):
    """Return a copy to damage, `model` in the current folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_model_folder, tmp_path / "model")
    return Path("model")


def change_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    for key, value in changes.items():
        if isinstance(value, dict):
            config[key] |= value
        else:
            config[key] = value
    (folder / "config.json").write_text(json.dumps(config))


class Trap:
    """Unpickled, it makes a file."""

    def __reduce__(self):
        return (Path.touch, (Path("sprung"),))


def put_pickle(path):
    path.write_bytes(pickle.dumps(Trap()))


def put_torch_file(path):
    import torch

    torch.save({"weight": torch.zeros(3)}, path)


def swap_tokenizer(folder):
    from tfcli.text.tokenizer import train_tokenizer

    settings = TokenizerSection(kind="char", vocab_size=16)
    train_tokenizer(settings, ["ab cd"], ["ab cd"], lambda _: None).save(folder)


def leave_only(folder, name):
    for path in folder.iterdir():
        if path.name != name:
            path.unlink()


NO_PICKLE = "loading a pickle can run any program hidden in it, so tfcli never does"
COPY_AGAIN = "copy the whole folder again from where it came, or train again"
MODEL_FOLDERS = {
    "weights cut short": (
        lambda model: os.truncate(model / "model.safetensors", 500),
        "model/model.safetensors: cannot be read: ",
        COPY_AGAIN,
    ),
    "weights that are not there": (
        lambda model: (model / "model.safetensors").unlink(),
        "model/model.safetensors: no such file",
        COPY_AGAIN,
    ),
    "a pickle called model.safetensors": (
        lambda model: put_pickle(model / "model.safetensors"),
        "model/model.safetensors: a pickle, expected safetensors",
        NO_PICKLE,
    ),
    "weights saved by torch called model.safetensors": (
        lambda model: put_torch_file(model / "model.safetensors"),
        "model/model.safetensors: a pickle, expected safetensors",
        NO_PICKLE,
    ),
    "a pickle instead of the weights": (
        lambda model: put_pickle((model / "model.safetensors").rename(model / "pytorch_model.bin")),
        "model/model.safetensors: no such file, and pytorch_model.bin beside it is a pickle",
        NO_PICKLE,
    ),
    "no tokenizer": (
        lambda model: (model / "tokenizer.model").unlink(),
        "model: no tokenizer, expected tokenizer.model (or tokenizer.src.model and tokenizer.tgt.model) there",
        "copy it there from the run that the model comes from",
    ),
    "a pickle called tokenizer.model": (
        lambda model: put_pickle(model / "tokenizer.model"),
        "model/tokenizer.model: not a SentencePiece model, or a damaged one",
        "copy the file again",
    ),
    "the tokenizer of another model": (
        swap_tokenizer,
        "model: the tokenizer has 9 source and 9 target pieces, the network ",
        "copy the tokenizer again",
    ),
    "a newer format": (
        lambda model: change_config(model, format=3, tfcli_version="9.1", decoding={"top_k": 5}),
        "model/config.json: written by a newer tfcli (9.1): format 3, but this one (",
        "install the version that wrote it, or a newer one",
    ),
    "a decoding key of another version": (
        lambda model: change_config(model, decoding={"top_k": 5}),
        "model/config.json: decoding.top_k: unknown key",
        "it was written by tfcli 0.0.1, this is ",
    ),
    "sizes that no network has": (
        lambda model: change_config(model, model={"n_heads": 0}),
        "model/config.json: model.n_heads: must be at least 1, got 0",
        COPY_AGAIN,
    ),
    "sizes that do not go together": (
        lambda model: change_config(model, model={"d_model": 9}),
        "model/config.json: model.n_heads: must divide d_model (9), got 2",
        COPY_AGAIN,
    ),
    "a vocabulary that no network has": (
        lambda model: change_config(model, model={"src_vocab_size": "many"}),
        "model/config.json: no network has such sizes: ",
        COPY_AGAIN,
    ),
    "a config that is no config": (
        lambda model: change_config(model, model=[], max_source_pieces="many"),
        "model/config.json: ",
        COPY_AGAIN,
    ),
    "a config cut short": (
        lambda model: os.truncate(model / "config.json", 50),
        "model/config.json: cannot be read: ",
        COPY_AGAIN,
    ),
    "the config of another program": (
        lambda model: (model / "config.json").write_text('{"architectures": ["MarianMTModel"]}'),
        "model/config.json: not written by tfcli: it has no key 'format'",
        "give a folder that `tfcli train` wrote",
    ),
    "weights of another network": (
        lambda model: change_config(model, model={"d_ff": 12}),
        "model/model.safetensors: weights do not fit the network: ",
        "copy the folder again whole",
    ),
    "a folder with something else in it": (
        lambda model: leave_only(model, "README.md"),
        "model: neither a model folder (config.json) nor a run folder with best/",
        "give the folder that `tfcli train` wrote",
    ),
    "a run that has no model yet": (
        lambda model: (model / "config.json").rename(model / "recipe.yaml"),
        "model: the run has no model yet: its first validation is still to come",
        "go on with `tfcli train model/recipe.yaml --out model`; --set training.validate_every=N",
    ),
    "a run that failed before it began": (
        lambda model: ((model / "config.json").unlink(), (model / "corpus").mkdir()),
        "model: nothing was trained here: there is text that was prepared, and no training has begun",
        "`tfcli train RECIPE --out model` trains, or says what keeps it from that",
    ),
}


@pytest.mark.parametrize("case", MODEL_FOLDERS)
def test_a_model_folder_that_cannot_be_used_is_told_and_no_output_is_made(model, capsys, case):
    damage, message, cure = MODEL_FOLDERS[case]
    damage(model)
    Path("in.txt").write_text("the dog .\n")
    before = tree(Path())
    [error], hint = refused(capsys, 4, "translate", model, "in.txt", "-o", "out.txt")
    assert error.startswith(message)
    assert cure in hint
    assert tree(Path()) == before  # and no trap was sprung


@pytest.mark.parametrize("name", ["model.pt", "model.weights"])
def test_a_pickle_in_the_place_of_a_folder_is_refused_unread(model, capsys, name):
    put_pickle(Path(name))
    [error], hint = refused(capsys, 4, "translate", name)
    assert error == f"{name}: a pickle, expected a run folder or a model folder"
    assert NO_PICKLE in hint
    assert not Path("sprung").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--device", "abacus"], "--device abacus: unknown device"),
        (["--device", "cuda:99"], "--device cuda:99: this machine has no such device"),
        (["--precision", "fp8"], "--precision fp8: unknown"),
        (["--engine", "steam"], "--engine steam: unknown"),
        (["--motor", "steam"], "--motor: unknown option"),
        (["--length-penalty", "inf"], "--length-penalty: must be a finite number, got .inf"),
        (["--json", "--format", "tsv"], "--json and --format tsv contradict each other"),
        (["--json", "--format", "text"], "--json and --format text contradict each other"),
        (["--n-best", "2"], "--n-best 2 needs --format tsv or jsonl"),
        (["in.txt", "-o", "in.txt"], "in.txt: would be overwritten by its own result"),
        (["in.txt", "-o", "."], "in.txt: would be overwritten by its own result"),
        (["in.txt", "in.txt", "-o", "out"], "several inputs would become out/in.txt"),
        (["in.txt", "in.txt", "-o", "in.txt"], "in.txt: a file, but there are 2 inputs"),
    ],
)
def test_an_option_of_translate_that_cannot_be_used_is_told_in_its_own_words(model, capsys, args, message):
    Path("in.txt").write_text("the dog .\n")
    before = tree(Path())
    [error], _ = refused(capsys, 2, "translate", model, *args)
    assert error.startswith(message)
    assert tree(Path()) == before


def test_json_is_short_for_jsonl_with_n_best(model, capfdbinary):
    Path("in.txt").write_text("the dog .\n\n")
    outputs = []
    for form in (["--json"], ["--format", "jsonl"], ["--json", "--format", "jsonl"]):
        options = [*form, "--beam-size", "3", "--n-best", "2", "-q"]
        assert main(["translate", "model", "in.txt", *options]) == 0
        outputs.append(capfdbinary.readouterr().out)
    assert outputs[0] == outputs[1] == outputs[2]
    first, blank = map(json.loads, outputs[0].split(b"\n")[:2])
    assert len(first["hypotheses"]) == 2
    assert blank["translation"] == ""


@pytest.mark.slow
def test_odd_lines_keep_their_place_and_change_no_other(model, monkeypatch, capfdbinary):
    odd = [
        b"caf\xe9 \xff\xfe", b"nul\0nul", "a\u2028b\u2029c\x85d".encode(), b"a\rb\r", b"", b" \t ",
        b"a" * 1_000_000, b"the dog. " * 100, "\ufeffa".encode(), b"\0",
    ]  # fmt: skip
    plain = [
        f"{word * (i + 1)} sees {word} {SENTENCES[i % 3]}".encode() for i, word in enumerate("adegilnost")
    ]

    def translated(lines):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"".join(x + b"\n" for x in lines))))
        assert main(["translate", "model", "--precision", "fp32", "--batch-tokens", "20000"]) == 0
        return capfdbinary.readouterr()

    alone = translated(plain).out.split(b"\n")
    assert len(set(alone)) > 3
    out, err = translated([line for pair in zip(plain, odd, strict=True) for line in pair])
    mixed = out.split(b"\n")
    assert len(mixed) == 21
    assert mixed[0:20:2] == alone[:10]
    assert mixed[9] == mixed[11] == b""
    assert b"warning: standard input: bytes that are no UTF-8 were replaced in 1 line: 2\n" in err
    assert b"standard input: 2 lines were too long for the model and were translated in parts\n" in err


@contextmanager
def full_disk(n_bytes):
    """Let no file grow beyond so many bytes, as on a disk without more room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def run(*args, **options):
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    environment = {**kept, "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "tfcli", *map(str, args), "-q"]
    captured = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment, **options}
    done = subprocess.run(command, check=False, timeout=300, **captured)
    assert b"Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr.decode()


def test_an_output_that_was_begun_as_a_link_is_refused(model, capsys):
    Path("in.txt").write_text("a dog\n")
    Path(".out.txt.part").symlink_to("aim")
    [error], hint = refused(capsys, 3, "translate", model, "in.txt", "-o", "out.txt")
    assert error == f"{Path('.out.txt.part').absolute()}: is a link or the like, which tfcli does not make"
    assert hint == "hint: delete it, then run again"
    assert not Path("aim").exists()
    assert not Path("out.txt").exists()


def test_a_corpus_whose_lock_is_a_link_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    recipe = write_small_corpus(tmp_path)
    Path("run/corpus").mkdir(parents=True)
    Path("run/corpus/.lock").symlink_to(tmp_path / "aim")
    [error], hint = refused(capsys, 4, "tokenize", recipe, "--out", "run")
    assert error == "run/corpus/.lock: is a link or the like, which tfcli does not make"
    assert hint == "hint: delete it, then run again"
    assert not Path("aim").exists()


def test_a_translation_that_cannot_be_written_is_told_and_leaves_nothing(model, capsys):
    Path("in.txt").write_text("the dog .\n")
    Path("full").symlink_to("/dev/full")
    assert main(["translate", str(model), "in.txt", "-q"]) == 0  # converts the model, which stays
    capsys.readouterr()
    before = tree(Path())
    [error], hint = refused(capsys, 3, "translate", model, "in.txt", "-o", "in.txt/out.txt")
    assert error == "in.txt/out.txt: cannot be written: Not a directory"
    assert "permissions and the space on the disk" in hint
    [error], hint = refused(capsys, 3, "translate", model, "in.txt", "-o", "full")
    assert error == "full: cannot be written: No space left on device"
    assert Path("full").is_char_device()  # it was written to, and not replaced
    assert tree(Path()) == before


def test_a_full_disk_leaves_no_translation_under_its_name(model, capsys):
    Path("in.txt").write_text("the dog sleeps .\n" * 40)
    before = tree(Path())
    with full_disk(20):
        [error], _ = refused(capsys, 3, "translate", model, "in.txt", "-o", "out.txt")
    assert error == "out.txt: cannot be written: File too large"
    assert tree(Path()) == before


def test_a_full_disk_behind_standard_output_is_told(model):
    Path("in.txt").write_text("the dog .\n")
    with Path("/dev/full").open("wb") as full:
        code, _, err = run("translate", model, "in.txt", stdout=full)
    assert code == 3
    assert err.startswith("error: standard output: cannot be written: No space left on device\nhint: ")
    assert err.count("\n") == 2


def test_a_reader_that_goes_away_ends_a_filter_quietly(model):
    Path("in.txt").write_text("the dog .\n")
    for args in (["translate", model, "in.txt"], ["tokenize", "--model", model]):
        reading, writing = os.pipe()
        os.close(reading)
        with Path("in.txt").open("rb") as lines:
            code, _, err = run(*args, stdin=lines, stdout=writing)
        os.close(writing)
        assert (code, err) == (141, "")
