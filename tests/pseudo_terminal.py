"""Commands run as in front of a terminal, and what it is sent."""

import fcntl
import os
import pty
import struct
import subprocess
import termios

LOOKS = ("NO_COLOR", "FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "COLUMNS", "LINES", "TTY_COMPATIBLE")
PLAIN = {name: value for name, value in os.environ.items() if name not in LOOKS}


def on_terminal(command, columns=100, stdin=subprocess.DEVNULL, stdout=None, code=0, **environment):
    """Run a command with a terminal for stderr, and for stdout unless it goes elsewhere; it must end with `code`.

    Return what the terminal was sent, and what went elsewhere.
    """
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        list(map(str, command)),
        stdin=stdin,
        stdout=follower if stdout is None else stdout,
        stderr=follower,
        env={**PLAIN, "TERM": "xterm-256color", **environment},
    )
    os.close(follower)
    sent = b""
    try:
        while chunk := os.read(leader, 65536):
            sent += chunk
    except OSError:
        pass  # Linux says EIO when the other end is closed
    os.close(leader)
    elsewhere = b""
    if process.stdout is not None:
        with process.stdout as stream:
            elsewhere = stream.read()
    assert process.wait() == code, sent
    return sent.decode(), elsewhere.decode()
