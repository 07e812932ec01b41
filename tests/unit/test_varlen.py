"""When attention is left to torch's kernel for packed sentences, and that a run keeps to what it began with."""

import json
import os
from dataclasses import replace

import pytest
import torch

from tests.training_runs import make_run
from tfcli.errors import RecipeError
from tfcli.model import varlen
from tfcli.model.varlen import has_varlen
from tfcli.training.checkpoint import _sha256, checkpoint_folders
from tfcli.training.fit import fit
from tfcli.training.repeatable import repeatable
from tfcli.training.resume import begun_settings

CUDA = torch.device("cuda")


@pytest.fixture
def pretended_gpu(monkeypatch):
    """Return a function that has torch say what it would say with a GPU of some capability."""

    def pretend(capability=(9, 0), *, flash=True):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: flash)

    return pretend


def test_the_kernel_of_the_torch_that_is_installed_has_the_arguments_that_are_used():
    assert varlen._torch_has_the_kernel()


def test_the_kernel_is_taken_where_device_arithmetic_and_network_allow_it(pretended_gpu, tiny_config):
    config = tiny_config(d_model=64, n_heads=4)
    pretended_gpu()
    assert has_varlen(CUDA, "bf16", config)
    assert not has_varlen(torch.device("cpu"), "bf16", config)
    assert not has_varlen(CUDA, "fp32", config)
    assert not has_varlen(CUDA, "bf16", replace(config, attention_dropout=0.1))
    assert not has_varlen(CUDA, "bf16", replace(config, d_model=48))  # heads of 12
    assert not has_varlen(CUDA, "bf16", replace(config, d_model=1024))  # heads of 256
    pretended_gpu((7, 5))
    assert not has_varlen(CUDA, "bf16", config)
    pretended_gpu(flash=False)
    assert not has_varlen(CUDA, "bf16", config)


def test_an_older_torch_has_no_such_kernel(pretended_gpu, tiny_config, monkeypatch):
    pretended_gpu()
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", lambda q, k, v, is_causal=False: None)
    assert not has_varlen(CUDA, "bf16", tiny_config(d_model=64))


def test_a_torch_whose_kernel_knows_no_groups_has_it_for_networks_without_them(
    pretended_gpu, tiny_config, monkeypatch
):
    pretended_gpu()
    grouped = tiny_config(d_model=64, n_kv_heads=2)
    assert has_varlen(CUDA, "bf16", grouped)
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", lambda q, k, v, window_size=(-1, -1): None)
    assert has_varlen(CUDA, "bf16", replace(grouped, n_kv_heads=4))
    assert not has_varlen(CUDA, "bf16", grouped)


def test_a_run_keeps_to_the_kernel_it_began_with(tmp_path):
    asked = iter([False, True])
    run = replace(make_run(tmp_path, stop_asked=lambda: next(asked)), varlen=True)
    assert fit(run).reason == "stopped"
    assert begun_settings(run.run_dir)["training.varlen"] is True
    with pytest.raises(RecipeError, match=r"training\.varlen: True -> False"):
        fit(replace(run, varlen=False))
    assert fit(replace(run, stop_asked=lambda: False)).reason == "finished"


def test_a_checkpoint_from_before_there_was_a_choice_goes_on_with_padded_rows(tmp_path):
    asked = iter([False, True])
    run = make_run(tmp_path, stop_asked=lambda: next(asked))
    fit(run)
    folder = checkpoint_folders(run.run_dir / "checkpoints")[-1]
    values = json.loads((folder / "state.json").read_text())
    del values["settings"]["training.varlen"]
    (folder / "state.json").write_text(json.dumps(values))
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(
        json.dumps({**manifest, "state.json": _sha256(folder / "state.json")})
    )
    assert begun_settings(run.run_dir)["training.varlen"] is False
    assert fit(replace(run, stop_asked=lambda: False)).reason == "finished"


def test_no_run_has_begun_in_an_empty_folder(tmp_path):
    assert begun_settings(tmp_path) == {}


def test_sums_on_a_gpu_are_made_in_a_fixed_order_within_the_block_alone(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")

    def fail():
        with repeatable(CUDA):
            assert torch.are_deterministic_algorithms_enabled()
            assert not torch.utils.deterministic.fill_uninitialized_memory
            assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
            raise RuntimeError("in the block")

    with pytest.raises(RuntimeError, match="in the block"):
        fail()
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory
    with repeatable(torch.device("cpu")):
        assert not torch.are_deterministic_algorithms_enabled()
