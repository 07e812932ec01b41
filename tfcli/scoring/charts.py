"""Curves from plain numbers: the course of training and the learning rate.

matplotlib draws them in stand-ins for the colours of `picture.py`, which take their place in the SVG.
"""

from __future__ import annotations

import io
import math
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from tfcli.scoring.picture import FIRST, FONT_SIZE, INK, SECOND, THIRD, Picture, Size, picture

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Points = Sequence[tuple[int, float]]

# Colours that nothing else has, for what they stand for.
_INK, _FIRST, _SECOND, _THIRD = "#010101", "#010102", "#010103", "#010104"
_MEANT = {_INK: INK, _FIRST: FIRST, _SECOND: SECOND, _THIRD: THIRD}
_POINTS_PER_INCH = 72  # the SVG's unit; its numbers are taken for pixels
_LOOK: dict[Any, Any] = {
    "svg.fonttype": "none",  # text as text
    "svg.hashsalt": "tfcli",  # the same ids each time
    "font.family": "DejaVu Sans",  # comes with matplotlib; wider than most, so that what is shown in its place has room
    "font.size": FONT_SIZE,
    "axes.titlesize": FONT_SIZE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.grid.axis": "y",
    "axes.grid": True,
    "grid.alpha": 0.15,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color"), _INK
    ),
}
_MOST_POINTS = 400  # of a curve; more cannot be told apart


class Course(NamedTuple):
    """The numbers of a run by step; a series may be empty. Unit of cross-entropy: nats per target piece."""

    train_cross_entropy: Points
    valid_cross_entropy: Points
    valid_bleu: Points


def training_picture(course: Course) -> Picture:
    """Show the losses of a run and, where it was validated by translating, BLEU beside them."""
    caption = "Cross-entropy per target piece, in nats, without label smoothing; in training with dropout."
    with _drawing(Size(720 if course.valid_bleu else 440, 260)) as figure:
        losses, *others = figure.subplots(1, 2 if course.valid_bleu else 1, squeeze=False)[0]
        _curve(losses, course.train_cross_entropy, _FIRST, "training")
        _curve(losses, course.valid_cross_entropy, _SECOND, "validation", marked=True)
        losses.set(xlabel="step", ylabel="cross-entropy")
        losses.legend()
        for axes in others:
            _curve(axes, course.valid_bleu, _THIRD, "validation", marked=True)
            axes.set(xlabel="step", ylabel="BLEU on the validation set")
            axes.set_ylim(bottom=0)
            finite = [(bleu, -step) for step, bleu in course.valid_bleu if math.isfinite(bleu)]
            if finite:
                best, step = max(finite)[0], -max(finite)[1]
                axes.plot([step], [best], "o", color=_THIRD, markersize=9, fillstyle="none")
                caption += f" The best BLEU, {best:.2f} (circle), was that of step {step:,}."
        return _finished(figure, "Training", caption)


def learning_rate_picture(rates: Points, schedule: str) -> Picture:
    """Show the learning rate by step as a recipe plans it, with a `schedule` of that name."""
    caption = f"Learning rate of each update as the recipe plans it (schedule: {schedule})."
    with _drawing(Size(440, 200)) as figure:
        axes = figure.subplots()
        _curve(axes, rates, _FIRST, "rate")
        axes.set(xlabel="step", ylabel="learning rate")
        axes.set_ylim(bottom=0)
        return _finished(figure, "Learning rate", caption)


@contextmanager
def _drawing(size: Size) -> Iterator[Figure]:
    """Give a figure to draw on, whatever settings of matplotlib the reader has."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_LOOK)
        inches = (size.width / _POINTS_PER_INCH, size.height / _POINTS_PER_INCH)
        yield Figure(figsize=inches, layout="constrained")


def _curve(axes: Axes, points: Points, colour: str, name: str, *, marked: bool = False) -> None:
    """Draw a series, with a gap where a value is not finite; of a long one, the means of neighbours."""
    if not points:
        return
    group = -(-len(points) // _MOST_POINTS)
    parts = [points[i : i + group] for i in range(0, len(points), group)]
    steps = [part[-1][0] for part in parts]
    values = [sum(value for _, value in part) / len(part) for part in parts]
    few = marked and len(points) <= 30
    axes.plot(
        steps, values, color=colour, label=name, marker="o" if few or len(points) == 1 else None, markersize=4
    )
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(_whole_numbers())
    axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")


def _whole_numbers() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=6, integer=True)


def _finished(figure: Figure, title: str, caption: str) -> Picture:
    """Turn a figure into a picture in the colours of its page."""
    stream = io.StringIO()
    nothing: dict[str, Any] = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    found = re.search(
        r'<svg[^>]*viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*>(.*)</svg>', stream.getvalue(), re.DOTALL
    )
    assert found is not None
    body = found[3]
    # a style sheet would be one for the whole page
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, count=1, flags=re.DOTALL)
    body = re.sub(r" ?font-family: [^;\"]*;| rotate\(-0 [^)]*\)|transform=\"rotate\(-0 [^)]*\)\"", "", body)
    body = re.sub(r">\s+<", "><", body)
    for stand_in, meant in _MEANT.items():
        body = body.replace(stand_in, meant)
    return picture(title, caption, body, Size(float(found[1]), float(found[2])))
