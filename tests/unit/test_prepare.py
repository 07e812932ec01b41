"""From files to a tokenizer and encoded corpora: made once, reused while nothing changes, never half."""

import os
import shutil

import pytest

from tests.toy_corpus import content, files_of, recipe, sentences, silent
from tfcli.corpus import prepare as module
from tfcli.corpus import run_tokenizer
from tfcli.corpus.prepare import prepare
from tfcli.corpus.sample import spread_lines
from tfcli.corpus.shards import ParallelIds
from tfcli.errors import CheckpointError, DataError
from tfcli.text.files import CorpusFiles
from tfcli.text.tokenizer import Tokenizer


def test_every_pair_is_encoded_in_its_order_with_the_end_mark(corpora, run_dir):
    train, valid = corpora
    prepared = prepare(recipe(), [train], valid, run_dir, silent)
    assert not prepared.reused
    for ds, pairs in ((prepared.train, sentences(400)), (prepared.valid, sentences(30, seed=2))):
        assert len(ds) == len(pairs)
        for i, (src, tgt) in enumerate(pairs):
            assert ds.src(i).tolist() == [*prepared.tokenizer.encode_src(src), 3]
            assert ds.tgt(i).tolist() == [*prepared.tokenizer.encode_tgt(tgt), 3]
    assert Tokenizer.load(run_dir).digest == prepared.tokenizer.digest
    assert len(ParallelIds.open(run_dir / "corpus" / "train")) == 400


def test_statistics_count_what_is_there(tmp_path, run_dir):
    # one piece a character: a word of n letters and the space before it are n + 1 pieces
    settings = {"kind": "char", "shared": False, "vocab_size": 16}
    train = files_of(tmp_path, "train", [("ab cd", "xy"), ("a b c d", "x y x"), ("aaaa", "xxxx")])
    valid = files_of(tmp_path, "valid", [("ab ?", "x"), ("", "")])
    prepared = prepare(
        recipe(tokenizer=settings, model={"tie_embeddings": "none"}), [train], valid, run_dir, silent
    )
    trained, validated = prepared.stats
    assert (trained.name, trained.lines, trained.kept, trained.dropped) == ("train", 3, 3, {})
    assert (trained.src.words, trained.src.pieces, trained.src.unknown) == (7, 6 + 8 + 5, 0)
    assert (trained.src.length_p50, trained.src.length_p95, trained.src.length_max) == (6, 8, 8)
    assert trained.src.pieces_per_word == pytest.approx(19 / 7)
    assert (validated.name, validated.lines, validated.kept) == ("valid", 2, 2)
    assert (validated.src.words, validated.src.pieces, validated.src.unknown) == (2, 5, 1)
    assert validated.src.unknown_rate == pytest.approx(0.2)
    assert any("valid: 20.0% of the source pieces are unknown" in warning for warning in prepared.warnings)


def test_dropped_pairs_are_counted_by_reason_and_validation_is_never_cleaned(tmp_path, run_dir):
    good = [("a b", "A B"), ("a c", "A C"), ("a b", "A C")]
    bad = [("", "A"), ("a", " "), ("a b", "A B"), ("same", "same"), ("a" * 26, "A" * 5), ("a", "A" * 20)]
    reasons = {"blank": 2, "duplicate": 1, "identical": 1, "length_ratio": 1, "too_long": 1}
    cleaning = {"drop_duplicates": True, "drop_identical": True, "max_pieces": 25, "max_length_ratio": 9.0}
    files = [files_of(tmp_path, name, [*good, *bad]) for name in ("train", "valid")]
    prepared = prepare(recipe(cleaning, {"kind": "char"}), files[:1], files[1], run_dir, silent)
    trained, validated = prepared.stats
    assert (trained.lines, trained.kept, trained.dropped) == (9, 3, reasons)
    assert [prepared.train.src(i).tolist()[:-1] for i in range(3)] == [
        prepared.tokenizer.encode_src(src) for src, _ in good
    ]
    assert trained.tgt.words == 6
    assert (validated.kept, validated.dropped, len(prepared.valid)) == (9, {}, 9)
    # without the keys that are off by default
    prepared = prepare(recipe({}, {"kind": "char"}), files[:1], files[1], run_dir, silent)
    assert prepared.stats[0].dropped == {"blank": 2, "length_ratio": 1}


