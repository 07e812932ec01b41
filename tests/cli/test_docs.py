"""The pages of docs/: their commands are read from them and run on a small corpus; their tables and links are true."""

import ast
import gzip
import json
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
import typer

from tests.labelled_text import labelled, tsv
from tests.readme_commands import run
from tfcli.app import EXIT_CODES, app
from tfcli.errors import RecipeError
from tfcli.recipe.loader import load_recipe

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
VERBS = ("tokenize", "train", "eval", "translate", "predict", "info")
# Blocks that a test must not run, by page and first line.
NOT_RUN = {
    ("troubleshooting.md", "pip install torch --index-url https://download.pytorch.org/whl/cpu"),
}
# These pages show what can be done with a run; the others start without one.
FROM_A_RUN = {
    "tokenize.md",
    "eval.md",
    "translate.md",
    "predict.md",
    "info.md",
    "file-formats.md",
    "run-folder.md",
    "exit-codes.md",
    "transformer.md",
}
RECIPE = """\
name: en-de
data:
  src_lang: en
  tgt_lang: de
  train: [{src: train.en, tgt: train.de}]
  valid: {src: valid.en, tgt: valid.de}
  tests:
    news: {src: test.en, tgt: test.de}
tokenizer: {vocab_size: 300}
model: {preset: tiny, n_encoder_layers: 1, n_decoder_layers: 1, d_model: 32, d_ff: 64}
training: {batch_tokens: 256, max_steps: 4, warmup_steps: 2, validate_every: 2, checkpoint_every: 2, log_every: 2}
decoding: {beam_size: 2, max_output_ratio: 0.5, max_output_extra: 2}
"""
# What the first messages of troubleshooting.md are about.
BROKEN_RECIPE = """\
name: en-de
data:
  train: [{src: train.en, tgt: train.de}]
tokenizer: {vocab_size: 8k}
model: {dropout: 1.5}
training:
  max_stepz: 8000
  learning_rate: 1e-3
  learning_rate: 2e-3
"""
SHORT_RUN = "--set training.max_steps=4 --set decoding.beam_size=1 --set decoding.max_output_ratio=0.5"


class Block(NamedTuple):
    page: str
    text: str
    not_run: bool


