"""Find the data files that a recipe names, fetch those that are not there, and check what they hold.

    path in the recipe -> first data root that holds it | fetched into the first root -> SHA-256 -> CorpusFiles

A fetched file is written beside, checked, and only then given its name: what has the name is whole.
"""

from __future__ import annotations

import difflib
import gzip
import hashlib
import http.client
import lzma
import os
import shutil
import time
import urllib.error
import urllib.request
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from tfcli import __version__
from tfcli.errors import DataError
from tfcli.text.labelled import LabelFields
from tfcli.text.lines import UTF16_MARKS, open_binary, reading, utf16_error
from tfcli.text.whole_file import beside
from tfcli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tfcli.recipe.corpora import Corpus
    from tfcli.recipe.schema import Recipe

SIDES = ("src", "tgt", "tsv", "jsonl", "text")
CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 60.0  # without a byte; the whole may take as long as it takes
REPORT_SECONDS = 5.0
SIMILARITY = (
    0.8  # difflib's ratio; names of text files have much in common: valid.de is not train.de mistyped
)
# How a file starts says how it is compressed; neither is the start of UTF-8 text.
MAGIC = {b"\x1f\x8b": ".gz", b"\xfd7zXZ\x00": ".xz"}


@dataclass(frozen=True)
class CorpusFiles:
    """The files of a corpus, where they are: `src` and `tgt`, or `tsv`, `jsonl` or `text`.

    `fields` are of text with labels, which takes the place of a target.
    """

    src: Path | None
    tgt: Path | None
    tsv: Path | None
    jsonl: Path | None = None
    fields: LabelFields | None = None
    text: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files in the order of the sides: two, or the one TSV, JSON lines or text file."""
        if alone := self.tsv or self.jsonl or self.text:
            return (alone,)
        if self.src is None or self.tgt is None:
            raise ValueError("corpus files need a source and a target, or a TSV file")
        return (self.src, self.tgt)


@dataclass(frozen=True)
class _Wanted:
    """One file that a recipe names; `key` is the recipe key that names it, `others` are the corpus's other files."""

    key: str
    path: str
    url: str | None
    sha256: str | None
    others: tuple[str, ...]


def data_roots(recipe: Recipe, recipe_dir: Path, override: Path | None) -> list[Path]:
    """Return the folders that relative data paths start from, the first that holds a file winning.

    `override` (`--data-root`) comes first, then the folder that TFCLI_DATA names, then the recipe's `data.root`,
    relative to `recipe_dir`.
    """
    roots = [override] if override is not None else []
    named = os.environ.get("TFCLI_DATA")
    if named:
        roots.append(Path(named))
    return [*roots, recipe_dir / Path(recipe.data.root).expanduser()]


def locate_in(
    recipe: Recipe, corpus: Corpus, roots: list[Path], key: str, report: Callable[[str], None]
) -> CorpusFiles:
    """Return where a corpus of a recipe lies, as `locate` does, and in which fields a classifier's texts and labels.

    Raises: DataError.
    """
    files = locate(corpus, roots, key, report)
    if recipe.task != "classification":
        return files
    return replace(files, fields=LabelFields.of(recipe.data, is_json=files.jsonl is not None))


def locate(corpus: Corpus, roots: list[Path], key: str, report: Callable[[str], None]) -> CorpusFiles:
    """Return where a corpus lies, having fetched what is not there and verified what has a checksum.

    `key` is the corpus's place in the recipe, as in `data.train[0]`; `report` is told of downloads, and warned
    when both sides are one file.

    Raises: DataError when a file is missing, empty or cannot be fetched, or is not what its checksum says.
    """
    found: dict[str, Path | None] = dict.fromkeys(SIDES)
    for side in SIDES:
        path = getattr(corpus, side)
        if path is not None:
            url, sha256 = getattr(corpus, f"{side}_url"), getattr(corpus, f"{side}_sha256")
            others = tuple(name for other in SIDES if other != side and (name := getattr(corpus, other)))
            wanted = _Wanted(f"{key}.{side}", path, url, sha256, others)
            found[side] = _locate_file(wanted, roots, report)
    files = CorpusFiles(found["src"], found["tgt"], found["tsv"], found["jsonl"], text=found["text"])
    if files.src is not None and files.tgt is not None and files.src.samefile(files.tgt):
        report(f"warning: {key}: src and tgt are the same file, {files.src}; is one of the two names wrong?")
    return files