def test_several_corpora_follow_each_other_and_are_counted_apart(tmp_path, corpora, run_dir):
    train, valid = corpora
    more = tmp_path / "more.tsv"
    more.write_text("".join(f"{src}\t{tgt}\n" for src, tgt in sentences(50, seed=3)))
    prepared = prepare(recipe(), [train, CorpusFiles(None, None, more)], valid, run_dir, silent)
    assert [(row.name, row.kept) for row in prepared.stats] == [
        ("train[0]", 400),
        ("train[1]", 50),
        ("valid", 30),
    ]
    last_src = sentences(50, seed=3)[-1][0]
    assert prepared.train.src(449).tolist() == [*prepared.tokenizer.encode_src(last_src), 3]


def test_nothing_is_made_anew_while_nothing_has_changed(corpora, run_dir):
    train, valid = corpora
    first = prepare(recipe(), [train], valid, run_dir, silent)
    times = {path: path.stat().st_mtime_ns for path in run_dir.rglob("*.*") if path.name != "files.json"}
    again = prepare(recipe(training={"max_steps": 7}, seed=5), [train], valid, run_dir, silent)
    assert again.reused
    assert again.stats == first.stats
    assert again.digests == first.digests
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_a_touched_or_recompressed_file_is_no_other_file(corpora, run_dir):
    train, valid = corpora
    prepare(recipe(), [train], valid, run_dir, silent)
    os.utime(train.src, (1, 1))
    assert prepare(recipe(), [train], valid, run_dir, silent).reused


def test_an_unchanged_file_is_not_hashed_again(corpora, run_dir, monkeypatch):
    train, valid = corpora
    prepare(recipe(), [train], valid, run_dir, silent)
    monkeypatch.setattr(
        "tfcli.corpus.fingerprint.digest_of_content", lambda path, _: pytest.fail(f"hashed {path}")
    )
    assert prepare(recipe(), [train], valid, run_dir, silent).reused


@pytest.mark.parametrize(
    ("changed", "tokenizer_stays"),
    [
        ({"data": {"max_pieces": 20}}, True),
        ({"data": {"max_length_ratio": None}}, True),
        ({"data": {"drop_duplicates": True}}, True),
        ({"data": {"drop_identical": True}}, True),
        ({"tokenizer": {"vocab_size": 50}}, False),
        ({"tokenizer": {"kind": "bpe"}}, False),
        ({"tokenizer": {"symbols": ["<x>"]}}, False),
        ({"tokenizer": {"training_sentences": 100}}, False),
    ],
)
def test_a_changed_setting_rebuilds_what_depends_on_it(corpora, run_dir, changed, tokenizer_stays):
    train, valid = corpora
    first = prepare(recipe(), [train], valid, run_dir, silent)
    other = prepare(recipe(**changed), [train], valid, run_dir, silent)
    assert not other.reused
    assert (other.tokenizer.digest == first.tokenizer.digest) == tokenizer_stays
    fresh = run_dir.with_name("fresh")
    prepare(recipe(**changed), [train], valid, fresh, silent)
    assert content(fresh) == content(run_dir)


@pytest.mark.parametrize("name", ["train.src", "train.tgt", "valid.src", "valid.tgt"])
def test_a_changed_file_rebuilds_what_depends_on_it(corpora, run_dir, tmp_path, name):
    train, valid = corpora
    prepare(recipe(), [train], valid, run_dir, silent)
    text = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(text[:1].swapcase() + text[1:])
    assert not prepare(recipe(), [train], valid, run_dir, silent).reused
    prepare(recipe(), [train], valid, run_dir.with_name("fresh"), silent)
    assert content(run_dir.with_name("fresh")) == content(run_dir)


@pytest.mark.parametrize(
    "damage",
    ["corpus/train/src.ids", "corpus/valid/meta.json", "corpus/tokenizer.json", "corpus/train/record.json",
     "tokenizer.model", "corpus/files.json"],
)  # fmt: skip
@pytest.mark.parametrize("how", [lambda path: path.unlink(), lambda path: path.write_bytes(b"damaged")])
def test_what_is_damaged_or_gone_is_made_anew(corpora, run_dir, damage, how):
    train, valid = corpora
    prepare(recipe(), [train], valid, run_dir, silent)
    whole = content(run_dir)
    how(run_dir / damage)
    prepare(recipe(), [train], valid, run_dir, silent)
    assert content(run_dir) == whole


