"""Write the embedded corpus, or check that what is committed is what this program makes.

    python data/make_corpus.py            writes data/demo/
    python data/make_corpus.py --check    exits 1 and says what differs

Steps: draw sentences; give each to the split that its combinations of words belong to; drop held-out
sentences with a word that training does not have; compress.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import sys
from pathlib import Path

from dice import Dice
from grammar import Grammar
from sentences import Combination, Sentence, Sentences

FOLDER = Path(__file__).resolve().parent / "demo"
SEED = 2017
SIZES = {"train": 20_000, "valid": 500, "test": 500}
HELD_OUT_PERMILLE = 40  # of all combinations, for each of valid and test
ZLIB_OF_COMMITTED_FILES = "1.2.13"  # another zlib may compress the same text to other bytes


def split_of(combination: Combination) -> str:
    """Return the only split that a combination may occur in; "train" ones may occur in all."""
    digest = hashlib.sha256("|".join(combination).encode()).digest()
    place = int.from_bytes(digest[:4], "big") % 1000
    if place < HELD_OUT_PERMILLE:
        return "test"
    return "valid" if place < 2 * HELD_OUT_PERMILLE else "train"


def words(text: str) -> list[str]:
    """Return the words of a sentence as they stand, without punctuation."""
    return re.findall(r"\w+", text)


def make_splits() -> dict[str, list[Sentence]]:
    """Return the sentences of every split, in the order in which they were drawn.

    Raises: ValueError if one English sentence comes out with two German ones.
    """
    source = Sentences(Grammar(Dice(SEED)))
    seen: dict[str, str] = {}
    drawn: dict[str, list[Sentence]] = {split: [] for split in SIZES}
    # twice as many held-out ones, since some of their words may turn out to be missing from training
    needed = {split: size if split == "train" else 2 * size for split, size in SIZES.items()}
    while any(len(drawn[split]) < size for split, size in needed.items()):
        sentence = source.draw()
        if sentence.en in seen:
            if seen[sentence.en] != sentence.de:
                raise ValueError(f"two translations: {sentence.en}: {seen[sentence.en]} / {sentence.de}")
            continue
        seen[sentence.en] = sentence.de
        splits = {split_of(pair) for pair in sentence.combinations} - {"train"}
        if len(splits) < 2:
            drawn[splits.pop() if splits else "train"].append(sentence)
    train = drawn["train"][: SIZES["train"]]
    known = {word for sentence in train for text in (sentence.en, sentence.de) for word in words(text)}
    splits_made = {"train": train}
    for split in ("valid", "test"):
        kept = [s for s in drawn[split] if known.issuperset(words(s.en) + words(s.de))]
        splits_made[split] = kept[: SIZES[split]]
    return splits_made


def sample_of(test: list[Sentence]) -> list[Sentence]:
    """Return ten test sentences, of every kind there is."""
    by_kind = {kind: [s for s in test if s.kind == kind] for kind in sorted({s.kind for s in test})}
    sample = [sentences[turn] for turn in range(2) for sentences in by_kind.values()]
    return sample[:10]


def make_files(splits: dict[str, list[Sentence]]) -> dict[str, bytes]:
    """Return the uncompressed content of every file, by the name that it is committed under."""
    files = {}
    for split, sentences in splits.items():
        files[f"{split}.en.gz"] = _text([sentence.en for sentence in sentences])
        files[f"{split}.de.gz"] = _text([sentence.de for sentence in sentences])
    sample = sample_of(splits["test"])
    # a blank line in the middle, since a blank line must stay one
    files["sample.en"] = _text([*(s.en for s in sample[:5]), "", *(s.en for s in sample[5:])])
    files["sample.de"] = _text([*(s.de for s in sample[:5]), "", *(s.de for s in sample[5:])])
    return files


def _text(lines: list[str]) -> bytes:
    return "".join(line + "\n" for line in lines).encode()


def compress(content: bytes) -> bytes:
    """Return gzip bytes without time or file name, so that they depend on the content and zlib alone."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=buffer, mtime=0) as stream:
        stream.write(content)
    return buffer.getvalue()


def write(folder: Path, files: dict[str, bytes]) -> None:
    """Write all files into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(compress(content) if name.endswith(".gz") else content)


def differences(folder: Path, files: dict[str, bytes]) -> list[str]:
    """Return what is missing from the folder or has other content, a line each; compression may differ."""
    found = []
    for name, content in files.items():
        path = folder / name
        if not path.exists():
            found.append(f"{path}: missing")
            continue
        stored = path.read_bytes()
        if (gzip.decompress(stored) if name.endswith(".gz") else stored) != content:
            found.append(f"{path}: not what data/make_corpus.py makes")
    return found


def main(arguments: list[str]) -> int:
    """Write or check the corpus; return the exit status."""
    if arguments == ["--check"]:
        found = differences(FOLDER, make_files(make_splits()))
        print("\n".join(found) or f"{FOLDER} is what data/make_corpus.py makes")
        return 1 if found else 0
    if arguments:
        print("usage: python data/make_corpus.py [--check]", file=sys.stderr)
        return 2
    write(FOLDER, make_files(make_splits()))
    for path in sorted(FOLDER.iterdir()):
        print(f"{path.stat().st_size:>8,} bytes  {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