def sha256_of_content(path: Path) -> str:
    """Return the SHA-256 of a file's uncompressed content, in hexadecimal.

    Raises: DataError when it cannot be read.
    """
    return digest_of_content(path)[0]


def digest_of_content(path: Path, stop_asked: Callable[[], bool] = lambda: False) -> tuple[str, int]:
    """Return the SHA-256 of a file's uncompressed content, in hexadecimal, and the number of its lines.

    Both are of no use when it was asked to stop.

    Raises: DataError when it cannot be read.
    """
    digest, lines, last = hashlib.sha256(), 0, b"\n"
    with reading(path), open_binary(path) as stream:
        while (chunk := stream.read(CHUNK_BYTES)) and not stop_asked():
            digest.update(chunk)
            lines += chunk.count(b"\n")
            last = chunk
    return digest.hexdigest(), lines if last.endswith(b"\n") else lines + 1


def require_text(path: Path, name: str, others: Sequence[Path] = ()) -> None:
    """Refuse a file that is missing, empty, UTF-16 or cannot be read, before work on it begins; `name` is its option's.

    `others` are files that it is certainly not meant to be.

    Raises: DataError.
    """
    if not path.is_file():
        _refuse_what_is_no_file(path, name)
        similar = _similar([path], [other.name for other in others])
        raise DataError(
            f"{name}: no file {path}", f"did you mean {similar}?" if similar else "check the path"
        )
    _refuse_what_is_no_text(path, str(path), name, "replace it")


def _locate_file(wanted: _Wanted, roots: list[Path], report: Callable[[str], None]) -> Path:
    candidates = list(dict.fromkeys(root / Path(wanted.path).expanduser() for root in roots))
    for candidate in candidates:
        if candidate.is_file():
            remedy = "delete it to have it fetched again" if wanted.url else "replace it"
            _verify(candidate, str(candidate), wanted, remedy)
            return candidate
    if wanted.url is not None:
        return _fetch(wanted, wanted.url, candidates[0], report)
    for candidate in candidates:
        _refuse_what_is_no_file(candidate, wanted.key)
    similar = _similar(candidates, wanted.others)
    raise DataError(
        f"{wanted.key}: no file {wanted.path}; looked for {', '.join(str(path) for path in candidates)}",
        (f"did you mean {similar}? else " if similar else "")
        + "put it there, name its folder with --data-root or TFCLI_DATA, or say where to fetch it from "
        f"with {wanted.key}_url",
    )


def _refuse_what_is_no_file(path: Path, name: str) -> None:
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "a pipe or a device, and text is read more than once"
        raise DataError(f"{name}: {path} is {what}; expected a file", "give the name of a file")


def _similar(candidates: Sequence[Path], others: Sequence[str]) -> Path | None:
    """Return a file whose name is nearly that of a candidate, in the same folder; none of `others`."""
    for candidate in candidates:
        names: dict[str, Path] = {}
        with suppress(OSError):  # the folder may not be there, or not be readable
            names = {path.name.lower(): path for path in candidate.parent.iterdir() if path.is_file()}
        for other in others:
            names.pop(Path(other).name.lower(), None)
        close = difflib.get_close_matches(candidate.name.lower(), sorted(names), n=1, cutoff=SIMILARITY)
        if close:
            return names[close[0]]
    return None


def _refuse_what_is_no_text(path: Path, called: str, name: str, remedy: str) -> None:
    with reading(path), open_binary(path) as stream:
        start = stream.read(2)
    if not start:
        raise DataError(f"{name}: {called} is empty", f"{remedy}, or name another file")
    if start in UTF16_MARKS:  # its lines cannot even be counted
        raise utf16_error(f"{name}: {called}", path if called == str(path) else None)


def _verify(path: Path, called: str, wanted: _Wanted, remedy: str) -> None:
    """Refuse a file that cannot be read, is empty or has another checksum."""
    _refuse_what_is_no_text(path, called, wanted.key, remedy)
    if wanted.sha256 is None:
        return
    actual = sha256_of_content(path)
    if actual != wanted.sha256:
        raise DataError(
            f"{wanted.key}: {called} is not the file that the recipe means: the SHA-256 of its uncompressed content "
            f"is {actual}, expected {wanted.sha256}",
            f"{remedy}, or correct {wanted.key}_sha256",
        )


