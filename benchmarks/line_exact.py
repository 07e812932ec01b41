"""Whether lines out are lines in: `tfcli translate` on thousands of generated files full of odd bytes.

    python benchmarks/line_exact.py [--files 10000] [--seed 1]

The engine gives back what it gets, so each output is known to the byte: blank lines blank, what is no UTF-8 replaced.
Files go by the hundred through a folder (every third one compressed, every fifth one below another folder), and each
of them through standard input.
"""

import argparse
import contextlib
import gzip
import io
import os
import random
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import tfcli.commands.translate as verb  # noqa: E402
from tests.fake_translation import echo_translator, echoed  # noqa: E402
from tfcli.app import main as tfcli  # noqa: E402
from tfcli.decoding import loading  # noqa: E402

BATCH = 100
PARTS = [
    b"\n", b"\n", b"\n\n", b" ", b"  \n", b"\r\n", b"\r", b"\t", b"\0", b"\f", b"\v", b"\x1c", b"\x1d", b"\x1e",
    *(mark.encode() for mark in "\ufeff\u0085\u2028\u2029\u3000\u00a0\u200b"), b"\xff", b"\xc3", b"\xe2\x80",
    b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"word", b"A sentence. ", "Größe, ".encode(), "好。".encode(), "😀".encode(),
]  # fmt: skip


def main() -> None:
    """Print how many files were wrong; end with 1 if any was."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    loading.load_translator = lambda *_, **__: echo_translator()
    verb.WINDOW_LINES = 7
    os.fsync = lambda _: None  # nothing is killed here
    rng = random.Random(args.seed)
    failures = lines = 0
    start_time = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tfcli-lines-") as name:
        os.chdir(name)
        Path("model").mkdir()
        Path("model/config.json").write_text("{}")
        for first in range(0, args.files, BATCH):
            contents = [content(rng) for _ in range(min(BATCH, args.files - first))]
            lines += sum(text.count(b"\n") + (not text.endswith(b"\n") and text != b"") for text in contents)
            failures += wrong_in_folder(contents, first) + sum(map(wrong_from_stdin, contents))
            if (first // BATCH) % 10 == 9:
                print(f"{first + len(contents):,} files, {lines:,} lines: {failures} failures", flush=True)
    print(
        f"{args.files:,} files, {lines:,} lines, {time.monotonic() - start_time:.0f} s: {failures} failures"
    )
    sys.exit(1 if failures else 0)


def content(rng: random.Random) -> bytes:
    """Return what a file holds: mostly odd pieces in a row, sometimes random bytes, rarely a very long line."""
    kind = rng.random()
    if kind < 0.03:
        return b""
    if kind < 0.2:
        return rng.randbytes(rng.randrange(200))
    text = b"".join(rng.choices(PARTS, k=rng.randrange(60)))
    if kind < 0.205:
        text += rng.choice((b"x", b"A sentence. ", b"a, ", b"word ")) * 30_000 + text
    return text


def wrong_in_folder(contents: list[bytes], first: int) -> int:
    """Translate a folder and return how many outputs are not as they must be."""
    source, target = Path(f"in-{first}"), Path(f"out-{first}")
    (source / "deep").mkdir(parents=True)
    outputs = []
    for number, text in enumerate(contents):
        place = Path("deep" if number % 5 == 4 else ".") / f"{number}.txt"
        outputs.append(target / place)
        if number % 3 == 2:
            (source / f"{place}.gz").write_bytes(gzip.compress(text))
        else:
            (source / place).write_bytes(text)
    code, _ = run(str(source), "-o", str(target))
    if code:
        return len(contents)
    found = [path.read_bytes() if path.exists() else None for path in outputs]
    return sum(out != echoed(text) for out, text in zip(found, contents, strict=True))


def wrong_from_stdin(text: bytes) -> bool:
    """Translate standard input and tell whether what comes out is not as it must be."""
    code, out = run(stdin=text)
    return bool(code) or out != echoed(text)


def run(*arguments: str, stdin: bytes = b"") -> tuple[int, bytes]:
    """Run the verb; return its exit code and what it wrote on standard output."""
    before = sys.stdin
    sys.stdin, out = io.TextIOWrapper(io.BytesIO(stdin)), io.TextIOWrapper(io.BytesIO())
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            code = tfcli(["translate", "model", *arguments, "-q"])
    finally:
        sys.stdin = before
    return code, out.buffer.getvalue()


if __name__ == "__main__":
    main()
