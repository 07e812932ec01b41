"""Matrices as shades: attention by layer and head, and positions.

A matrix is a small grey PNG that masks a coloured rectangle, so that its colour is the page's and a cell costs about a
byte. Needs no library for drawing.
"""

from __future__ import annotations

import base64
import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tfcli.scoring.picture import FIRST, FONT_SIZE, INK, SECOND, Picture, Size, picture, xml_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Matrix = NDArray[np.floating]

MAX_PIECES = 40  # of a sentence; more have no room for their names
MAX_PIECE_CHARACTERS = 14
MAX_WIDTH = 860.0  # of a picture; unit: pixels
LEAST_PANEL = 64.0  # width of a head's map beside the large one; unit: pixels
MOST_PANEL = 110.0
CELL = 16.0  # of the large map, room for a piece's name; unit: pixels
GAP = 8.0
CHARACTER = 0.62 * FONT_SIZE  # taken for the width of one, for want of the reader's font; unit: pixels
WORD_START = "\u2581"  # SentencePiece's mark, which is far bolder than text


class Sides(NamedTuple):
    """The pieces of the two sides of an attention map: of its rows, which look, and its columns, looked at."""

    rows: Sequence[str]
    columns: Sequence[str]


def attention_picture(title: str, explanation: str, maps: Matrix, pieces: Sides) -> Picture:
    """Show the maps (L, H, T, S) of one sentence: a large one with its pieces, and all heads of all layers small.

    The large one is the mean of the heads of the layer whose looks depend most on who looks (`telling`).
    """
    n_layers, n_heads = maps.shape[:2]
    means = maps.mean(axis=1)
    layer = max(range(n_layers), key=lambda i: telling(means[i]))
    large, size = _named(means[layer, :MAX_PIECES, :MAX_PIECES], pieces)
    # beside each other, or below each other where that is too narrow
    room = MAX_WIDTH - size.width - 2 * GAP
    place = Size(size.width + 2 * GAP, 0)
    if room < n_heads * LEAST_PANEL:
        room, place = MAX_WIDTH, Size(0, size.height + 2 * GAP)
    small, small_size = _panels(maps[..., :MAX_PIECES, :MAX_PIECES], room)
    caption = (
        f"{explanation} The large map is the mean of the {n_heads} heads of layer {layer + 1}, the layer whose rows "
        "differ most; the small ones are the heads (columns) of all layers (rows). A row sums to 1."
    )
    lengths = [str(length) for length in maps.shape[2:] if length > MAX_PIECES]
    if lengths:
        caption += f" Only the first {MAX_PIECES} of {' and '.join(dict.fromkeys(lengths))} pieces are shown."
    body = large + _moved(small, *place)
    height = max(size.height, place.height + small_size.height)
    return picture(title, caption, body, Size(max(size.width, place.width + small_size.width), height))


def telling(weights: Matrix) -> float:
    """Return how much a row of weights (T, S) tells of who looks; unit: bits.

    That is the mutual information of row and column: 0 where all rows are the same, as of heads that rest on the end
    mark, and high where each row looks at one place of its own.
    """
    return float(_entropy(weights.mean(axis=0)) - _entropy(weights).mean())


def _entropy(weights: Matrix) -> Matrix:
    """Return the entropy of each row; unit: bits."""
    exact = weights.astype(np.float64)
    entropy: Matrix = -(exact * np.log2(np.where(exact > 0, exact, 1.0))).sum(axis=-1)
    return entropy


def positions_picture(title: str, caption: str, table: Matrix, largest: float) -> Picture:
    """Show what positions are told by, a row for each: values from -`largest` to `largest` in two colours."""
    n_positions, width = table.shape
    cell = Size(max(1.0, min(10.0, 640 / width)), 4.0)
    left, top = 4 * CHARACTER, 2.0 * FONT_SIZE
    area = Size(width * cell.width, n_positions * cell.height)
    body = _moved(_two_shades(table / largest, area, "table") + _frame(area), left, top)
    for position in range(0, n_positions, 8):
        y = top + (position + 0.5) * cell.height
        body += _text(str(position), left - 5, y, anchor="end")
    for dimension in range(0, width, max(4, 8 * round(width / 64))):
        body += _text(str(dimension), left + (dimension + 0.5) * cell.width, top - 7, anchor="middle")
    strip, bottom = Size(100, 10), top + area.height + 2 * GAP
    scale = _moved(_two_shades(np.linspace(-1, 1, 51)[None], strip, "scale") + _frame(strip), 52, 0)
    scale += _text(f"{-largest:.2g}", 46, 5, anchor="end") + _text(f"{largest:.2g}", 158, 5)
    whole = Size(left + max(area.width, 200) + GAP, bottom + 2 * GAP)
    return picture(title, caption, body + _moved(scale, left, bottom), whole)


