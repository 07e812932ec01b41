"""The import of torch, which is most of what a command takes to start."""

from __future__ import annotations

import gc
import sys


def import_torch() -> None:
    """Import torch without a search for garbage meanwhile, and leave what stays for good out of later searches.

    It makes some hundred thousand objects, all of which stay: searches that find none of them free took up to half of
    the import, and the one at exit as long again.
    """
    if "torch" in sys.modules:
        return
    searched = gc.isenabled()
    gc.disable()
    try:
        import torch  # noqa: F401

        gc.freeze()
    finally:
        if searched:
            gc.enable()
