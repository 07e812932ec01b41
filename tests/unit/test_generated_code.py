"""What is generated for each shape of a product does not pile up."""

import os
import platform
import subprocess
import sys

import pytest

from tfcli.commands.machine import share_the_cores

# Above what 64 entries of each cache took where this was measured (30 MB), below what 1,024 took (160 MB).
MAX_BYTES = 80e6

PRODUCTS_OF_MANY_SHAPES = """
import ctypes
from tfcli.commands.machine import share_the_cores
share_the_cores(training=True)
import torch

FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
class Info(ctypes.Structure):  # struct mallinfo2 of <malloc.h>
    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS]
mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Info

def used_bytes():
    info = mallinfo2()
    return info.uordblks + info.hblkhd

def multiply(first, last):
    for n_rows in range(first, last):
        torch.ones(n_rows, 256, dtype=torch.bfloat16) @ matrix

matrix = torch.ones(256, 256, dtype=torch.bfloat16)
multiply(100, 110)
before = used_bytes()
multiply(110, 400)
print(used_bytes() - before)
"""


def test_more_shapes_are_kept_to_translate_than_to_train_and_what_the_user_set_stays(monkeypatch):
    names = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
    for training, expected in ((True, "64"), (False, "256")):
        for name in names:
            monkeypatch.delenv(name, raising=False)
        share_the_cores(training=training)
        assert [os.environ[name] for name in names] == [expected] * 2
    monkeypatch.setenv(names[1], "7")
    share_the_cores(training=True)
    assert os.environ[names[1]] == "7"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_products_of_many_shapes_leave_little_in_memory(monkeypatch):
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        monkeypatch.delenv(name, raising=False)
    done = subprocess.run(
        [sys.executable, "-c", PRODUCTS_OF_MANY_SHAPES], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < MAX_BYTES