def _fetch(wanted: _Wanted, url: str, target: Path, report: Callable[[str], None]) -> Path:
    by_hand = f"fetch it by hand and save it as {target}"
    if not url.lower().startswith(("http://", "https://")):
        raise DataError(f"{wanted.key}_url: expected an http or https address, got {url}", by_hand)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with beside(target) as raw, beside(target) as packed:
            _download(url, raw, report)
            _repack(raw, packed, target.suffix)
            _verify(packed, f"what came from {url}", wanted, "look for another address")
            packed.replace(target)
    except _NETWORK_ERRORS as error:
        raise DataError(f"{wanted.key}: cannot fetch {url}: {_reason(error)}", by_hand) from None
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{wanted.key}: {url} sent a damaged compressed file ({error})", by_hand) from None
    except OSError as error:
        raise DataError(
            f"{wanted.key}: cannot write {target}: {error.strerror or error}",
            "check the permissions and the space, or choose another folder with --data-root",
        ) from None
    report(f"saved {target}")
    return target


class _TruncatedError(Exception):
    """A body shorter than the server announced."""


_NETWORK_ERRORS = (
    http.client.HTTPException,
    urllib.error.URLError,  # HTTPError, too
    ConnectionError,
    TimeoutError,
    ValueError,  # an address that urllib cannot make sense of
    _TruncatedError,
)


def _download(url: str, path: Path, report: Callable[[str], None]) -> None:
    report(f"fetching {url}")
    request = urllib.request.Request(url, headers={"User-Agent": f"tfcli/{__version__}"})  # noqa: S310  # http(s) only
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response, path.open("wb") as out:  # noqa: S310
        announced = response.headers.get("Content-Length")
        total = int(announced) if announced is not None and announced.isdigit() else None
        done, next_report_time = 0, time.monotonic() + REPORT_SECONDS
        while chunk := response.read(CHUNK_BYTES):
            out.write(chunk)
            done += len(chunk)
            if time.monotonic() >= next_report_time:
                report(f"fetching {url}: {_megabytes(done)}{f' of {_megabytes(total)}' if total else ''}")
                next_report_time = time.monotonic() + REPORT_SECONDS
    # http.client says nothing when a connection closes early, as long as it is read in pieces
    if total is not None and done != total:
        raise _TruncatedError(f"the connection closed after {done:,} of {counted(total, 'byte')}")


def _repack(raw: Path, packed: Path, suffix: str) -> None:
    """Write the content of `raw` to `packed`, compressed as `suffix` says; read all of it in any case.

    What is published plain may be kept compressed and the other way round: the checksum is the content's.
    """
    with raw.open("rb") as stream:
        start = stream.read(max(map(len, MAGIC)))
    came = next((kind for magic, kind in MAGIC.items() if start.startswith(magic)), "")
    if came == (suffix if suffix in MAGIC.values() else ""):
        with _uncompressed(raw, came) as source:  # shows a damaged file that came without its length
            while source.read(CHUNK_BYTES):
                pass
        raw.replace(packed)
    else:
        with _uncompressed(raw, came) as source, packed.open("wb") as out, _compressing(out, suffix) as sink:
            shutil.copyfileobj(source, sink, CHUNK_BYTES)
    with packed.open("rb") as whole:
        os.fsync(whole.fileno())


def _uncompressed(path: Path, kind: str) -> BinaryIO:
    if kind == ".gz":
        return cast("BinaryIO", gzip.open(path))
    return cast("BinaryIO", lzma.open(path)) if kind == ".xz" else path.open("rb")


@contextmanager
def _compressing(out: BinaryIO, suffix: str) -> Iterator[BinaryIO]:
    if suffix == ".gz":
        # no name and no time of day in it: the same content makes the same file
        with gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0) as sink:
            yield cast("BinaryIO", sink)
    elif suffix == ".xz":
        with lzma.open(out, "wb") as packer:
            yield cast("BinaryIO", packer)
    else:
        yield out


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        error.close()  # it holds the connection
        return f"the server answers {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(getattr(error.reason, "strerror", None) or error.reason)
    if isinstance(error, TimeoutError):
        return f"nothing came for {TIMEOUT_SECONDS:.0f} seconds"
    return str(error)


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB"