def test_another_tokenizer_put_into_the_folder_is_not_used(corpora, run_dir):
    train, valid = corpora
    first = prepare(recipe(), [train], valid, run_dir, silent)
    prepare(recipe(tokenizer={"kind": "bpe"}), [train], valid, run_dir.with_name("other"), silent)
    shutil.copy(run_dir.with_name("other") / "tokenizer.model", run_dir)
    assert prepare(recipe(), [train], valid, run_dir, silent).tokenizer.digest == first.tokenizer.digest


def test_checkpoints_keep_their_tokenizer(corpora, run_dir):
    train, valid = corpora
    first = prepare(recipe(), [train], valid, run_dir, silent)
    (run_dir / "checkpoints" / "step-00000100").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="has checkpoints that belong to its tokenizer"):
        prepare(recipe(tokenizer={"kind": "bpe"}), [train], valid, run_dir, silent)
    assert Tokenizer.load(run_dir).digest == first.tokenizer.digest
    shutil.rmtree(run_dir / "corpus")  # the same tokenizer may be made again
    assert prepare(recipe(), [train], valid, run_dir, silent).tokenizer.digest == first.tokenizer.digest


def test_a_build_that_breaks_leaves_the_last_one_and_is_never_reused(corpora, run_dir, monkeypatch):
    train, valid = corpora
    prepare(recipe(), [train], valid, run_dir, silent)
    whole = content(run_dir / "corpus" / "train")
    with monkeypatch.context() as broken:
        broken.setattr(module, "write_record", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            prepare(recipe({"max_pieces": 20}), [train], valid, run_dir, silent)
    assert content(run_dir / "corpus" / "train") == whole
    assert not list(run_dir.rglob("*.part*"))
    assert not prepare(recipe({"max_pieces": 20}), [train], valid, run_dir, silent).reused


def test_leftovers_of_a_killed_build_do_no_harm(corpora, run_dir):
    train, valid = corpora
    beside = run_dir / "corpus" / "train.part"
    beside.mkdir(parents=True)
    (beside / "src.ids").write_bytes(b"half")
    prepare(recipe(), [train], valid, run_dir, silent)
    assert not beside.exists()


def test_many_processes_give_the_same_bytes_as_one(tmp_path, corpora, monkeypatch):
    train, valid = corpora
    monkeypatch.setattr("tfcli.text.pairs.BLOCK_LINES", 37)
    settings = recipe({"drop_duplicates": True, "max_pieces": 30})
    prepare(settings, [train, train], valid, tmp_path / "one", silent)
    monkeypatch.setattr(module, "processes_for", lambda lines: 2)
    prepare(settings, [train, train], valid, tmp_path / "two", silent)
    assert content(tmp_path / "two") == content(tmp_path / "one")


@pytest.mark.parametrize("processes", [1, 2])
def test_the_first_line_that_cannot_be_read_is_told_whoever_reads_it(
    corpora, run_dir, monkeypatch, processes
):
    train, valid = corpora
    monkeypatch.setattr("tfcli.text.pairs.BLOCK_LINES", 37)
    monkeypatch.setattr(module, "processes_for", lambda lines: processes)
    monkeypatch.setattr(
        run_tokenizer, "spread_lines", lambda *_: ["the tokenizer's own look at all lines", "is left out"]
    )
    lines = train.tgt.read_bytes().split(b"\n")
    lines[300], lines[250] = b"\xff", b"a\xffb"
    train.tgt.write_bytes(b"\n".join(lines))
    with pytest.raises(DataError, match=r"train\.tgt:251: not UTF-8: byte 0xff at position 2") as caught:
        prepare(recipe(), [train], valid, run_dir, silent)
    assert "iconv -f LATIN1" in caught.value.hint
    assert not list(run_dir.rglob("*.part*"))


def test_the_tokenizer_sees_at_most_so_many_lines_spread_evenly(corpora, monkeypatch):
    train, _ = corpora
    monkeypatch.setattr("tfcli.text.pairs.BLOCK_LINES", 37)
    for side in (0, 1):
        lines = [pair[side] for pair in sentences(400)]

        def sampled(corpora, n_lines, limit, side=side):
            return list(spread_lines(corpora, side, n_lines, limit))

        assert sampled([train], 400, 4) == [lines[i] for i in (99, 199, 299, 399)]
        assert sampled([train, train], 800, 2) == [lines[399]] * 2
        assert sampled([train], 400, 400) == sampled([train], 400, 1000) == lines
        assert len(sampled([train], 400, 399)) == 399


def test_unequal_files_are_refused_before_anything_is_trained(corpora, run_dir):
    train, valid = corpora
    valid.tgt.write_bytes(valid.tgt.read_bytes() + b"one more\n")
    with pytest.raises(DataError, match=r"valid\.src has 30 lines, .*valid\.tgt has 31"):
        prepare(recipe(), [train], valid, run_dir, silent)
    assert not (run_dir / "tokenizer.model").exists()


def test_undecodable_text_is_refused_with_its_line(corpora, run_dir):
    train, valid = corpora
    train.tgt.write_bytes(b"ok\n\xff\n" * 200)
    with pytest.raises(DataError, match=r"train\.tgt:2: not UTF-8"):
        prepare(recipe(), [train], valid, run_dir, silent)


def test_a_validation_pair_that_the_network_cannot_take_is_refused_with_its_line(tmp_path, corpora, run_dir):
    train, _ = corpora
    settings = recipe({"max_pieces": 20}, {"kind": "char", "vocab_size": 100}, model={"max_positions": 21})
    fits = files_of(tmp_path, "fits", [("a", "A"), ("a" * 19, "A" * 19)])
    assert len(prepare(settings, [train], fits, run_dir, silent).valid) == 2
    for too_long, name in ((("a" * 20, "A"), "valid.src:2"), (("a", "A" * 20), "valid.tgt:2")):
        valid = files_of(tmp_path, "valid", [("a", "A"), too_long])
        with pytest.raises(
            DataError, match=r"22 pieces, end mark included, but the network takes 21"
        ) as caught:
            prepare(settings, [train], valid, run_dir, silent)
        assert name in caught.value.message


def test_empty_corpora_are_refused(tmp_path, corpora, run_dir):
    train, valid = corpora
    with pytest.raises(DataError, match="no text to train a tokenizer on"):
        prepare(recipe(), [files_of(tmp_path, "none", [])], valid, run_dir, silent)
    with pytest.raises(DataError, match=r"data\.valid: no lines in .*none\.src"):
        prepare(recipe(), [train], files_of(tmp_path, "none", []), run_dir, silent)
    words = files_of(tmp_path, "words", [("ab cd ef", "AB CD EF")] * 400)
    with pytest.raises(
        DataError, match=r"data\.train: all 400 pairs were dropped \(train too_long 400\)"
    ) as caught:
        prepare(recipe({"max_pieces": 1}), [words], valid, run_dir, silent)
    assert "data.max_pieces" in caught.value.hint


def test_a_run_folder_that_cannot_be_written_is_refused(tmp_path, corpora):
    train, valid = corpora
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        prepare(recipe(), [train], valid, tmp_path / "file" / "run", silent)


def test_a_lowered_vocabulary_is_said_once_when_the_tokenizer_is_made(corpora, run_dir):
    train, valid = corpora
    for times in (1, 0):
        said = []
        prepare(recipe(tokenizer={"vocab_size": 9000}), [train], valid, run_dir, said.append)
        assert sum(line.startswith("tokenizer.vocab_size lowered from 9000") for line in said) == times


def test_progress_is_said_now_and_then(corpora, run_dir, monkeypatch):
    monkeypatch.setattr("tfcli.text.pairs.BLOCK_LINES", 100)
    monkeypatch.setattr(module, "_PROGRESS_SECONDS", -1.0)
    said = []
    prepare(recipe(), [corpora[0]], corpora[1], run_dir, said.append)
    assert "encoding train: 300 of 400 pairs" in said
