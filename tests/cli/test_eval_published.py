"""The scores that WMT22 published of all its systems come out of `tfcli eval`, at full precision."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tfcli.app import main

TOKENIZERS = {"en-de": "13a", "de-en": "13a", "en-zh": "zh"}
# What was published for chrF against both references of en-zh came from an older sacreBLEU.
TOLERANCES = {("en-zh", "chrf-all"): 0.008}


@pytest.fixture(scope="module")
def wmt22() -> Path:
    root = Path(os.environ.get("TFCLI_DATA", "")) / "wmt22"
    if not os.environ.get("TFCLI_DATA") or not (root / "published-scores.tsv.gz").is_file():
        pytest.skip("TFCLI_DATA does not name a folder with wmt22/published-scores.tsv.gz")
    return root


@pytest.fixture(scope="module")
def published(wmt22: Path) -> dict[tuple[str, str, str], float]:
    """Return the scores by pair, system and metric, the metric's name ending in the reference."""
    table = gzip.decompress((wmt22 / "published-scores.tsv.gz").read_bytes()).decode()
    rows = [line.split("\t") for line in table.removesuffix("\n").split("\n")[1:]]
    found = {(row[0], row[1], row[4]): float(row[5]) for row in rows}
    assert len(found) == 186
    return found


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.parametrize("pair", TOKENIZERS)
@pytest.mark.parametrize("reference", ["A", "B", "all"])
def test_the_published_scores_of_every_system_come_out(
    pair: str,
    reference: str,
    wmt22: Path,
    published: dict[tuple[str, str, str], float],
    capsys: pytest.CaptureFixture[str],
) -> None:
    tgt = pair.partition("-")[2]
    files = sorted((wmt22 / pair).glob("hyp.*.gz"))
    refs = [wmt22 / pair / f"ref.{name}.{tgt}.gz" for name in ("AB" if reference == "all" else reference)]
    command: list[Any] = ["eval", "--metric", "bleu", "--metric", "chrf", "--resamples", "0", "--json", "-q"]
    command += ["--tokenize", TOKENIZERS[pair]]
    command += [word for path in files for word in ("--hyp", path)]
    command += [word for path in refs for word in ("--ref", path)]
    assert main([str(word) for word in command]) == 0
    sets = json.loads(capsys.readouterr().out)["sets"]
    assert len(sets) == (13 if pair == "en-zh" else 9)
    for name, scores in sets.items():
        system = name.removeprefix("hyp.").removesuffix(f".{tgt}.gz")
        for metric, score in scores.items():
            column = f"{metric}-{reference}"
            expected = published[pair, system, column]
            assert score["score"] == pytest.approx(expected, abs=TOLERANCES.get((pair, column), 1e-6))
