"""A corpus of odd lines is encoded as if each pair were looked at by itself, however it is stored and shared out."""

import gzip
import lzma
import random
from collections import Counter

import pytest

from tfcli.corpus import held_out
from tfcli.corpus import prepare as module
from tfcli.corpus.prepare import prepare
from tfcli.recipe.schema import Recipe
from tfcli.text.cleaning import HoldOut
from tfcli.text.files import CorpusFiles

ODD = [
    "", " ", "\r", "a\rb", "end\r", "\ufeffmark", "nul\0byte", "\0", "x\u2028y\u2029z\x85\x0b\x0c\x1c", "\u2028",
    "\u3000", "\u00a0", "\u200b", "\x1c\x1d", " led  by   space ", "\u00b4 \u00a8 \ufb01 \u00bd", "\U0001f600 e\u0301 \u0301",
    "word " * 300, "x" * 2000,
]  # fmt: skip
DATA = {"max_pieces": 40, "max_length_ratio": 1.5, "drop_identical": True, "drop_duplicates": True}


def odd_pairs(count):
    """Pairs of which many are odd, alike, the same as one before, or held out."""
    rng = random.Random(2)
    words = ["".join(rng.choices("abcdefäöü本é", k=rng.randint(1, 6))) for _ in range(200)]
    pairs = []
    while len(pairs) < count:
        src, tgt = (" ".join(rng.choices(words, k=rng.randint(1, 9))) for _ in range(2))
        kind = rng.randrange(12)
        if kind < 3:
            src, tgt = rng.choice([(rng.choice(ODD), tgt), (src, rng.choice(ODD)), (rng.choice(ODD),) * 2])
        elif kind == 3 and pairs:
            src, tgt = rng.choice(pairs)
        elif kind == 4:
            tgt = f"  {src}\r"
        pairs.append((src, tgt))
    return [*pairs, ("last line", "letzte Zeile")]


def one_by_one(pairs, tokenizer, threshold):
    """What a corpus is to hold: ids, the count of what was dropped for which reason, words and unknown pieces."""
    kept, seen, dropped, words, unknown = [], set(), Counter(), [0, 0], [0, 0]
    for src, tgt in pairs:
        ids = tokenizer.encode_src(src), tokenizer.encode_tgt(tgt)
        shorter, longer = sorted(map(len, ids))
        reasons = {
            "held_out": int(HoldOut.numbers([src])[0]) < threshold,
            "blank": not shorter or not src.strip() or not tgt.strip(),
            "identical": src.strip() == tgt.strip(),
            "too_long": longer > DATA["max_pieces"],
            "length_ratio": longer > DATA["max_length_ratio"] * shorter and longer - shorter > 10,
            "duplicate": (src, tgt) in seen,
        }
        if reason := next((name for name, holds in reasons.items() if holds), None):
            dropped[reason] += 1
            continue
        seen.add((src, tgt))
        kept.append(tuple([*side, tokenizer.eos_id] for side in ids))
        words = [n + len(text.split()) for n, text in zip(words, (src, tgt), strict=True)]
        unknown = [n + side.count(tokenizer.unk_id) for n, side in zip(unknown, ids, strict=True)]
    return kept, dict(dropped), words, unknown


def stored(folder, pairs, how):
    """Write the pairs; the last line of a source ends without a line feed."""
    src, tgt = ("\n".join(side).encode() for side in zip(*pairs, strict=True))
    if how == "tsv":
        (folder / "text.tsv").write_bytes("".join(f"{src}\t{tgt}\n" for src, tgt in pairs).encode())
        return CorpusFiles(None, None, folder / "text.tsv")
    if how == "plain":
        (folder / "src").write_bytes(src)
        (folder / "tgt").write_bytes(tgt + b"\n")
        return CorpusFiles(folder / "src", folder / "tgt", None)
    (folder / "src.gz").write_bytes(gzip.compress(src))
    (folder / "tgt.xz").write_bytes(lzma.compress(tgt + b"\n"))
    return CorpusFiles(folder / "src.gz", folder / "tgt.xz", None)


@pytest.mark.parametrize("how", ["plain", "packed", "tsv"])
@pytest.mark.parametrize(("processes", "block_bytes"), [(1, 1 << 24), (2, 1 << 24), (2, 3000)])
def test_a_corpus_is_what_its_pairs_are_one_by_one(tmp_path, monkeypatch, how, processes, block_bytes):
    pairs = odd_pairs(700)
    files = stored(tmp_path, pairs, how)
    recipe = Recipe.model_validate(
        {
            "name": "odd",
            "data": {"train": [{"tsv": "-"}], "valid": {"pairs": 40}, **DATA},
            "tokenizer": {"vocab_size": 120, "character_coverage": 0.98},
        }
    )
    monkeypatch.setattr("tfcli.text.pairs.BLOCK_LINES", 100)
    monkeypatch.setattr("tfcli.text.pairs.BLOCK_BYTES", block_bytes)
    monkeypatch.setattr("tfcli.text.pairs._STRIDE", 7)
    for room in (module, held_out):
        monkeypatch.setattr(room, "processes_for", lambda _: processes)
    prepared = prepare(recipe, [files], None, tmp_path / "run", lambda _: None)

    usable = {}
    for src, tgt in pairs:
        if src.strip() and tgt.strip() and max(len(src), len(tgt)) <= 4 * DATA["max_pieces"]:
            usable.setdefault(int(HoldOut.numbers([src])[0]), (src, tgt))
    numbers = sorted(usable)[:40]
    held = [
        tuple(path.read_bytes().decode().split("\n")[:-1])
        for path in (prepared.valid_files.src, prepared.valid_files.tgt)
    ]
    assert list(zip(*held, strict=True)) == [usable[number] for number in numbers]

    kept, dropped, words, unknown = one_by_one(pairs, prepared.tokenizer, numbers[-1] + 1)
    ds, row = prepared.train, prepared.stats[0]
    assert [(ds.src(i).tolist(), ds.tgt(i).tolist()) for i in range(len(ds))] == kept
    assert row.dropped == dropped
    assert len(dropped) == 6
    assert (row.lines, row.kept) == (len(pairs), len(kept))
    assert [row.src.words, row.tgt.words] == words
    assert [row.src.unknown, row.tgt.unknown] == unknown
    assert all(unknown)
