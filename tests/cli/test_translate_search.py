"""The options of `tfcli translate` that say how to search, by the real command."""

import json
import math
import shutil

import pytest

from tests.cli.conftest import write_small_corpus
from tfcli.app import main

LINES = b"The dog sees a small bird.\n\nTwo cats sleep.\nThe old woman buys two books.\n"


@pytest.fixture
def translated(small_run, stdin, capfdbinary):
    """Return a function that translates bytes with some options and returns the lines of output."""

    def translate(text, *options):
        stdin(text)
        args = [
            "translate",
            str(small_run),
            "-q",
            "--engine",
            "torch",
            "--precision",
            "fp32",
            *map(str, options),
        ]
        assert main(args) == 0, capfdbinary.readouterr().err.decode()
        return capfdbinary.readouterr().out.decode().split("\n")[:-1]

    return translate


@pytest.fixture(scope="module")
def other_run(tmp_path_factory, small_run):
    """Return a run from the same text and tokenizer with another seed."""
    folder = tmp_path_factory.mktemp("other")
    recipe = write_small_corpus(folder)
    recipe.write_text(recipe.read_text().replace("seed: 3", "seed: 4"))
    args = ["--out", str(folder / "run"), "-q", "--set", "training.max_steps=20"]
    assert main(["train", str(recipe), *args]) == 0
    assert (folder / "run" / "tokenizer.model").read_bytes() == (small_run / "tokenizer.model").read_bytes()
    return folder / "run"


def test_samples_depend_on_seed_and_line_alone(translated):
    base = translated(LINES, "--sample", "--seed", 3)
    assert base[1] == ""
    assert translated(LINES, "--sample", "--seed", 3, "--batch-size", 1) == base
    assert translated(LINES, "--sample", "--seed", 4) != base
    assert translated(LINES, "--sample") == translated(LINES, "--sample", "--seed", 1, "--temperature", 1.0)
    turned = b"\n".join(LINES.removesuffix(b"\n").split(b"\n")[::-1]) + b"\n"
    assert translated(turned, "--sample", "--seed", 3) == base[::-1]


def test_sampling_from_one_piece_is_greedy_search(translated):
    greedy = translated(LINES, "--beam-size", 1)
    assert translated(LINES, "--sample", "--top-k", 1) == greedy
    assert translated(LINES, "--sample", "--top-p", 1e-9) == greedy
    assert translated(LINES, "--sample", "--temperature", 1e-3) == greedy
    assert translated(LINES, "--sample", "--temperature", 5) != greedy


def test_as_many_samples_come_as_are_wanted_best_first(translated):
    rows = [json.loads(line) for line in translated(LINES, "--sample", "--n-best", 7, "--json")]
    assert [len(row["hypotheses"]) for row in rows] == [7, 1, 7, 7]
    for row in rows:
        scores = [found["score"] for found in row["hypotheses"]]
        assert scores == sorted(scores, reverse=True)
        assert [found["rank"] for found in row["hypotheses"]] == [*range(1, len(scores) + 1)]


def test_the_length_penalty_is_what_its_kind_says(translated):
    ranked = ("--beam-size", 3, "--n-best", 3, "--json", "--length-penalty", 0.7)
    for kind in ("average", "gnmt"):
        for line in translated(LINES, *ranked, "--length-penalty-kind", kind):
            found = json.loads(line)["hypotheses"]
            assert len({one["text"] for one in found}) == len(found)
            for one in found:
                if one["text"]:
                    divisor = one["log_prob"] / one["score"]
                    length = divisor ** (1 / 0.7) if kind == "average" else 6 * divisor ** (1 / 0.7) - 5
                    assert length == pytest.approx(round(length), abs=0.02)
                    assert length > 1


def test_rules_show_in_the_output(translated, small_run):
    from tfcli.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(small_run)
    count = len(tokenizer.encode_src("The dog sees a small bird."))
    line = b"The dog sees a small bird.\n"
    (long,) = translated(line, "--min-output-ratio", 2, "--max-output-ratio", 3)
    assert len(long.split()) > len(translated(line)[0].split())
    (short,) = translated(line, "--max-output-ratio", 0.01)
    assert len(tokenizer.encode_tgt(short)) <= 4  # max_output_extra of the recipe
    options = ("--min-output-ratio", 2, "--max-output-ratio", 3, "--no-repeat-ngram", 1, "--beam-size", 1)
    (varied,) = translated(line, *options)
    assert varied != long
    # texts are spelled by other pieces when they are encoded anew, so the words are looked at
    assert max(varied.split().count(word) for word in varied.split() if len(word) > 4) == 1
    assert len(varied) > count


@pytest.mark.parametrize("options", [("--beam-size", 1), ("--beam-size", 3), ("--sample",)])
def test_output_begins_with_the_prefix_behind_the_tab(translated, options):
    text = b"The dog sleeps.\tZwei Katzen\nTwo cats sleep.\nTwo cats sleep.\t\n\tZwei\n"
    out = translated(text, "--prefix-column", *options)
    assert out[0].startswith("Zwei Katzen")
    assert out[1] == out[2] == translated(b"Two cats sleep.\n", *options)[0]
    assert out[3] == ""


