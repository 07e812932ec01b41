"""Where the time of some work on a device goes: how long the device is busy, with what, and what the host calls meanwhile."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import torch
from parts import timed
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity


def profile(work: Callable[[], Any], n_steps: int, device: torch.device) -> dict[str, Any]:
    """Work twice, the second time under the profiler, which slows down the host but not the device.

    Of a GPU, its kernels and the calls of its driver are recorded; of a CPU torch's operations, those within others again.
    """
    plain = timed(work, device)
    on_gpu = device.type == "cuda"
    with torch.profiler.profile(
        activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]
    ) as found:
        profiled = timed(work, device)
    events = [event for event in found.events() if not event.is_user_annotation]
    by_host = [event for event in events if event.device_type == DeviceType.CPU]
    on_device = [event for event in events if event.device_type == DeviceType.CUDA] if on_gpu else by_host
    if not on_device:
        raise RuntimeError("the profiler saw nothing of the device")
    calls = [event for event in by_host if event.name.startswith("cu")]
    busy_seconds = busy((event.time_range.start, event.time_range.end) for event in on_device) / 1e6
    return {
        "steps": n_steps,
        "seconds": plain,
        "seconds_profiled": profiled,
        "device_busy_seconds": busy_seconds,
        "device_busy_share": busy_seconds / plain,
        "operations_a_step": len(on_device) / n_steps,
        "device": longest_of(on_device),
        "host_launches_share": share_of(calls, ("Launch",), profiled),
        "host_waits_share": share_of(calls, ("Synchronize", "Memcpy"), profiled),
        "host_calls": longest_of(calls),
    }


def busy(spans: Iterable[tuple[float, float]]) -> float:
    """Return how much time lies within at least one of the spans, each a start and an end."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def share_of(calls: Iterable[Any], words: tuple[str, ...], seconds: float) -> float:
    """Return the share of the time that calls with one of the words in their names take."""
    spans = [call.time_range for call in calls if any(word in call.name for word in words)]
    return sum(span.end - span.start for span in spans) / 1e6 / seconds


def longest_of(events: Iterable[Any], n: int = 15) -> dict[str, dict[str, float]]:
    """Return the names that take longest, with how many milliseconds in all and how often."""
    times, counts = Counter[str](), Counter[str]()
    for event in events:
        name = event.name[:120]
        times[name] += (event.time_range.end - event.time_range.start) / 1e3
        counts[name] += 1
    return {name: {"ms": round(ms, 3), "times": counts[name]} for name, ms in times.most_common(n)}
