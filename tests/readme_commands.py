"""Commands that the README and the pages of docs/ tell to type, run as one would: by a shell, in a folder."""

import os
import subprocess
import sys
from pathlib import Path


def run(folder, script):
    """Run a line or several in bash, the `tfcli` of this environment on the path."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {**os.environ, "PATH": path, "NO_COLOR": "1"}
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