def test_a_prefix_longer_than_the_output_may_be_is_an_error_that_names_the_line(
    small_run, stdin, tmp_path, capfdbinary
):
    (tmp_path / "in.tsv").write_text("The dog.\tDer\nThe dog.\t" + "Hund " * 60 + "\n")
    source, out = str(tmp_path / "in.tsv"), tmp_path / "out"
    assert main(["translate", str(small_run), source, "--prefix-column", "-o", str(out)]) == 3
    assert f"{source}:2: the target prefix has " in capfdbinary.readouterr().err.decode()
    assert not out.exists()


def test_a_table_has_a_row_for_each_hypothesis_with_line_and_rank(translated):
    rows = [line.split("\t") for line in translated(LINES, "--format", "tsv", "--n-best", 2)]
    assert [(row[2], row[3]) for row in rows if row[2] != "2"] == [
        ("1", "1"), ("1", "2"), ("3", "1"), ("3", "2"), ("4", "1"), ("4", "2")
    ]  # fmt: skip
    assert ["", "0.0000", "2", "1"] in rows
    plain = [line.split("\t") for line in translated(LINES, "--format", "tsv")]
    assert [row[:2] for row in rows if row[3] == "1"] == plain


def test_json_tells_the_source_and_in_how_many_parts_it_was_translated(translated):
    long = " ".join(["The dog sleeps."] * 120)
    first, blank, cut = map(json.loads, translated(f"The dog sleeps.\n\n{long}\n".encode(), "--json"))
    assert (first["source"], first["n_parts"]) == ("The dog sleeps.", 1)
    assert (blank["source"], blank["n_parts"]) == ("", 0)
    assert cut["source"] == long
    assert cut["n_parts"] > 1


@pytest.mark.parametrize("search", [("--beam-size", 1), ("--beam-size", 2), ("--sample",)])
def test_what_a_search_finds_is_scored_alike_when_it_is_given(small_run, tmp_path, translated, search):
    """Detokenized and encoded anew, a translation may have other pieces; those that have the same are compared."""
    text = b"\n".join(line for line in LINES.split(b"\n") if line) + b"\n"
    found = [json.loads(line) for line in translated(text, "--json", *search)]
    (tmp_path / "out").write_text("".join(one["translation"] + "\n" for one in found))
    forced = [
        json.loads(line)
        for line in translated(text, "--score-only", "--ref", tmp_path / "out", "--format", "jsonl")
    ]
    table = translated(
        "".join(f"{one['source']}\t{one['translation']}\n" for one in found).encode(), "--score-only"
    )
    assert [float(score) for score in table] == pytest.approx([one["score"] for one in forced], abs=1e-5)
    alike = 0
    for one, scored in zip(found, forced, strict=True):
        best = one["hypotheses"][0]
        assert sum(scored["piece_log_probs"]) == pytest.approx(scored["log_prob"], abs=1e-4)
        assert scored["pieces"][-1] == "</s>"
        assert len(scored["pieces"]) == len(scored["piece_log_probs"])
        assert scored["score"] == pytest.approx(scored["log_prob"] / len(scored["pieces"]), abs=1e-5)
        alike += best["log_prob"] == pytest.approx(scored["log_prob"], abs=1e-4)
    assert alike >= 1


def test_scores_of_one_file_or_two_equal_the_loss_of_validation(small_run, capfdbinary):
    """The mean log-probability of the validation pairs must be the loss that training wrote down for its best model."""
    rows = [json.loads(line) for line in (small_run / "metrics.jsonl").read_text().split("\n")[:-1]]
    step = json.loads((small_run / "best" / "config.json").read_text())["trained"]["step"]
    (logged,) = [row["loss"] for row in rows if row["kind"] == "valid" and row["step"] == step]
    folder = small_run.parent
    args = ["translate", str(small_run), str(folder / "valid.en"), "--ref", str(folder / "valid.de"), "-q"]
    assert main([*args, "--score-only", "--json"]) == 0
    scored = list(map(json.loads, capfdbinary.readouterr().out.split(b"\n")[:-1]))
    total = sum(len(one["pieces"]) for one in scored)
    assert -math.fsum(one["log_prob"] for one in scored) / total == pytest.approx(logged, abs=0.02)


def test_an_ensemble_searches_samples_and_scores(translated, small_run, other_run):
    joined = ("--ensemble", other_run)
    alone = [json.loads(line) for line in translated(LINES, "--json")]
    same = [json.loads(line) for line in translated(LINES, "--json", "--ensemble", small_run)]
    assert [one["translation"] for one in same] == [one["translation"] for one in alone]
    for search in (("--beam-size", 1), ("--beam-size", 3), ("--sample",)):
        assert len(translated(LINES, *joined, *search)) == 4
    pair = b"The dog sleeps.\tDer Hund schl\xc3\xa4ft.\n"
    one, both = (
        json.loads(translated(pair, "--score-only", "--json", *some)[0])["piece_log_probs"]
        for some in ((), joined)
    )
    assert one != both
    thrice = json.loads(translated(pair, "--score-only", "--json", *joined, *joined)[0])["piece_log_probs"]
    # p = (a + 2 b) / 3 with (a + b) / 2 known: the mean is one of probabilities
    for a, mean, weighted in zip(one, both, thrice, strict=True):
        b = 2 * math.exp(mean) - math.exp(a)
        assert math.exp(weighted) == pytest.approx((math.exp(a) + 2 * b) / 3, abs=1e-5)


