"""Weights that are there but may not be read are told from weights that are missing or damaged."""

import os

import pytest
import torch
from safetensors.torch import save_file

from tfcli.commands.folder_facts import count_parameters
from tfcli.errors import CheckpointError
from tfcli.model.folder import read_tensors


@pytest.fixture
def unreadable(tmp_path):
    """Return weights that nobody may read; root, who may read everything, becomes nobody meanwhile."""
    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    path.chmod(0)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    yield path
    if is_root:
        os.seteuid(0)


@pytest.mark.parametrize("read", [read_tensors, count_parameters])
def test_weights_that_may_not_be_read_are_not_called_missing_or_damaged(unreadable, read):
    with pytest.raises(CheckpointError) as caught:
        read(unreadable)
    assert caught.value.message == f"{unreadable}: cannot be read: Permission denied"
    assert "train again" not in caught.value.hint
