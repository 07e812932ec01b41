"""The test sets that sacreBLEU knows by name, as `wmt22` for a pair of languages: looked up, and fetched if allowed.

sacreBLEU keeps them in ~/.sacrebleu, or where the environment variable SACREBLEU says.
"""

from __future__ import annotations

import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfcli.errors import DataError, RecipeError
from tfcli.recipe.complaints import nearest
from tfcli.scoring.evaluation import HeldOutSet
from tfcli.text.lines import read_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

SILENCE_SECONDS = 30.0
"""So long a server may say nothing; sacreBLEU would wait for ever."""


def read_testset(name: str, langpair: str | None, *, fetch: bool) -> HeldOutSet:
    """Return a test set by sacreBLEU's name for it; `fetch` lets sacreBLEU fetch what is not there.

    Raises: RecipeError for a name or a pair of languages that sacreBLEU does not know, DataError when the set is not
    there and may not or cannot be fetched.
    """
    dataset = _dataset(name, langpair)
    assert langpair is not None
    if not (_is_there(dataset, langpair) or fetch):
        raise DataError(
            f"--testset {name}: it is not in {_folder(dataset)}, and nothing is fetched without being asked",
            _remedy(dataset, name, langpair),
        )
    with _bounded_silence():
        try:
            src = Path(dataset.get_source_file(langpair))
            references = [Path(file) for file in dataset.get_reference_files(langpair)]
        except (
            Exception,
            SystemExit,
        ) as error:  # what comes depends on the network, the disk and the archive
            reason = str(error) if isinstance(error, Exception) and str(error) else type(error).__name__
            raise DataError(
                f"--testset {name}: sacreBLEU cannot make it ready: {reason}",
                _remedy(dataset, name, langpair),
            ) from error
    called = f"{name}-{langpair}".replace("/", "_")
    held_out = HeldOutSet(called, list(read_lines(src)), [list(read_lines(file)) for file in references])
    if not held_out.references or any(len(lines) != len(held_out.src or []) for lines in held_out.references):
        raise DataError(
            f"--testset {name}: the files in {src.parent} are incomplete",
            f"remove {src.parent} and fetch it again",
        )
    return held_out


def _dataset(name: str, langpair: str | None) -> Any:
    """Return sacreBLEU's dataset, whose methods have no types, if it has this pair of languages."""
    from sacrebleu.dataset import DATASETS

    if name not in DATASETS:
        near = nearest(name, list(DATASETS))
        raise RecipeError(
            f"--testset {name}: sacreBLEU knows no such test set"
            + (f", did you mean {near!r}?" if near else ""),
            f"it knows: {', '.join(sorted(DATASETS))}",
        )
    dataset = DATASETS[name]
    pairs = sorted(dataset.langpairs)
    if langpair not in pairs:
        near = nearest(langpair, pairs) if langpair is not None else None
        problem = (
            f"--langpair {langpair}: {name} has no such pair" if langpair else "--testset needs a --langpair"
        )
        raise RecipeError(
            problem + (f", did you mean {near!r}?" if near else ""), f"{name} has: {', '.join(pairs)}"
        )
    return dataset


def _is_there(dataset: Any, langpair: str) -> bool:
    """Tell whether sacreBLEU has the text, or at least the archive to take it from.

    Of some sets it must look into the archive to know which references there are, so the archive has to be there.
    """
    archives = [Path(dataset._rawdir) / dataset._get_tarball_filename(url) for url in dataset.data or []]  # noqa: SLF001
    if all(path.is_file() and path.stat().st_size for path in archives):
        return True
    from sacrebleu.dataset.wmt_xml import WMTXMLDataset

    if isinstance(dataset, WMTXMLDataset):
        return False
    return all(
        Path(dataset._get_txt_file_path(langpair, field)).is_file()  # noqa: SLF001
        for field in dataset.fieldnames(langpair)
    )


def _folder(dataset: Any) -> str:
    return str(dataset._outdir)  # noqa: SLF001


def _remedy(dataset: Any, name: str, langpair: str) -> str:
    return (
        f"--fetch has sacreBLEU fetch it from {' and '.join(dataset.data or [])}; without a network, run "
        f"`sacrebleu -t {name} -l {langpair} --echo src` elsewhere and copy its folder to {_folder(dataset)}"
    )


@contextmanager
def _bounded_silence() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