def blocks(page, language="sh"):
    """Return the fenced blocks of a page in their order."""
    pattern = rf"(<!-- not run: .+ -->\n)?```{language}\n(.*?)```"
    found = re.finditer(pattern, page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [Block(page.name, match[2], match[1] is not None) for match in found]


def shorter(script):
    """Return a script that trains for a few steps only, whatever the page says."""
    script = re.sub(r"max_steps=(\d+)", lambda match: f"max_steps={int(match[1]) // 200}", script)
    return re.sub(
        r"^tfcli train --src .*", lambda match: f"{match[0]} {SHORT_RUN}", script, flags=re.MULTILINE
    )


def write_corpus(folder):
    """Write the files that the examples name: the first pairs of the embedded corpus."""
    for split, count in (("train", 400), ("valid", 8), ("test", 8)):
        for language in ("en", "de"):
            content = gzip.decompress((ROOT / "data" / "demo" / f"{split}.{language}.gz").read_bytes())
            (folder / f"{split}.{language}").write_bytes(b"\n".join(content.split(b"\n")[:count]) + b"\n")
    lines = (folder / "test.en").read_text(encoding="utf-8").split("\n")[:4]
    (folder / "in.en").write_text("\n".join([*lines[:2], "", *lines[2:]]) + "\n", encoding="utf-8")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    for name, number in (("other.hyp", 1), ("greedy.hyp", 2)):  # what other systems said of the test set
        words = [line.split(b" ") for line in (folder / "test.de").read_bytes().split(b"\n")[:-1]]
        (folder / name).write_bytes(b"".join(b" ".join(line[number:]) + b"\n" for line in words))
    for seed, name in enumerate(("animals", "animals-test")):
        (folder / f"{name}.tsv").write_text(tsv(labelled(120, seed)), encoding="utf-8")
    animals = blocks(DOCS / "classification.md", "yaml")[0].text.replace("max_steps: 400", "max_steps: 4")
    (folder / "animals.yaml").write_text(animals, encoding="utf-8")
    (folder / "animals.txt").write_text("the dog runs\n\nmy cow eats\n", encoding="utf-8")
    (folder / "labels.ref").write_text("good\nbad\ngood\n", encoding="utf-8")
    (folder / "labels.hyp").write_text("good\nbad\nbad\n", encoding="utf-8")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return a folder with the corpus and a run that was trained and scored."""
    folder = tmp_path_factory.mktemp("finished")
    write_corpus(folder)
    done = run(
        folder,
        "tfcli train recipe.yaml --json > outcome.json\ntfcli eval runs/en-de\ntfcli train animals.yaml",
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(autouse=True)
def _no_corpora_elsewhere(monkeypatch):
    monkeypatch.delenv("TFCLI_DATA", raising=False)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem)
def test_the_commands_of_a_page_work_in_their_order(page, finished, tmp_path):
    write_corpus(tmp_path)
    if page.name in FROM_A_RUN:
        shutil.copytree(finished / "runs", tmp_path / "runs")
    for block in blocks(page):
        if not block.not_run:
            done = run(tmp_path, shorter(block.text))
            assert done.returncode == 0, f"{block.text}\n{done.stderr}"


def test_only_a_few_named_blocks_are_not_run():
    marked = {
        (block.page, block.text.split("\n")[0]) for page in PAGES for block in blocks(page) if block.not_run
    }
    assert marked == NOT_RUN


def test_every_shell_command_stands_in_a_block_that_can_be_run():
    for page in PAGES:
        fences = re.findall(r"^```(\w*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[::2]
        assert set(fences) <= {"sh", "yaml", "json", "python", "text"}, page.name
        assert not re.search(r"^    (\$ )?tfcli ", page.read_text(encoding="utf-8"), flags=re.MULTILINE), (
            page.name
        )


def test_the_python_of_a_page_works(finished):
    for page in PAGES:
        if page.name == "transformer.md":  # it prints, and is run by tests/unit/test_transformer_page.py
            continue
        for block in blocks(page, "python"):
            done = run(finished, f"python <<'END'\nimport numpy\n{block.text}\nprint(len(first))\nEND")
            assert done.returncode == 0, done.stderr
            assert int(done.stdout) > 1


def test_the_json_of_a_page_has_the_keys_that_come_out(finished):
    shown = blocks(DOCS / "file-formats.md", "json")
    assert len(shown) == 1
    done = run(finished, "head -n 1 in.en | tfcli translate runs/en-de --format jsonl")
    line, documented = json.loads(done.stdout), json.loads(shown[0].text)
    assert line.keys() == documented.keys()
    assert line["hypotheses"][0].keys() == documented["hypotheses"][0].keys()


def test_the_recipes_of_a_page_load(tmp_path):
    count = 0
    for page in PAGES:
        for block in blocks(page, "yaml"):
            if re.search("^name:", block.text, flags=re.MULTILINE):
                (tmp_path / "shown.yaml").write_text(block.text, encoding="utf-8")
                load_recipe(tmp_path / "shown.yaml")
                count += 1
    assert count >= 1


def anchors(page):
    """Return the places in a page that a link can name, as GitHub makes them from headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def test_the_index_has_a_line_for_each_page():
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^- \[[^\]]+\]\(([^)]+)\): \S", index, flags=re.MULTILINE)
    assert sorted(listed) == [page.name for page in PAGES if page.name != "README.md"]


def options(verb):
    """Return the long options of a verb."""
    command = typer.main.get_command(app).commands[verb]
    return {name for parameter in command.params for name in parameter.opts if name.startswith("--")}


COMMON = {"--help", "--quiet", "--verbose"}
TORCHRUN = {
    "--standalone",
    "--nproc-per-node",
    "--max-restarts",
}  # not ours, but named where several processes are


@pytest.mark.parametrize("verb", VERBS)
def test_a_verbs_page_explains_every_option_and_no_other(verb):
    page = (DOCS / f"{verb}.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", page))
    assert options(verb) - COMMON <= named
    assert named <= set().union(TORCHRUN, *map(options, VERBS))


def test_the_exit_codes_are_those_that_the_help_lists():
    told = set(re.findall(r"^ *(\d+)  ", EXIT_CODES, flags=re.MULTILINE))
    page = (DOCS / "exit-codes.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| (\d+) \|", page, flags=re.MULTILINE))
    assert told <= documented <= told | {"141"}


