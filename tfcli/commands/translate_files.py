"""Which inputs `translate` reads, and which output each of them gets.

a file         -> -o FILE, or -o FOLDER/its name
a folder       -> every text file in it and below, the same tree below -o FOLDER
'docs/*.txt'   -> a pattern in quotes: what it matches, the tree below its fixed part kept
--suffix .de   -> in place of the input's own suffix, beside the input or below -o FOLDER
-              -> standard input as the one input, standard output after -o
"""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass
from pathlib import Path

from tfcli.commands.console import warn
from tfcli.errors import DataError, RecipeError
from tfcli.text.lines import UTF16_MARKS, open_binary, reading
from tfcli.wording import counted

COMPRESSED = (".gz", ".xz")
HEAD_BYTES = 8192  # git looks at the first 8,000 for a NUL to tell what is no text
SHOWN_FILES = 10
STANDARD = Path("-")


@dataclass(frozen=True)
class Job:
    """One input and its output; None stands for standard input or output."""

    source: Path | None
    target: Path | None


@dataclass(frozen=True)
class _Input:
    """A file to read; `name` is what is kept of its path below an output folder."""

    path: Path
    name: Path
    is_found: bool = False  # in a folder, rather than named


def find_jobs(files: list[Path], out: Path | None, suffix: str | None) -> list[Job]:
    """Pair every input with its output.

    Raises: RecipeError when inputs and outputs do not go together, DataError when an input is not there.
    """
    if suffix is not None and not re.fullmatch(r"(\.[^./\\]+)+", suffix):
        raise RecipeError(
            f"--suffix {suffix}: expected a dot and what follows it", "give it as in --suffix .de"
        )
    if out == STANDARD:
        if suffix is not None:
            raise RecipeError("-o - and --suffix contradict each other", "leave one of them out")
        out = None
    if not files or files == [STANDARD]:
        if suffix is not None:
            raise RecipeError("--suffix names outputs after inputs, but there is no input file", "name FILES")
        if out is not None and out.is_dir():
            raise RecipeError(f"{out}: a folder, but the input has no name", "give -o FILE")
        return [Job(None, out)]
    if out is not None and len(files) > 1 and out.exists() and not out.is_dir():
        raise RecipeError(f"{out}: a file, but there are {len(files)} inputs", "give -o FOLDER")
    inputs = [found for file in files for found in _expand(file, out, suffix)]
    if out is None and suffix is None:
        return [Job(found.path, None) for found in inputs]
    if out is not None and suffix is None and len(files) == 1 and not out.is_dir() and not inputs[0].is_found:
        jobs = [Job(inputs[0].path, out)]
    else:
        jobs = [Job(found.path, _target(found, out, suffix)) for found in inputs]
    _refuse_clashes(jobs)
    return jobs


def _expand(file: Path, out: Path | None, suffix: str | None) -> list[_Input]:
    """Return the files that an argument stands for."""
    if file.is_dir():
        if out is None and suffix is None:
            raise RecipeError(f"{file}: a folder, but its results have no place", "give -o FOLDER")
        found = [path for path in _files_below(file, out) if suffix is None or not path.name.endswith(suffix)]
        found = _texts_of(file, found)
        if not found:
            raise DataError(
                f"{file}: no text files in this folder", "check the path; hidden files do not count"
            )
        return [_Input(path, path.relative_to(file), is_found=True) for path in found]
    if file.exists():
        return [_Input(file, Path(file.name))]
    if not glob.has_magic(str(file)):
        raise DataError(f"{file}: no such file", "check the path")
    fixed = Path()
    for part in file.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed /= part
    names = glob.glob(str(file), recursive=True)  # noqa: PTH207  # as shells, and unlike Path.glob, not hidden files
    matches = sorted(path for path in map(Path, names) if path.is_file())
    if not matches:
        raise DataError(f"{file}: no file matches", "check the path")
    return [_Input(path, path.relative_to(fixed), is_found=True) for path in matches]


def _files_below(folder: Path, out: Path | None) -> list[Path]:
    """Return the files of a folder and those below it but hidden ones; outputs of an earlier time are no input."""
    outputs = out.resolve() if out is not None else None
    found = []
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and (here / name).resolve() != outputs
        )
        found += [here / name for name in sorted(names) if not name.startswith(".")]
    return [path for path in found if path.is_file()]


def _texts_of(folder: Path, paths: list[Path]) -> list[Path]:
    """Leave out what is no text, and tell so."""
    others = {path for path in paths if _is_binary(path)}
    if others:
        shown = sorted(str(path.relative_to(folder)) for path in others)[:SHOWN_FILES]
        more = ", ..." if len(others) > SHOWN_FILES else ""
        warn(
            f"{folder}: {counted(len(others), 'file')} left out as no text (NUL bytes in the first 8 KiB): "
            f"{', '.join(shown)}{more}"
        )
    return [path for path in paths if path not in others]


def _is_binary(path: Path) -> bool:
    """Tell whether a file, unpacked, begins as no text does; what cannot be read is left to its reader to complain of."""
    try:
        with reading(path), open_binary(path) as stream:
            head = stream.read(HEAD_BYTES)
    except DataError:
        return False
    return b"\0" in head and not head.startswith(UTF16_MARKS)


def _target(found: _Input, out: Path | None, suffix: str | None) -> Path:
    name = found.name.with_suffix("") if found.name.suffix in COMPRESSED else found.name
    if suffix is None:
        assert out is not None
        return out / name
    name = name.with_name(name.stem + suffix)
    return out / name if out is not None else found.path.with_name(name.name)


def _refuse_clashes(jobs: list[Job]) -> None:
    """Refuse what would overwrite an input, or write two translations into one file."""
    writers: dict[Path, Path] = {}
    for source, target in ((job.source, job.target) for job in jobs):
        assert source is not None
        assert target is not None
        if target in writers:
            raise RecipeError(f"several inputs would become {target}", "take them one by one")
        writers[target] = source
    sources = {source.resolve(): source for source in writers.values()}
    for target, source in writers.items():
        hit = sources.get(target.resolve())
        if hit is not None:
            whose = "its own" if hit == source else "another input's"
            raise RecipeError(f"{hit}: would be overwritten by {whose} result", "give another -o")
