"""What benchmarks share on a machine that is at hand for minutes.

Parts that may fail, sizes that grow until one does, and the device's facts.
"""

import contextlib
import gc
import importlib.metadata
import json
import os
import platform
import statistics
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from tfcli.model.precision import has_native_bf16

OVER = "the minutes are used up"
LEAST_BATCHES = 3  # of different lengths, for a rate
SLOWER = 0.95  # of the best rate so far: more than noise


class Report:
    """Runs parts, prints a line for each, and keeps all of it in a file."""

    def __init__(self, path: Path, end: float) -> None:
        self._path = path
        self.end = end  # on the monotonic clock
        self.found: dict[str, Any] = {}

    def part(self, name: str, work: Callable[[], dict[str, Any]], *, always: bool = False) -> dict[str, Any]:
        """Run one part, unless the minutes are used up; what goes wrong is noted."""
        start_time = time.monotonic()
        if start_time > self.end and not always:
            result: dict[str, Any] = {"skipped": OVER}
        else:
            try:
                result = work()
            except Exception as error:  # the machine is at hand for minutes: the rest is worth having
                result = {"error": told(error), "trace": traceback.format_exc()[-3000:]}
        result["part_seconds"] = round(time.monotonic() - start_time, 1)
        self.found[name] = result
        self._path.write_text(json.dumps(self.found, indent=1) + "\n")
        shown = {key: value for key, value in result.items() if key not in ("trace", "losses")}
        print(f"{name}: {json.dumps(shown)[:900]}", flush=True)
        return result


def told(error: Exception) -> str:
    """Return what an error says, without the pages that some add."""
    return f"{type(error).__name__}: {error}"[:1000]


def grow(
    sizes: Iterable[int],
    measure: Callable[[int], dict[str, Any]],
    *,
    device: torch.device,
    end: float,
    until_slower: bool = False,
) -> dict[str, Any]:
    """Measure at one size after the other, until one fails or the minutes are used up; return all, and the best."""
    found: list[dict[str, Any]] = []
    best: dict[str, Any] | None = None
    for size in sizes:
        if time.monotonic() > end:
            found.append({"size": size, "skipped": OVER})
            break
        try:
            found.append({"size": size, **measure(size)})
        except Exception as error:  # above all, that memory is used up
            found.append({"size": size, "error": told(error)})
        free(device)
        if "error" in found[-1]:
            break
        rate, before = found[-1]["sentences_per_second"], best["sentences_per_second"] if best else 0.0
        if rate > before:
            best = found[-1]
        elif until_slower and rate < SLOWER * before:
            break
    return {"best": best, "sizes": found}


def batch_rate(
    work: Callable[[list[int]], tuple[int, int]],
    batches: Sequence[list[int]],
    seconds: float,
    device: torch.device,
) -> dict[str, Any]:
    """Work on some of the batches, evenly spread over all of them, for about so many seconds; return the rates.

    The middle one goes first, uncounted, until it tells how long a batch takes. `work` takes a batch and returns how many
    target pieces it wrote, in how many steps.
    """
    middle = batches[len(batches) // 2]
    for _ in range(2):  # the first may be slow for what it has to set up
        once = timed(lambda: work(middle), device)
        if once > seconds / 2:
            break
    n = min(len(batches), max(LEAST_BATCHES, round(seconds / once)))
    chosen = [batches[(2 * i + 1) * len(batches) // (2 * n)] for i in range(n)]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    done: list[tuple[int, int]] = []
    taken = timed(lambda: done.extend(map(work, chosen)), device)
    tokens, steps = (sum(counts) for counts in zip(*done, strict=True))
    n_sentences = sum(map(len, chosen))
    return {
        "sentences_per_second": round(n_sentences / taken, 1),
        "target_tokens_per_second": round(tokens / taken),
        "mean_step_ms": 1e3 * taken / steps,
        "peak_memory_mib": peak_memory(device),
        "batches": n,
        "sentences": n_sentences,
        "sentences_a_batch": statistics.median(map(len, chosen)),
        "seconds": taken,
    }


def timed(work: Callable[[], Any], device: torch.device) -> float:
    """Return the seconds that `work` takes until the device is done with it."""
    wait(device)
    start_time = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - start_time


def machine(device: torch.device) -> dict[str, Any]:
    """Return what is measured on."""
    found: dict[str, Any] = {"torch": torch.__version__, "python": platform.python_version()}
    found |= {"device": str(device), "cpus": os.cpu_count(), "threads": torch.get_num_threads()}
    for package in ("transformers", "ctranslate2"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    if device.type == "cuda":
        found |= {
            "cuda": torch.version.cuda,
            "gpu": torch.cuda.get_device_name(device),
            "capability": torch.cuda.get_device_capability(device),
            "memory_mib": torch.cuda.get_device_properties(device).total_memory // 2**20,
        }
    return found | {"native_bf16": has_native_bf16(device)}


def peak_memory(device: torch.device) -> float | None:
    """Return the MiB that torch held at most since `free`; None on a CPU, where it does not count."""
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None


def wait(device: torch.device) -> None:
    """Wait until the device has done all that it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free(device: torch.device) -> None:
    """Free what was used before. A device that has failed for good says so again in the next part, which notes it."""
    if device.type == "cuda":
        gc.collect()
        with contextlib.suppress(Exception):
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
