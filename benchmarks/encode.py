"""How fast a large corpus is prepared, and in how much memory; with --train-steps, in how much it trains.

    python benchmarks/encode.py [--pairs 1000000] [--train-steps 300] [--set KEY=VALUE]

1. A corpus of generated text is written into a temporary folder (TMPDIR says where): words of random syllables, their
   frequencies by Zipf's law, about twelve a sentence. 20,000,000 pairs and what is made of them take 6 GB there.
2. `tfcli tokenize` prepares it: checksums, tokenizer, cleaning and encoding, told apart by the files that appear.
3. SentencePiece alone encodes 40,000 pairs of the same kind on one core, from memory and to memory, three times.
4. With --train-steps, `tfcli train` trains preset `tiny` on it for so many steps.

Memory is that of all processes together, the largest of what was seen ten times a second: `pss` divides shared pages
among those who share them, `rss` counts them for each; both count pages of mapped files, which the system may drop.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CHUNK_PAIRS = 100_000
ALONE_PAIRS = 40_000
N_WORDS = 50_000
SIDES = ("src", "tgt")
RECIPE = """\
name: synthetic
data:
  root: {folder}
  train: [{{src: train.src, tgt: train.tgt}}]
  valid: {{src: valid.src, tgt: valid.tgt}}
tokenizer: {{vocab_size: 8000, training_sentences: 200000}}
model: {{preset: tiny}}
training: {{batch_tokens: 2048, max_steps: {steps}, validate_every: {steps}, checkpoint_every: {steps}}}
decoding: {{beam_size: 1, max_output_ratio: 1.0, max_output_extra: 4}}
"""
ALONE = """
import json, sys, time
import sentencepiece
processor = sentencepiece.SentencePieceProcessor(model_file=sys.argv[1])
sides = [open(path, "rb").read().decode().split("\\n")[:-1] for path in sys.argv[2:]]
start = time.perf_counter()
for side in sides:
    for i in range(0, len(side), 8192):
        processor.encode(side[i : i + 8192], out_type=int, num_threads=1)
print(len(sides[0]) / (time.perf_counter() - start))
"""


def main() -> None:
    """Measure and print a table, then everything as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--train-steps", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes")
    args = parser.parse_args()
    options = [word for change in args.changes for word in ("--set", change)]
    with tempfile.TemporaryDirectory(prefix="tfcli-encode-") as name:
        folder = Path(name)
        start_time = time.perf_counter()
        write_corpus(folder, args.pairs)
        print(
            f"text: {gigabytes(folder):.2f} GB, {time.perf_counter() - start_time:.0f} s to make", flush=True
        )
        (folder / "recipe.yaml").write_text(RECIPE.format(folder=folder, steps=max(1, args.train_steps)))
        cores = len(os.sched_getaffinity(0))
        found = {"pairs": args.pairs, "cores": cores, "encode": encode(folder, args.pairs, options)}
        if args.train_steps:
            command = ["train", folder / "recipe.yaml", "--out", folder / "run", "-q", *options]
            seconds, _, peak = watch(command, {})
            found["train"] = {"steps": args.train_steps, "seconds": seconds, "peak_mib": peak}
            print(f"train: {args.train_steps} steps, {seconds:.0f} s with start and end, {mib(peak)}")
        print(f"all files in the end: {gigabytes(folder):.2f} GB")
    print(json.dumps(found, indent=1))


def write_corpus(folder: Path, pairs: int) -> None:
    """Write text for training, validation and SentencePiece alone; the same every time."""
    for number, side in enumerate(SIDES):
        words = np.array(made_up_words(np.random.default_rng(number)), dtype=object)
        for other, (name, lines) in enumerate((("train", pairs), ("valid", 500), ("alone", ALONE_PAIRS))):
            # of a pair, both lengths come from the same generator and agree more or less
            lengths_of, words_of = np.random.default_rng(10 + other), np.random.default_rng((number, other))
            with (folder / f"{name}.{side}").open("wb") as out:
                for start in range(0, lines, CHUNK_PAIRS):
                    n = min(CHUNK_PAIRS, lines - start)
                    lengths = lengths_of.normal(12, 4, n) + words_of.normal(0, 1, n)
                    out.write(
                        made_up_text(words_of, words, np.clip(np.rint(lengths), 2, 40).astype(np.int64))
                    )


def made_up_text(rng: np.random.Generator, words: np.ndarray, lengths: np.ndarray) -> bytes:
    """Return lines of so many words each."""
    # Zipf: with p(rank) ~ 1/rank, the rank grows exponentially with a uniform number
    ranks = np.exp(rng.random(int(lengths.sum())) * np.log(len(words))).astype(np.int64)
    drawn = words[np.minimum(ranks, len(words)) - 1]
    drawn[np.cumsum(lengths) - 1] += b" .\n"
    return b" ".join(drawn.tolist()).replace(b"\n ", b"\n")


