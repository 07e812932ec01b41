"""What must not wait: a call that hangs fails."""

import signal
from contextlib import contextmanager


@contextmanager
def within(seconds):
    """Raise TimeoutError in the block when it takes longer, also in the middle of a system call."""

    def too_late(*_):
        raise TimeoutError(f"not done within {seconds} s")

    before = signal.signal(signal.SIGALRM, too_late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
