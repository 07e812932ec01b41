"""`python -m tfcli`, for torchrun and for environments without the `tfcli` command on the path."""

import sys

from tfcli.app import main

# Worker processes that are spawned import this file again; they must not run the command again.
if __name__ == "__main__":
    sys.exit(main())
