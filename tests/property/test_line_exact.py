"""Lines out are lines in, whatever the bytes are and however they come: by standard input, as files or in a folder."""

import gzip
import io
import re
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.fake_translation import echoed, use_echo
from tfcli.app import main
from tfcli.commands import console

ODD = [
    b"\r", b"\r\n", b"\n", b" ", b"\t", b"\0", b"\f", b"\x1c", "\ufeff".encode(), "\u0085".encode(),
    "\u2028".encode(), "\u2029".encode(), "\u3000".encode(), b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
    "\u200b".encode(), "e\u0301".encode(), "\U0001f600".encode(), b"a", b". ", b"word ",
]  # fmt: skip
lines = st.one_of(
    st.binary(max_size=20),
    st.lists(st.sampled_from(ODD), max_size=8).map(b"".join),
    st.text(max_size=10).map(lambda text: text.encode("utf-8", "surrogatepass")),
)
contents = st.builds(
    lambda parts, end: b"\n".join(parts) + end,
    st.lists(lines, max_size=8),
    st.sampled_from([b"", b"\n", b"\r\n"]),
)
LONG = b"x" * 100_000 + b"\n" + b"One sentence. " * 7_000 + b"\n" + b"a, " * 33_000 + b"end"


@pytest.fixture(scope="module", autouse=True)
def _echoes(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        use_echo(patch, tmp_path_factory.mktemp("echo"))
        yield


def translated(*arguments, stdin=b""):
    """Run the command; return what it wrote on both streams."""
    with pytest.MonkeyPatch.context() as patch:
        out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        console._console.cache_clear()
        code = main(["translate", "model", *arguments])
        console._console.cache_clear()
        assert code == 0, err.getvalue()
        return out.buffer.getvalue(), err.getvalue()


def is_utf8(line):
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def examples(count):
    return settings(max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@examples(50)
@example(b"")
@example(b"\n")
@example(b"\r")
@example(LONG)
@given(contents)
def test_standard_input(content):
    out, err = translated(stdin=content)
    assert out == echoed(content)
    assert out.count(b"\n") == content.count(b"\n")
    broken = [number for number, line in enumerate(content.split(b"\n"), start=1) if not is_utf8(line)]
    told = re.search(r"replaced in (\d+) lines?: ([\d, ]+)", err)
    assert (told is not None) == bool(broken)
    if told is not None:
        assert int(told[1]) == len(broken)
        assert [int(number) for number in re.findall(r"\d+", told[2])] == broken[:10]


@examples(20)
@example([LONG, b"", b"\xff"])
@given(st.lists(contents.filter(lambda content: b"\0" not in content), min_size=1, max_size=4))
def test_files_and_folders(many):  # of a folder, files with NUL are left out
    for name in ("in", "out", "tree"):
        shutil.rmtree(name, ignore_errors=True)
    Path("in/deep").mkdir(parents=True)
    paths = [Path("in/deep" if i % 2 else "in") / f"{i}.txt" for i in range(len(many))]
    for i, (path, content) in enumerate(zip(paths, many, strict=True)):
        packed = i % 3 == 2
        path.with_name(path.name + ".gz" * packed).write_bytes(gzip.compress(content) if packed else content)
    files = [str(path) for path in sorted(Path("in").rglob("*.*"))]
    translated(*files, "-o", "out/" if len(files) > 1 else "out/0.txt")
    translated("in", "-o", "tree", "--suffix", ".out.gz")
    for path, content in zip(paths, many, strict=True):
        assert Path("out", path.name).read_bytes() == echoed(content)
        packed = Path("tree", path.relative_to("in")).with_suffix(".out.gz")
        assert gzip.decompress(packed.read_bytes()) == echoed(content)
    out, _ = translated(*files)
    separate = [
        echoed(dict(zip(map(str, paths), many, strict=True))[name.removesuffix(".gz")]) for name in files
    ]
    assert out == b"".join(
        part + b"\n" * (not part.endswith(b"\n") and any(separate[i + 1 :])) if part else b""
        for i, part in enumerate(separate)
    )


columns = lines.map(lambda line: line.replace(b"\n", b"").replace(b"\t", b""))


@examples(25)
@given(st.lists(st.lists(columns, min_size=2, max_size=4), max_size=6), st.booleans())
def test_a_column_is_translated_and_all_else_stays(rows, with_returns):
    rows = [[column.replace(b"\r", b"") for column in row] for row in rows]
    end = b"\r\n" if with_returns else b"\n"
    content = b"".join(b"\t".join(row) + end for row in rows)
    out, _ = translated("--column", "2", stdin=content)
    got = out.split(b"\n")[:-1]
    assert len(got) == len(rows)
    for row, line in zip(rows, got, strict=True):
        assert line.removesuffix(b"\r").split(b"\t") == [*row, echoed(row[1])]
        assert line.endswith(b"\r") == with_returns