def _named(weights: Matrix, pieces: Sides) -> tuple[str, Size]:
    """Draw one map with the names of its rows and columns."""
    rows, columns = ([_short(piece) for piece in side[:MAX_PIECES]] for side in pieces)
    left = max(map(len, rows)) * CHARACTER + GAP
    # names of columns rise to the right at 45 degrees
    rise = max(map(len, columns)) * CHARACTER * 0.71 + GAP
    area = Size(len(columns) * CELL, len(rows) * CELL)
    body = _moved(_shades(weights, area, FIRST, "mean") + _frame(area), left, rise)
    for i, name in enumerate(rows):
        body += _text(name, left - 5, rise + (i + 0.5) * CELL, anchor="end")
    for i, name in enumerate(columns):
        body += _text(name, left + (i + 0.5) * CELL, rise - 5, turned=-45)
    overhang = max((i + 0.5) * CELL + len(name) * CHARACTER * 0.71 for i, name in enumerate(columns))
    return body, Size(left + max(area.width, overhang) + GAP, rise + area.height)


def _panels(maps: Matrix, room: float) -> tuple[str, Size]:
    """Draw all maps (L, H, T, S) small, layers below each other, heads side by side in a room of that width."""
    n_layers, n_heads, n_rows, n_columns = maps.shape
    left, top = 2.0 * FONT_SIZE, 1.6 * FONT_SIZE
    cell = min(6.0, ((room - left) / n_heads - GAP) / n_columns, MOST_PANEL / max(n_rows, n_columns))
    area = Size(n_columns * cell, n_rows * cell)
    step = Size(area.width + GAP, area.height + GAP)
    body = ""
    for head in range(n_heads):
        label = f"head {head + 1}" if step.width > 7 * CHARACTER else str(head + 1)
        body += _text(label, left + head * step.width + area.width / 2, top - 9, anchor="middle")
    for layer in range(n_layers):
        y = top + layer * step.height
        body += _text(f"layer {layer + 1}", left - 11, y + area.height / 2, anchor="middle", turned=-90)
        for head in range(n_heads):
            shades = _shades(maps[layer, head], area, FIRST, f"m{layer}-{head}")
            body += _moved(shades + _frame(area), left + head * step.width, y)
    bottom = top + n_layers * step.height + GAP
    return body + _moved(_scale(), left, bottom), Size(
        left + max(n_heads * step.width, 220), bottom + 2 * GAP
    )


def _scale() -> str:
    """Say what weight a shade stands for."""
    area = Size(100, 10)
    shades = _shades(np.linspace(0, 1, 51)[None], area, FIRST, "scale") + _frame(area)
    return _text("weight 0", 0, 5) + _moved(shades, 56, 0) + _text("1", 162, 5)


def _shades(values: Matrix, area: Size, colour: str, name: str) -> str:
    """Colour an area by values (rows, columns) from 0, which is left blank, to 1."""
    grey = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    data = base64.b64encode(_png(grey)).decode()
    place = f'width="{area.width:.2f}" height="{area.height:.2f}"'
    return (
        f'<mask id="{name}" maskUnits="userSpaceOnUse" x="0" y="0" {place}>'
        f'<image {place} preserveAspectRatio="none" style="image-rendering: pixelated" '
        f'href="data:image/png;base64,{data}"/></mask>'
        f'<rect {place} style="fill: {colour}" mask="url(#{name})"/>'
    )


def _two_shades(values: Matrix, area: Size, name: str) -> str:
    """Colour an area by values from -1 to 1; 0 is left blank."""
    return _shades(values, area, FIRST, f"{name}-up") + _shades(-values, area, SECOND, f"{name}-down")


def _png(grey: NDArray[np.uint8]) -> bytes:
    """Return a matrix of 8-bit greys as a PNG file.

    Source: PNG specification, https://www.w3.org/TR/png-3/, sections 5 and 9.
    """
    height, width = grey.shape
    unfiltered = np.zeros((height, 1), dtype=np.uint8)  # a filter type before each line: none
    lines = np.hstack((unfiltered, grey)).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _frame(area: Size) -> str:
    return (
        f'<rect width="{area.width:.2f}" height="{area.height:.2f}" fill="none" stroke="{INK}" '
        'stroke-opacity="0.35" stroke-width="0.8"/>'
    )


def _text(text: str, x: float, y: float, anchor: str = "start", turned: float = 0.0) -> str:
    """Write text whose middle line is at `y`."""
    turn = f" rotate({turned:g})" if turned else ""
    faint = f'<tspan opacity="0.35">{WORD_START}</tspan>'
    return (
        f'<text transform="translate({x:.2f} {y:.2f}){turn}" dy="0.35em" text-anchor="{anchor}">'
        f"{xml_text(text).replace(WORD_START, faint)}</text>"
    )


def _moved(body: str, x: float, y: float) -> str:
    return f'<g transform="translate({x:.2f} {y:.2f})">{body}</g>'


def _short(piece: str) -> str:
    return piece if len(piece) <= MAX_PIECE_CHARACTERS else piece[: MAX_PIECE_CHARACTERS - 1] + "…"