def made_up_words(rng: np.random.Generator) -> list[bytes]:
    """Return different words of one to five syllables, the shortest first."""
    onsets = [
        "b",
        "br",
        "d",
        "f",
        "fl",
        "g",
        "gr",
        "h",
        "j",
        "k",
        "kl",
        "l",
        "m",
        "n",
        "p",
        "pr",
        "r",
        "s",
        "sch",
        "st",
        "t",
        "tr",
        "v",
        "w",
        "z",
    ]
    rhymes = [
        "a",
        "ach",
        "ä",
        "e",
        "ei",
        "el",
        "en",
        "er",
        "i",
        "ie",
        "in",
        "o",
        "on",
        "ö",
        "u",
        "um",
        "ung",
        "ü",
    ]
    words: dict[str, None] = {}
    while len(words) < N_WORDS:
        syllables = rng.integers(1, 6)
        onset, rhyme = rng.integers(len(onsets), size=syllables), rng.integers(len(rhymes), size=syllables)
        words["".join(onsets[a] + rhymes[b] for a, b in zip(onset, rhyme, strict=True))] = None
    return [word.encode() for word in sorted(words, key=lambda word: (len(word), word))]


def encode(folder: Path, pairs: int, options: list[str]) -> dict[str, object]:
    """Prepare the corpus, and return rates and memory."""
    run = folder / "run"
    marks = {
        "checksums": run / "corpus" / "files.json",
        "tokenizer": run / "corpus" / "tokenizer.json",
        "encoding": run / "corpus" / "train" / "record.json",
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = ["tokenize", folder / "recipe.yaml", "--out", run, *options]
    seconds, phases, peak = watch(command, marks)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    alone = [sentencepiece_alone(folder) for _ in range(3)]
    without_tokenizer = seconds - phases["tokenizer"]["seconds"]
    found = {
        "pairs_per_second": pairs / phases["encoding"]["seconds"],
        "pairs_per_second_without_tokenizer": pairs / without_tokenizer,
        "sentencepiece_alone_one_core": alone,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "phases": phases,
        "peak_mib": peak,
    }
    for name, phase in phases.items():
        print(
            f"{name}: {phase['seconds']:.1f} s, {pairs / phase['seconds']:,.0f} pairs/s, {mib(phase['peak_mib'])}"
        )
    print(
        f"all but the tokenizer: {without_tokenizer:.1f} s, {pairs / without_tokenizer:,.0f} pairs/s\n"
        f"the whole command: {seconds:.1f} s, {cpu:.1f} s of CPU, {mib(peak)}\n"
        f"SentencePiece alone, one core: {', '.join(f'{rate:,.0f}' for rate in alone)} pairs/s",
        flush=True,
    )
    return found


def sentencepiece_alone(folder: Path) -> float:
    """Return how many pairs a second SentencePiece encodes on one core as the machine is now."""
    command = [
        sys.executable,
        "-c",
        ALONE,
        folder / "run" / "tokenizer.model",
        *(folder / f"alone.{side}" for side in SIDES),
    ]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def watch(
    arguments: list[object], marks: dict[str, Path]
) -> tuple[float, dict[str, dict[str, object]], dict[str, float]]:
    """Run tfcli; return its seconds, those of each phase, which ends when its file appears, and the peaks of memory."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    start_time = last_time = time.perf_counter()
    phases: dict[str, dict[str, object]] = {}
    waiting = dict(marks)
    peak: dict[str, float] = {}
    whole: dict[str, float] = {}
    command = [sys.executable, "-m", "tfcli", *map(str, arguments)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            seen = memory(process.pid)
            peak, whole = larger(peak, seen), larger(whole, seen)
            for name, path in list(waiting.items())[:1]:
                if path.exists():
                    now = time.perf_counter()
                    phases[name] = {"seconds": now - last_time, "peak_mib": peak}
                    last_time = now
                    peak = {}
                    del waiting[name]
            time.sleep(0.1)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - start_time, phases, whole


def larger(peak: dict[str, float], seen: dict[str, float]) -> dict[str, float]:
    """Return of each kind of memory the larger figure."""
    return {kind: max(value, peak.get(kind, 0.0)) for kind, value in seen.items()}


def memory(pid: int) -> dict[str, float]:
    """Return the memory in MiB that a process and all it has started have together."""
    family = [pid]
    for member in family:
        try:
            children = Path(f"/proc/{member}/task/{member}/children").read_text()
        except OSError:  # it has just ended
            continue
        family += map(int, children.split())
    sums = {"pss": 0.0, "rss": 0.0, "anonymous": 0.0}
    names = {"Pss": "pss", "Rss": "rss", "Anonymous": "anonymous"}
    for member in family:
        try:
            rollup = Path(f"/proc/{member}/smaps_rollup").read_text()
        except OSError:
            continue
        for line in rollup.split("\n"):
            key, _, value = line.partition(":")
            if key in names:
                sums[names[key]] += int(value.split()[0]) / 1024
    return sums


def mib(peak: object) -> str:
    """Return peaks for readers."""
    return " ".join(f"{kind} {value:,.0f}" for kind, value in dict(peak).items()) + " MiB"  # type: ignore[call-overload]


def gigabytes(folder: Path) -> float:
    """Return the size of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e9


if __name__ == "__main__":
    main()