def test_the_run_folders_page_names_every_file_of_a_run(finished):
    pages = "".join(
        (DOCS / name).read_text(encoding="utf-8") for name in ("run-folder.md", "file-formats.md")
    )
    names = {part for path in (finished / "runs" / "en-de").rglob("*") for part in path.parts[-1:]}
    told = {name for name in names if re.search(rf"`(\w+/)*{re.escape(name)}/?`", pages)}
    others = {name for name in names - told if not name.startswith("events.out.tfevents.")}
    assert others == {"step-00000002", "step-00000004", "news.hyp"}


def test_the_run_folders_page_names_nothing_that_no_run_has(finished):
    page = (DOCS / "run-folder.md").read_text(encoding="utf-8")
    first_table = page.split("## ")[0]
    named = set(re.findall(r"^\| `([^`]+)` \|", first_table, flags=re.MULTILINE)) - {
        "tensorboard/", "decisions.jsonl", "initial.json"
    }  # fmt: skip
    assert named <= {
        f"{path.name}/" if path.is_dir() else path.name
        for name in ("en-de", "animals")
        for path in (finished / "runs" / name).iterdir()
    }


def test_the_formats_page_has_every_key_that_is_written(finished):
    page = (DOCS / "file-formats.md").read_text(encoding="utf-8")
    folder = finished / "runs" / "en-de"
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().split("\n")[:-1]]
    assert {row["kind"] for row in rows} == {"train", "valid", "average"}
    scores, config = (json.loads((folder / name).read_text()) for name in ("scores.json", "best/config.json"))
    meta = json.loads((folder / "corpus" / "train" / "meta.json").read_text())
    for written in (
        *rows,
        scores,
        scores["model"],
        scores["sets"]["news"]["bleu"],
        scores["sets"]["news"]["bleu"]["interval"],
        scores["test_sets"]["news"],
        scores["history"][0],
        config,
        meta,
        meta["src"],
    ):
        for key in written:
            assert f"`{key}`" in page, key


def test_training_prints_the_keys_of_its_page(finished):
    page = (DOCS / "train.md").read_text(encoding="utf-8")
    dry = run(finished, "tfcli train recipe.yaml --json --dry-run --out runs/dry")
    for printed in ((finished / "outcome.json").read_text(), dry.stdout):
        for key in json.loads(printed):
            assert f"`{key}`" in page, key


def test_info_prints_the_keys_of_its_page(finished):
    page = (DOCS / "info.md").read_text(encoding="utf-8")
    course = json.loads(run(finished, "tfcli info runs/en-de --json").stdout)["course"]
    for key in (*course, *course["target_tokens_per_second"]):
        assert f"`{key}`" in page, key
    shown = run(finished, "tfcli info runs/en-de").stdout
    for name in ("status", "speed"):
        assert f"\n{name}  " in shown
        assert f"| `{name}` |" in page


def patterns_of_messages():
    """Return a pattern of what ends in each text of the source, holes where values stand, with the number of its letters."""
    found = []
    for path in (ROOT / "tfcli").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        with_holes = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
        inner = {part for node in with_holes for part in node.values}
        plain = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and node not in inner]
        texts = [node.values for node in with_holes] + [
            [node] for node in plain if isinstance(node.value, str)
        ]
        for parts in texts:
            letters = [part.value if isinstance(part, ast.Constant) else None for part in parts]
            pattern = "".join(".*" if part is None else re.escape(part) for part in letters)
            found.append((re.compile(f"{pattern}$"), sum(len(part or "") for part in letters)))
    return found


def messages_of_troubleshooting():
    return re.findall(
        r"^    (.+)$", (DOCS / "troubleshooting.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )


def test_the_first_messages_in_troubleshooting_are_those_of_a_broken_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(BROKEN_RECIPE, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(Path("recipe.yaml"))
    problems = [f"error: {line}" for line in caught.value.message.split("\n")]
    assert messages_of_troubleshooting()[: len(problems)] == problems


def test_every_other_message_in_troubleshooting_is_one_that_tfcli_prints():
    shown = [
        line for line in messages_of_troubleshooting() if " a tab " in line or "recipe.yaml:" not in line
    ]
    assert len(shown) > 40
    patterns = patterns_of_messages()
    for message in shown:
        # a text of few letters would match anything
        enough = len(message.partition(": ")[2]) / 5
        assert any(letters >= enough and pattern.search(message) for pattern, letters in patterns), message
