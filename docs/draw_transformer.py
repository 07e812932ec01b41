"""Draw the pictures of docs/transformer.md, of a run that `tfcli train demo` has made.

    python docs/draw_transformer.py runs/demo

They are the pictures of a report, made to stand alone: in ink and on paper of their own, light or dark as the reader's
screen, and in vectors alone, since browsers may refuse an image within an image.
"""

from __future__ import annotations

import argparse
import base64
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfcli.commands.report_pictures import network_pictures
from tfcli.model.positions import sinusoids
from tfcli.recipe.schema import TrainingSection
from tfcli.scoring.heat_map import positions_picture
from tfcli.scoring.picture import FIRST, FONT_SIZE, INK, SECOND, THIRD, Picture, Size, picture
from tfcli.training.schedule import learning_rate

if TYPE_CHECKING:
    from numpy.typing import NDArray

IMAGES = Path(__file__).resolve().parent / "images"
# A sentence of data/demo/test: the verb of a relative clause is the second word in English and the last one in German.
SENTENCE = (
    "The friendly aunt who needs his shirt is happy.",
    "Die freundliche Tante, die sein Hemd braucht, ist glücklich.",
)
ATTENTION = {
    "attention-cross": "Attention to the source",
    "attention-encoder": "Attention of the encoder",
    "attention-decoder": "Attention of the decoder to its own text",
}
STYLE = (
    "<style>svg{color:#1f2328;background:#fff}"
    "@media(prefers-color-scheme:dark){svg{color:#e6edf3;background:#0d1117}}</style>"
)
LEVELS = 20  # shades that are told apart
MARGIN = 20  # unit: pixels
SIZE = re.compile(r'viewBox="0 0 (\d+) (\d+)" width="\d+" height="\d+"')
SHADED = re.compile(
    r'<mask [^>]*><image width="([\d.]+)" height="([\d.]+)" [^>]*base64,([^"]+)"/></mask>'
    r'<rect [^>]*style="fill: ([^"]+)"[^>]*/>'
)


def standing_alone(drawn: Picture) -> str:
    """Return a picture as a file."""
    body = SHADED.sub(_in_vectors, drawn.svg)
    width, height = (size + 2 * MARGIN for size in _size(body))
    box = f'viewBox="-{MARGIN} -{MARGIN} {width} {height}" width="{width}" height="{height}"'
    body = SIZE.sub(box, body, count=1)
    return re.sub(r"(<svg [^>]*>)", rf"\1{STYLE}", body, count=1) + "\n"


def positions() -> Picture:
    """Show the sinusoids of 64 positions for a network of width 64."""
    drawn = positions_picture("Sinusoids", "", sinusoids(64, 64).numpy(), 1.0)
    width, height = _size(drawn.svg)
    labels = (
        f'<text x="{width / 2:.0f}" y="-6" text-anchor="middle">dimension</text>'
        f'<text transform="translate(-6 {height / 2:.0f}) rotate(-90)" text-anchor="middle">position</text>'
    )
    return replace(drawn, svg=drawn.svg.replace("</svg>", f"{labels}</svg>"))


def schedules() -> Picture:
    """Show the learning rate by step under each schedule, with the recipe's defaults but for half as many steps."""
    curves = {"constant": THIRD, "inverse_sqrt": FIRST, "cosine": SECOND}
    width, height, left, top = 560.0, 200.0, 60.0, 12.0
    last_step, most = 10_000, 1.1e-3
    across, up = width / last_step, height / most
    body = ""
    for rate in (0.0, 0.0005, 0.001):
        y = top + height - rate * up
        body += f'<path d="M{left:.0f} {y:.1f}h{width:.0f}" stroke="{INK}" stroke-opacity="0.25"/>'
        body += f'<text x="{left - 6:.0f}" y="{y + 4:.1f}" text-anchor="end">{rate:g}</text>'
    for step in range(0, last_step + 1, 2000):
        x = left + step * across
        body += f'<text x="{x:.1f}" y="{top + height + 16:.0f}" text-anchor="middle">{step:,}</text>'
    for schedule, colour in curves.items():
        settings = TrainingSection(schedule=schedule, max_steps=last_step)  # type: ignore[arg-type]
        rates = [(step, learning_rate(settings, step)) for step in range(0, last_step + 1, 100)]
        line = "L".join(f"{left + step * across:.1f} {top + height - rate * up:.1f}" for step, rate in rates)
        body += f'<path d="M{line}" fill="none" style="stroke: {colour}" stroke-width="2"/>'
        x, y = left + 0.72 * width, top + height - rates[72][1] * up
        body += (
            f'<text x="{x:.0f}" y="{y - 7:.1f}" style="fill: {colour}" font-weight="600">{schedule}</text>'
        )
    x, y = left + width / 2, top + height + 2 * FONT_SIZE + 12
    body += f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="middle">step</text>'
    body += f'<text transform="translate(8 {top + height / 2:.0f}) rotate(-90)" text-anchor="middle">learning rate</text>'
    return picture("Learning rates", "", body, Size(left + width + 24, y + 6))


def _size(svg: str) -> tuple[int, int]:
    """Return width and height; unit: pixels."""
    found = SIZE.search(svg)
    assert found is not None
    return int(found[1]), int(found[2])


def _in_vectors(found: re.Match[str]) -> str:
    """Return a shaded area as strokes, one path for each shade."""
    from PIL import Image

    grey = np.asarray(Image.open(io.BytesIO(base64.b64decode(found[3]))))
    shades = np.rint(grey / 255 * LEVELS).astype(int)
    scale = f"scale({float(found[1]) / grey.shape[1]:.4g} {float(found[2]) / grey.shape[0]:.4g})"
    paths = [
        f'<path d="{_strokes(shades == shade)}" stroke-opacity="{shade / LEVELS:.2g}"/>'
        for shade in range(1, LEVELS + 1)
        if (shades == shade).any()
    ]
    return (
        f'<g transform="{scale}" shape-rendering="crispEdges" style="stroke: {found[4]}">{"".join(paths)}</g>'
    )


def _strokes(cells: NDArray[np.bool_]) -> str:
    """Return a path of strokes downwards, a cell wide, over the cells (rows, columns) that are True."""
    strokes = ""
    for column in range(cells.shape[1]):
        edges = np.flatnonzero(np.diff(cells[:, column].astype(int), prepend=0, append=0))
        for start, end in edges.reshape(-1, 2).tolist():
            strokes += f"M{column}.5 {start}v{end - start}"
    return strokes


def main() -> None:
    """Write the pictures to docs/images/."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    pictures = {"positions": positions(), "learning-rates": schedules()}
    of_run = network_pictures(parser.parse_args().run, [SENTENCE])
    by_title = {drawn.title.partition(",")[0]: drawn for drawn in of_run}
    pictures |= {name: by_title[title] for name, title in ATTENTION.items()}
    for name, drawn in pictures.items():
        (IMAGES / f"{name}.svg").write_text(standing_alone(drawn), encoding="utf-8")


if __name__ == "__main__":
    main()
