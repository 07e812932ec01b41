"""Translating on one GPU: how fast, at which sizes of batch, whether it is right, and beside transformers and CTranslate2.

    python benchmarks/gpu_translate.py [--out FILE] [--model FOLDER --source FILE] [--minutes 7] [--device cpu --tiny]

For presets `small` and `vaswani-base` with random weights, and for a trained network where one is given:

1. Checks: greedy and beam search in fp32 against the CPU's, ties told from other differences, and bf16 against fp32.
2. The torch engine in bf16, `batch_tokens` growing until memory is used up: rates, memory, time of a step.
3. transformers' `generate` in bf16 with the same weights, and CTranslate2 in float16, where they are installed, at 32
   to 2,048 sentences: the best counts.
4. A profile of one batch: how long the device was busy, with what, and what the host did meanwhile.

`tfcli translate` reads 2,000 lines at a time; here batches may be larger, which shows what that costs.

Networks that have learnt nothing never end by themselves here: lengths of outputs are drawn as of news text. tfcli gives
each source its own. `generate` computes all of a batch to its longest, as it does with finished text, and so does
CTranslate2, for which sources are sorted by the lengths of their outputs, as no user could; only wanted pieces count.

It needs nothing but torch and tfcli. What fails is noted, and the next part begins; when the minutes are used up, the rest
is left out, but a minute is kept for profiles. The JSON is written after each part.
"""

import argparse
import contextlib
import copy
import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from agreement import compare
from loads import Load, generated, given
from parts import Report, batch_rate, free, grow, machine, timed
from profiled import profile

from tfcli.decoding import torch_search
from tfcli.decoding.engine import SearchSettings
from tfcli.decoding.hypothesis import Hypothesis, LengthPenalty
from tfcli.decoding.search import TransformerNextPiece
from tfcli.decoding.torch_engine import TorchEngine, _batches
from tfcli.model.folder import model_tensors
from tfcli.text.tokenizer import Tokenizer

DEFAULT_TOKENS = SearchSettings.batch_tokens
BATCH_TOKENS = (DEFAULT_TOKENS, 16_384, 65_536, 262_144)
BATCH_SIZES = (32, 64, 128, 256, 512, 1024, 2048)
BEAMS = (5, 1)
KINDS = ("torch", "generate", "ctranslate2")
N_SOURCES = 32_768  # some batches of 262,144 tokens
PENALTY = LengthPenalty(1.0)


