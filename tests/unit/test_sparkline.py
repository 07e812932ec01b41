"""Curves in a line: how values become columns, how they are scaled, and what the output can show."""

import io
import math

import pytest

from tfcli.commands.sparkline import (
    ASCII_LEVELS,
    BLOCKS,
    LEAST_WIDTH,
    levels_shown,
    resample,
    sparkline,
    width_shown,
)

NAN, INF = math.nan, math.inf


def test_few_values_stay_as_they_are():
    assert resample([3.0, 1.0, 2.0], 3) == [3.0, 1.0, 2.0]
    assert resample([3.0], 80) == [3.0]
    assert resample([], 80) == []


def test_many_values_become_the_means_of_neighbours():
    assert resample([1.0, 3.0, 5.0, 7.0], 2) == [2.0, 6.0]
    assert resample([0.0, 2.0, 4.0, 6.0, 8.0], 2) == [2.0, 7.0]


@pytest.mark.parametrize("count", [81, 160, 1999, 5000])
def test_columns_take_equally_many_values_and_none_is_lost(count):
    columns = resample([1.0] * count, 80)
    assert columns == [1.0] * 80
    shares = [resample([float(place == i) for i in range(count)], 80) for place in (0, count // 2, count - 1)]
    sizes = {round(1 / max(share)) for share in shares}
    assert sizes <= {count // 80, count // 80 + 1}
    assert [max(range(80), key=share.__getitem__) for share in shares] == [
        0,
        40 if count % 2 == 0 else 39,
        79,
    ]


def test_what_is_not_finite_stays_out_of_the_means_and_shows_where_there_is_nothing_else():
    assert resample([1.0, NAN, 5.0, INF], 2) == [1.0, 5.0]
    columns = resample([1.0, 2.0, NAN, -INF], 2)
    assert columns[0] == 1.5
    assert math.isnan(columns[1])


def test_heights_go_from_the_lowest_to_the_highest():
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], BLOCKS) == BLOCKS
    assert sparkline([7, 6, 5, 4, 3, 2, 1, 0], ASCII_LEVELS) == ASCII_LEVELS[::-1]
    assert sparkline([-5.0, 5.0], BLOCKS) == "▁█"


def test_a_constant_series_lies_in_the_middle():
    assert sparkline([2.5] * 5, BLOCKS) == "▄▄▄▄▄"
    assert sparkline([0.0], BLOCKS) == "▄"


def test_not_finite_values_are_marked_and_do_not_count_for_the_scale():
    assert sparkline([NAN, 0.0, INF, 7.0, -INF], BLOCKS) == "x▁x█x"
    assert sparkline([NAN, NAN], BLOCKS) == "xx"
    assert sparkline([], BLOCKS) == ""


def test_the_beginning_of_a_loss_does_not_flatten_the_rest():
    values = [1000.0, 500.0, *range(36, 0, -2)]
    assert len(values) == 20
    drawn = sparkline(values, BLOCKS)
    assert drawn[:3] == "███"
    assert set(drawn[2:]) == set(BLOCKS)


def test_a_beginning_alone_is_scaled_by_itself():
    """What follows may be nothing but NaN, in a run that has diverged."""
    assert sparkline([4.0, 2.0, *[NAN] * 18], BLOCKS) == "█▁" + "x" * 18


def test_blocks_are_drawn_only_where_they_can_be_shown(monkeypatch):
    def levels(encoding, term):
        monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
        monkeypatch.setenv("TERM", term)
        return levels_shown()

    assert levels("utf-8", "xterm") == BLOCKS
    assert levels("utf-8", "dumb") == ASCII_LEVELS
    assert levels("ascii", "xterm") == ASCII_LEVELS
    assert levels("latin-1", "xterm") == ASCII_LEVELS
    assert levels("utf-16", "xterm") == BLOCKS
    assert ASCII_LEVELS.isascii()


def test_the_width_is_that_of_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "132")
    assert width_shown(12) == 120
    monkeypatch.setenv("COLUMNS", "10")
    assert width_shown(12) == LEAST_WIDTH
