"""The verb `tokenize`: make a run's tokenizer and encoded corpora, or pipe text to pieces and back."""

import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from tfcli.commands.console import print_json, print_table, print_text, say, warn
from tfcli.commands.options import DataRootOption, JsonOption, OutOption, RecipeArgument, SetOption
from tfcli.commands.recipes import open_recipe, prepare_opened
from tfcli.commands.start import tokenizer_of
from tfcli.errors import DataError
from tfcli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tfcli.corpus.prepare import Prepared
    from tfcli.corpus.prepare_text import PreparedText
    from tfcli.corpus.stats import CorpusStats
    from tfcli.text.tokenizer import Tokenizer


class Side(StrEnum):
    """A side of the corpus, which may have a vocabulary of its own."""

    SRC = "src"
    TGT = "tgt"


_DIGITS = re.compile("[0-9]{1,9}")
FILTER_PANEL = "As a filter, from standard input to standard output"


def tokenize(
    recipe: RecipeArgument = None,
    overrides: SetOption = None,
    out: OutOption = None,
    data_root: DataRootOption = None,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="The run or model folder whose tokenizer is the filter.",
            rich_help_panel=FILTER_PANEL,
        ),
    ] = None,
    decode: Annotated[
        bool, typer.Option("--decode", help="Turn pieces back into text.", rich_help_panel=FILTER_PANEL)
    ] = False,
    ids: Annotated[
        bool, typer.Option("--ids", help="Numbers instead of pieces.", rich_help_panel=FILTER_PANEL)
    ] = False,
    side: Annotated[
        Side | None,
        typer.Option(
            help="Whose vocabulary, where the sides have one each.  \\[default: src]",
            rich_help_panel=FILTER_PANEL,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train the tokenizer, clean and encode the corpora; with --model, turn text into pieces or back.

    Example: tfcli tokenize demo
    Example: tfcli tokenize --model runs/demo < in.en > pieces.en
    """
    if model is not None:
        if recipe is not None or overrides or out is not None or data_root is not None or as_json:
            raise typer.BadParameter(
                "--model makes a filter: give no RECIPE, --set, --out, --data-root or --json"
            )
        _filter(model, decode=decode, ids=ids, side=side or Side.SRC)
        return
    if recipe is None:
        raise typer.BadParameter(
            "expected a RECIPE to prepare a run, or --model RUN to filter text, got neither"
        )
    if decode or ids or side is not None:
        raise typer.BadParameter("--decode, --ids and --side need --model RUN")
    _prepare(recipe, overrides or [], out, data_root, as_json=as_json)


def _prepare(
    given: str, overrides: "Sequence[str]", out: Path | None, data_root: Path | None, *, as_json: bool
) -> None:
    from tfcli.corpus.prepare_text import PreparedText
    from tfcli.corpus.run_tokenizer import TokenizerPlan

    opened = open_recipe(given, overrides, data_root, out)
    run_dir = opened.run_dir(out)
    plan = TokenizerPlan(tokenizer_of(opened.initial, run_dir))
    prepared = prepare_opened(opened, run_dir, plan)
    if prepared.reused:
        say(f"{run_dir}: nothing has changed since the last time, tokenizer and corpora are reused")
        for warning in prepared.warnings:  # said before, when they were made
            warn(warning)
    else:
        say(f"{run_dir}: tokenizer and corpora are ready")
    if as_json:
        print_json(_as_json(prepared, run_dir))
    elif isinstance(prepared, PreparedText):
        _show_text(prepared)
    else:
        _show(prepared)


def _show_text(prepared: "PreparedText") -> None:
    print_table(
        ["corpus", "characters", "words", "lines", "pieces", "pieces/word", "bytes/piece", "byte pieces %"],
        [
            [
                row.name,
                row.counts.characters,
                row.counts.words,
                row.counts.line_ends,
                row.pieces,
                round(row.pieces_per_word, 2),
                round(row.bytes_per_piece, 2),
                round(100 * row.byte_pieces / row.pieces, 3),
            ]
            for row in prepared.stats
        ],
    )
    say(f"the vocabulary has {counted(prepared.tokenizer.tgt_vocab_size, 'piece')}")


def _as_json(prepared: "Prepared | PreparedText", run_dir: Path) -> dict[str, Any]:
    tokenizer, labels = prepared.tokenizer, prepared.labels
    return {
        "run": str(run_dir),
        "reused": prepared.reused,
        "tokenizer": {
            "shared": tokenizer.shared,
            "src_vocab_size": tokenizer.src_vocab_size,
            "tgt_vocab_size": tokenizer.tgt_vocab_size,
        },
        "corpora": [row.as_json() for row in prepared.stats],
        **({"labels": labels.as_json()} if labels is not None else {}),
        "warnings": [*(labels.doubts if labels is not None else ()), *prepared.warnings],
    }


def _show(prepared: "Prepared") -> None:
    reasons = sorted({reason for row in prepared.stats for reason in row.dropped})
    print_table(
        ["corpus", "lines", "kept", *(f"dropped: {reason.replace('_', ' ')}" for reason in reasons)],
        [
            [row.name, row.lines, row.kept, *(row.dropped.get(reason, 0) for reason in reasons)]
            for row in prepared.stats
        ],
    )
    sys.stdout.write("\n")
    of_texts = prepared.labels is not None  # a label has no pieces
    sides = ("src",) if of_texts else ("src", "tgt")
    vocabulary = {"src": prepared.tokenizer.src_vocab_size, "tgt": prepared.tokenizer.tgt_vocab_size}
    print_table(
        [
            *(["corpus"] if of_texts else ["corpus", "side"]),
            *("vocabulary", "pieces/word", "unknown %", "length p50", "p95", "max"),
        ],
        [
            [row.name, *([] if of_texts else [side]), *_side_row(row, side, vocabulary[side])]
            for row in prepared.stats
            for side in sides
        ],
    )
    if prepared.labels is not None:
        sys.stdout.write("\n")
        rows, more = prepared.labels.most()
        print_table(["label", "training texts"], [list(row) for row in rows])
        if more:
            print_text(f"and {counted(more, 'more label')}")


def _side_row(row: "CorpusStats", side: str, vocab_size: int) -> list[object]:
    counts = row.src if side == "src" else row.tgt
    return [
        vocab_size,
        round(counts.pieces_per_word, 2),
        round(100 * counts.unknown_rate, 3),
        counts.length_p50,
        counts.length_p95,
        counts.length_max,
    ]


def _filter(folder: Path, *, decode: bool, ids: bool, side: Side) -> None:
    tokenizer = _load(folder)
    convert = _decoder(tokenizer, side, ids=ids) if decode else _encoder(tokenizer, side, ids=ids)
    filter_lines(sys.stdin.buffer, sys.stdout.buffer, convert)


def _load(folder: Path) -> "Tokenizer":
    from tfcli.text.tokenizer import SHARED_FILE, SRC_FILE, Tokenizer

    inner = folder / "best"
    if not any((folder / name).exists() for name in (SHARED_FILE, SRC_FILE)) and inner.is_dir():
        return Tokenizer.load(inner)
    return Tokenizer.load(folder)


def filter_lines(source: BinaryIO, sink: BinaryIO, convert: "Callable[[str, int], str]") -> None:
    """Write each line converted as soon as it is read; `convert` takes the line and its number.

    A last line without a line feed stays without.

    Raises: DataError with the number of a line that is no UTF-8 or cannot be converted.
    """
    from tfcli.text.lines import decode_strictly

    ends: list[bytes] = []

    def bodies() -> "Iterator[bytes]":
        for raw in source:
            body = raw.removesuffix(b"\n")
            ends.append(raw[len(body) :])
            yield body

    for number, line in enumerate(decode_strictly(bodies(), "standard input"), start=1):
        sink.write(convert(line, number).encode() + ends.pop())
        sink.flush()  # whoever talks to this filter line by line waits for the answer


def _encoder(tokenizer: "Tokenizer", side: Side, *, ids: bool) -> "Callable[[str, int], str]":
    if ids:
        encode = tokenizer.encode_src if side is Side.SRC else tokenizer.encode_tgt
        return lambda line, _: " ".join(map(str, encode(line)))
    pieces = tokenizer.src_pieces if side is Side.SRC else tokenizer.tgt_pieces
    return lambda line, _: " ".join(pieces(line))


def _decoder(tokenizer: "Tokenizer", side: Side, *, ids: bool) -> "Callable[[str, int], str]":
    join = tokenizer.join_src if side is Side.SRC else tokenizer.join_tgt
    if not ids:
        return lambda line, _: join([piece for piece in line.split(" ") if piece])
    decode = tokenizer.decode_src if side is Side.SRC else tokenizer.decode_tgt
    size = tokenizer.src_vocab_size if side is Side.SRC else tokenizer.tgt_vocab_size

    def text_of_ids(line: str, number: int) -> str:
        words = [word for word in line.split(" ") if word]
        for word in words:
            if not (_DIGITS.fullmatch(word) and int(word) < size):
                raise DataError(
                    f"standard input:{number}: expected piece ids from 0 to {size - 1}, got {word!r}",
                    "give ids separated by spaces, or leave --ids out for pieces",
                )
        return decode([int(word) for word in words])

    return text_of_ids
