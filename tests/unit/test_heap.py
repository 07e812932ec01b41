"""Freed memory goes back to the system, which the C library would keep."""

import platform
from pathlib import Path

import pytest
import torch

from tfcli.training.heap import give_back_freed_memory

PAGE_BYTES = 4096
BLOCK_BYTES = 64 * 1024  # below what glibc maps apart from its heap


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_what_was_freed_among_blocks_in_use_goes_back_to_the_system():
    blocks = [torch.ones(BLOCK_BYTES // 4) for _ in range(2000)]
    kept = blocks[::10]
    full = resident_bytes()
    del blocks
    give_back_freed_memory()
    freed = 1800 * BLOCK_BYTES
    assert full - resident_bytes() > freed / 2
    assert all(bool((block == 1).all()) for block in kept)