def test_a_member_with_another_tokenizer_is_refused_with_what_differs(small_run, tmp_path, capsys):
    recipe = write_small_corpus(tmp_path)
    args = ["--out", str(tmp_path / "run"), "-q", "--set", "training.max_steps=1"]
    assert main(["train", str(recipe), *args, "--set", "tokenizer.vocab_size=200"]) == 0
    assert main(["translate", str(small_run), "--ensemble", str(tmp_path / "run")]) == 2
    err = capsys.readouterr().err
    assert f"--ensemble {tmp_path / 'run'}: not the tokenizer of {small_run}" in err
    assert "300 source pieces here, 200 there" in err


def test_a_member_for_another_direction_is_refused(small_run, tmp_path, capsys):
    other = tmp_path / "model"
    shutil.copytree(small_run / "best", other)
    config = json.loads((other / "config.json").read_text())
    config["src_lang"], config["tgt_lang"] = "de", "en"
    (other / "config.json").write_text(json.dumps(config))
    assert main(["translate", str(small_run), "--ensemble", str(other)]) == 2
    assert f"--ensemble {other}: src_lang is de, but en in {small_run}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["--temperature", "2"], 2, "--temperature is an option of sampling"),
        (["--top-k", "2"], 2, "--top-k is an option of sampling"),
        (["--seed", "0"], 2, "--seed is an option of sampling"),
        (["--sample", "--beam-size", "3"], 2, "--beam-size does nothing with --sample"),
        (["--sample", "--temperature", "0"], 2, "--temperature 0.0: must be above 0"),
        (["--sample", "--top-p", "1.5"], 2, "--top-p 1.5: must be above 0 and at most 1"),
        (["--ref", "{tmp}/a"], 2, "--ref needs --score-only"),
        (["--score-only", "--beam-size", "3"], 2, "--beam-size does nothing with --score-only"),
        (["--score-only", "--sample"], 2, "--sample does nothing with --score-only"),
        (["--score-only", "--n-best", "2", "--json"], 2, "--n-best does nothing with --score-only"),
        (["--score-only", "--prefix-column"], 2, "--prefix-column does nothing with --score-only"),
        (["--score-only", "--on-long", "truncate"], 2, "--on-long does nothing with --score-only"),
        (["--score-only", "--column", "1"], 2, "--column 1 and --score-only contradict each other"),
        (["--prefix-column", "--field", "text"], 2, "--field text and --prefix-column contradict each other"),
        (["--score-only", "--ref", "{tmp}/a", "--interactive"], 2, "--interactive answers standard input"),
        (["--batch-size", "3", "--batch-tokens", "4"], 2, "--batch-size takes the place of --batch-tokens"),
        (["--min-output-ratio", "9"], 2, "--min-output-ratio: must not be above max_output_ratio"),
        (["--length-penalty-kind", "marian"], 2, "--length-penalty-kind"),
        (["--score-only", "--ref", "{tmp}/a", "{tmp}/a", "{tmp}/b"], 2, "--ref is for one input"),
        (["--score-only"], 3, "standard input:1: expected source, one tab, target; got 0 tabs"),
        (["--score-only", "{tmp}/a", "--ref", "{tmp}/nothing"], 3, "cannot read {tmp}/nothing"),
        (["--score-only", "{tmp}/a", "--ref", "{tmp}/b"], 3, "{tmp}/a:2: --ref ends before this line"),
        (
            ["--score-only", "{tmp}/b", "--ref", "{tmp}/a"],
            3,
            "--ref {tmp}/a goes on after the last source line",
        ),
        (["--score-only", "{tmp}/long"], 3, " pieces, but the model takes 1,024"),
        (
            ["--prefix-column", "{tmp}/tabs"],
            3,
            "{tmp}/tabs:1: expected source, one tab, target prefix; got 2 tabs",
        ),
        (["--ensemble", "{tmp}"], 4, "neither a model folder"),
    ],
)
def test_what_cannot_be_searched_for_is_told_on_stderr(
    small_run, tmp_path, stdin, capfdbinary, args, code, said
):
    stdin(b"The dog.\n")
    (tmp_path / "a").write_text("The dog.\nThe dog.\n")
    (tmp_path / "b").write_text("The dog.\n")
    (tmp_path / "long").write_text("The dog.\t" + "Der Hund. " * 600 + "\n")
    (tmp_path / "tabs").write_text("The dog.\tDer\tHund\n")
    out = [] if code == 2 else ["-o", str(tmp_path / "out")]
    assert main(["translate", str(small_run), *(arg.format(tmp=tmp_path) for arg in args), *out]) == code
    written, err = capfdbinary.readouterr()
    assert written == b""
    assert said.format(tmp=tmp_path) in err.decode()
    assert not (tmp_path / "out").exists()