@dataclass(frozen=True)
class Bench:
    """What all parts share."""

    device: torch.device
    seconds: float
    tiny: bool
    report: Report

    def grow(self, sizes: Any, measure: Callable[[int], dict[str, Any]], **how: bool) -> dict[str, Any]:
        """Measure at sizes that grow, small ones for a tiny network."""
        sizes = tuple(size // 32 for size in sizes[:2]) if self.tiny else sizes
        return grow(sizes, measure, device=self.device, end=self.report.end, **how)


def main() -> None:
    """Measure part after part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="networks and batches for seconds on a CPU")
    parser.add_argument("--model", type=Path, help="a trained run or model folder, measured as well")
    parser.add_argument(
        "--source", type=Path, help=f"text for it to translate, of which {N_SOURCES:,} lines are used"
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="that each setting is measured")
    parser.add_argument("--minutes", type=float, default=7.0, help="after which no other part is begun")
    parser.add_argument("--out", type=Path, default=Path("gpu_translate.json"))
    args = parser.parse_args()
    if (args.model is None) != (args.source is None):
        parser.error("--model and --source go together")
    device = torch.device(args.device)
    if device.type == "cpu":
        torch.set_num_threads(1)  # the engine gives each thread a batch of its own; here one is timed
    end = time.monotonic() + 60 * args.minutes
    bench = Bench(device, args.seconds, args.tiny, Report(args.out, end - min(60.0, 30 * args.minutes)))
    measure(bench, loads_of(args), end)
    print(f"all of it: {args.out}")


def loads_of(args: argparse.Namespace) -> dict[str, Callable[[], Load]]:
    """Return what is translated, by name, made when it is first asked for."""
    sizes = {"small": 8_000, "vaswani-base": 32_000}
    n_sources = 40 if args.tiny else N_SOURCES
    loads: dict[str, Callable[[], Load]] = {}
    if args.model is not None:
        loads["given"] = functools.cache(functools.partial(given, args.model, args.source, n_sources))
    for preset, vocab_size in sizes.items():
        make = functools.partial(
            generated, preset, 100 if args.tiny else vocab_size, n_sources, tiny=args.tiny
        )
        loads[preset] = functools.cache(make)
    return loads


def measure(bench: Bench, loads: dict[str, Callable[[], Load]], end: float) -> None:
    """Run all parts, the most important first."""
    report = bench.report
    report.part("machine", lambda: machine(bench.device))
    report.part("launches", lambda: launches(bench))
    for name, load in loads.items():
        report.part(f"{name}, check", functools.partial(run, check, bench, load))
    for kind, rates in zip(KINDS, (torch_rates, generate_rates, ctranslate2_rates), strict=True):
        for name, load in loads.items():
            for beam in BEAMS:
                report.part(key(name, beam, kind), functools.partial(run, rates, bench, load, beam))
                free(bench.device)
        report.part("summary", lambda: summary(report.found, list(loads)), always=True)
    report.end = end  # profiles come last, as they slow down what follows them
    default = DEFAULT_TOKENS // 32 if bench.tiny else DEFAULT_TOKENS
    for name, load in loads.items():
        for beam in BEAMS:
            best = report.found[key(name, beam, "torch")].get("best") or {}
            for tokens in sorted({*([default] if beam > 1 else []), best.get("size", default)}):
                work = functools.partial(run, profile_of, bench, load, beam, tokens)
                report.part(f"{key(name, beam, 'profile')} of {tokens:,}", work)
                free(bench.device)


def key(name: str, beam: int, kind: str) -> str:
    """Return what a part is called."""
    return f"{name}, beam {beam}, {kind}"


def run(work: Callable[..., dict[str, Any]], bench: Bench, load: Callable[[], Load], *args: int) -> Any:
    """Do some work with what is translated."""
    return work(bench, load(), *args)


def launches(bench: Bench) -> dict[str, float]:
    """Return what an operation on next to nothing takes the host, and one that is waited for."""
    number = torch.zeros(1, device=bench.device)

    def some(times: int, *, waiting: bool) -> None:
        for _ in range(times):
            number.add_(1)
            if waiting:
                number.item()

    some(100, waiting=True)
    return {
        "us_each": 1e3 * timed(lambda: some(1000, waiting=False), bench.device),
        "us_each_waited_for": 1e3 * timed(lambda: some(1000, waiting=True), bench.device),
    }


# --- Whether it is right -------------------------------------------------------------------------------------------


def check(bench: Bench, load: Load) -> dict[str, Any]:
    """Compare what the device finds for some sources with what the CPU does, and bf16 with fp32."""
    n = 12 if bench.tiny else 48
    sources, limits = load.sources[:n], load.max_lengths[:n]
    cpu = TorchEngine(load.model, "fp32")
    there = on_device(load, bench.device)
    found: dict[str, Any] = {}
    for beam in BEAMS:
        settings = SearchSettings(beam_size=beam, length_penalty=PENALTY)
        of = {
            name: [best for _, (best, *_) in sorted(engine.search(sources, limits, settings))]
            for name, engine in (
                ("cpu", cpu),
                ("fp32", TorchEngine(there, "fp32")),
                ("bf16", TorchEngine(there, "bf16")),
            )
        }

        def forced(hypotheses: list[Hypothesis], settings: SearchSettings = settings) -> list[Any]:
            targets = [[*each.ids, Tokenizer.eos_id] for each in hypotheses]
            return [scored for _, scored in sorted(cpu.score(sources, targets, settings))]

        found[f"beam {beam}, fp32 against the CPU"] = compare(of["cpu"], of["fp32"], forced)
        found[f"beam {beam}, bf16 against fp32"] = compare(of["fp32"], of["bf16"], forced)
    return found


def on_device(load: Load, device: torch.device) -> Any:
    """Return the network there; the load keeps its own."""
    return copy.deepcopy(load.model).to(device)


# --- How fast it is ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def step_clock() -> Iterator[list[list[float]]]:
    """Note when each step of each batch begins; a step waits for the device, so what lies between is its time."""
    batches: list[list[float]] = []

    class Clocked(TransformerNextPiece):
        def __init__(self, *args: Any) -> None:
            batches.append([])
            super().__init__(*args)

        def step(self, last: torch.Tensor) -> torch.Tensor:
            batches[-1].append(time.perf_counter())
            return super().step(last)

    torch_search.TransformerNextPiece = Clocked
    try:
        yield batches
    finally:
        torch_search.TransformerNextPiece = TransformerNextPiece


def torch_work(
    bench: Bench, load: Load, beam: int, tokens: int
) -> tuple[Callable[[list[int]], list[int]], list[list[int]]]:
    """Return what translates a batch by the torch engine and returns the outputs' lengths, and the engine's batches."""
    engine = TorchEngine(on_device(load, bench.device), "bf16")
    settings = SearchSettings(beam_size=beam, length_penalty=PENALTY, batch_tokens=tokens)

    def work(places: list[int]) -> list[int]:
        sources, limits = ([of[i] for i in places] for of in (load.sources, load.max_lengths))
        found = engine.search(sources, limits, replace(settings, batch_size=len(places)))
        return [len(best.ids) + 1 for _, (best, *_) in sorted(found)]

    return work, _batches(list(map(len, load.sources)), settings.rows, settings, 1)


def torch_rates(bench: Bench, load: Load, beam: int) -> dict[str, Any]:
    """Measure the torch engine."""

    def at(tokens: int) -> dict[str, Any]:
        translate, batches = torch_work(bench, load, beam, tokens)
        exact = True

        def work(places: list[int]) -> tuple[int, int]:
            nonlocal exact
            written = translate(places)
            exact &= not load.exact or written == [load.max_lengths[i] for i in places]
            return sum(written), len(clock[-1])

        with step_clock() as clock:
            rates = batch_rate(work, batches, bench.seconds, bench.device)
        counted = clock[-rates["batches"] :]  # those before were to warm up
        steps = [after - before for times in counted for before, after in pairwise(times)]
        return {
            **rates,
            "median_step_ms": 1e3 * statistics.median(steps),
            "share_outside_steps": 1
            - sum(steps) / rates["seconds"],  # each batch's last step counts as outside
            "lengths_as_wanted": exact,
        }

    return bench.grow(BATCH_TOKENS, at)


def generate_rates(bench: Bench, load: Load, beam: int) -> dict[str, Any]:
    """Measure transformers' `generate`."""
    try:
        from peers.hf_generate import cannot_copy, copied, generate
    except ImportError as error:
        return {"skipped": f"transformers is not installed ({error})"}
    problem = cannot_copy(load.config.to_dict())
    if problem is not None:
        return {"skipped": f"transformers has no network with {problem}"}
    peer = copied(load.config.to_dict(), model_tensors(load.model)).eval()
    differs = logits_differ_by(load, peer)
    peer = peer.to(bench.device, torch.bfloat16)
    marks = torch.tensor([Tokenizer.pad_id, Tokenizer.bos_id, Tokenizer.eos_id], device=bench.device)

    def work(places: list[int]) -> tuple[int, int]:
        longest = load.longest(places)
        lengths = (longest if load.exact else 0, longest)
        ids = generate(peer, [load.sources[i] for i in places], beam, PENALTY.exponent, lengths)
        pieces = len(places) + int((~torch.isin(ids, marks)).sum())
        n_steps = ids.shape[1] - 1
        return load.wanted(places, n_steps) or pieces, n_steps

    def at(size: int) -> dict[str, Any]:
        return batch_rate(work, load.batches(size), bench.seconds, bench.device)

    return {"logits_differ_by": differs} | bench.grow(BATCH_SIZES, at, until_slower=True)


def logits_differ_by(load: Load, peer: Any) -> float:
    """Return the largest difference between the scores of both networks, in fp32 on the CPU."""
    src = torch.tensor([[5, 6, 7, 8, 9, Tokenizer.eos_id], [9, 8, Tokenizer.eos_id, 0, 0, 0]])
    tgt_in = torch.tensor([[Tokenizer.bos_id, 4, 7, 5], [Tokenizer.bos_id, 9, 9, 6]])
    with torch.inference_mode():
        ours = load.model.logits(load.model(src, tgt_in))
        theirs = peer(input_ids=src, attention_mask=src != Tokenizer.pad_id, decoder_input_ids=tgt_in).logits
    return float((ours - theirs).abs().max())


def ctranslate2_rates(bench: Bench, load: Load, beam: int) -> dict[str, Any]:
    """Measure CTranslate2, in float16 on a GPU."""
    try:
        import ctranslate2
    except ImportError as error:
        return {"skipped": f"ctranslate2 is not installed ({error})"}
    from tfcli.interop.ctranslate2 import convert, token_names

    if bench.device.type == "cuda" and not ctranslate2.get_cuda_device_count():
        return {"skipped": "this ctranslate2 sees no CUDA device"}
    kind = {"cuda": "float16"}.get(bench.device.type, "float32")
    with tempfile.TemporaryDirectory() as folder:
        convert(load.model, Path(folder), "fp32")
        translator = ctranslate2.Translator(
            folder, device=bench.device.type, compute_type=kind, intra_threads=torch.get_num_threads()
        )
    tokens = token_names(load.config.src_vocab_size)

    def work(places: list[int]) -> tuple[int, int]:
        longest = load.longest(places)
        results = translator.translate_batch(
            [[tokens[piece] for piece in load.sources[i]] for i in places],
            beam_size=beam,
            length_penalty=PENALTY.exponent,
            max_input_length=0,
            max_decoding_length=longest,
            min_decoding_length=longest if load.exact else 1,
        )
        written = [len(result.hypotheses[0]) for result in results]
        pieces = sum(written) + len(places)
        return load.wanted(places, min(written)) or pieces, min(max(written) + 1, longest)

    def at(size: int) -> dict[str, Any]:
        batches = load.batches(size, by_output=load.exact)
        return batch_rate(work, batches, bench.seconds, bench.device) | {"peak_memory_mib": None}

    return {"compute_type": kind} | bench.grow(BATCH_SIZES, at, until_slower=True)


# --- Where the time goes, and what comes out --------------------------------------------------------------------------


def profile_of(bench: Bench, load: Load, beam: int, tokens: int) -> dict[str, Any]:
    """Profile the middle batch."""
    translate, batches = torch_work(bench, load, beam, tokens)
    places = batches[len(batches) // 2]
    with step_clock() as clock:
        translate(places)
    return {"sentences": len(places), **profile(lambda: translate(places), len(clock[-1]), bench.device)}


def summary(found: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Return the best rates and tfcli's share of those of others."""
    rates: dict[str, Any] = {}
    for name in names:
        for beam in BEAMS:
            parts = {kind: found.get(key(name, beam, kind), {}) for kind in KINDS}
            best = {kind: part["best"] for kind, part in parts.items() if part.get("best")}
            row: dict[str, Any] = {
                kind: {"size": each["size"], "sentences_per_second": each["sentences_per_second"]}
                for kind, each in best.items()
            }
            if "torch" in best:
                ours = best["torch"]["sentences_per_second"]
                default = parts["torch"]["sizes"][0]["sentences_per_second"]
                row["best_against_default"] = ours / default
                for kind in best.keys() - {"torch"}:
                    row[f"times_{kind}"] = ours / best[kind]["sentences_per_second"]
                    row[f"times_{kind}_by_default"] = default / best[kind]["sentences_per_second"]
            rates[f"{name}, beam {beam}"] = row
    return rates


if __name__ == "__main__":
    main()
