"""A stream of lines: windows overlap by one, and whoever waits for an answer gets it before the next question."""

import io
import os
import threading
import weakref
from contextlib import suppress

import pytest

from tfcli.decoding import stream
from tfcli.decoding.stream import StreamSettings, translate_stream
from tfcli.decoding.translator import LineError, ScoredText, Translation
from tfcli.errors import DataError


class Shouting:
    """Gives lines back in capitals and writes down what it began and ended; a line `bad` or `worse` is refused."""

    def __init__(self):
        self.events = []
        self.most_alive = 0
        self._ends = []

    def begin(self, lines, advance=None, n_best=1, on_long="split"):
        self._refuse("bad", lines)
        self.events.append(f"begin {' '.join(lines)}")

        def end():
            self._refuse("worse", lines)
            self.events.append(f"end {' '.join(lines)}")
            return [Translation((ScoredText(line.upper(), 0.0, 0.0),)) for line in lines]

        self._ends.append(weakref.ref(end))
        self.most_alive = max(self.most_alive, sum(ref() is not None for ref in self._ends))
        return end

    def _refuse(self, word, lines):
        if word in lines:
            raise LineError(lines.index(word), "is bad", "mend it")


def windows_of(work, content, window_lines=1):
    return translate_stream(work, io.BytesIO(content), StreamSettings(window_lines))


def test_a_window_begins_before_the_one_before_it_is_finished_and_there_are_never_three():
    work = Shouting()
    assert [window.given for window in windows_of(work, b"a\nb\nc\n")] == [b"A\n", b"B\n", b"C\n"]
    assert work.events == ["begin a", "begin b", "end a", "begin c", "end b", "end c"]
    assert work.most_alive == 2


def test_counts_of_a_window_know_nothing_of_the_next_which_has_begun():
    windows = list(windows_of(Shouting(), b"a\n\xff\nb\n\xff\n\xff", window_lines=2))
    assert [window.counts.lines for window in windows] == [2, 4, 5]
    assert [window.counts.written for window in windows] == [2, 4, 5]
    assert [window.counts.invalid for window in windows] == [1, 2, 3]
    assert [window.counts.first_invalid for window in windows] == [[2], [2, 4], [2, 4, 5]]


@pytest.mark.parametrize("word", ["bad", "worse"])
def test_a_line_that_cannot_be_used_is_named_after_what_stands_before_it_is_written(word):
    windows = windows_of(Shouting(), f"a\nb\nc\nd\ne\n{word}\ng\n".encode(), window_lines=2)
    assert [next(windows).given for _ in range(2)] == [b"A\nB\n", b"C\nD\n"]
    with pytest.raises(DataError, match="standard input:6: is bad"):
        next(windows)


def test_what_cannot_be_read_to_its_end_is_translated_up_to_there():
    class Torn(io.BytesIO):
        def __next__(self):
            if not (line := self.readline()):
                raise EOFError("ends in the middle")
            return line

    windows = translate_stream(Shouting(), Torn(b"a\nb\n"), StreamSettings(1))
    assert [next(windows).given for _ in range(2)] == [b"A\n", b"B\n"]
    with pytest.raises(DataError, match="ends in the middle"):
        next(windows)


@pytest.mark.parametrize("can_ask", [True, False])
@pytest.mark.parametrize("window_lines", [1, 2])
def test_a_pipe_is_answered_before_its_writer_goes_on(monkeypatch, can_ask, window_lines):
    monkeypatch.setattr(stream, "CAN_ASK_PIPES", can_ask)
    reading, writing = os.pipe()
    answers = []
    answered = threading.Semaphore(0)

    def answer():
        with os.fdopen(reading, "rb") as source:
            for window in translate_stream(Shouting(), source, StreamSettings(window_lines)):
                answers.append(window.given)
                answered.release()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        for question in (b"a\nb\n", b"c\nd\n"):
            os.write(writing, question)
            for _ in range(2 // window_lines):
                assert answered.acquire(timeout=10)
    finally:
        with suppress(OSError):
            os.close(writing)
        thread.join(timeout=10)
    assert b"".join(answers) == b"A\nB\nC\nD\n"
