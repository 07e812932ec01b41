"""`torchrun ... -m tfcli train`: the real launcher, real signals, and what the ranks say and leave behind."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import write_small_corpus
from tfcli.commands import console, machine, ranks
from tfcli.errors import RecipeError

ROOT = Path(__file__).resolve().parents[2]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": str(ROOT)}
SETTINGS = ["model.dropout=0.1", "training.precision=fp32", "training.validate_every=60"]


def train(*more, cwd, program=("-m",), env=None):
    settings = [f"--set={setting}" for setting in SETTINGS]
    command = [sys.executable, *program, "tfcli", "train", "small.yaml", "--out", "run", *settings, *more]
    return subprocess.Popen(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **ONE_THREAD, **(env or {})},
    )


def torchrun(*more, cwd):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1", "-m")
    return train(*more, cwd=cwd, program=launcher)


def wait_for(path, *processes):
    end_time = time.monotonic() + 120
    while not path.exists():
        for process in processes:
            assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < end_time, f"{path} did not appear"
        time.sleep(0.01)


def pid_of_rank(rank, launcher):
    """Return the process that a launcher has started as a rank."""
    pids = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    [found] = [
        pid for pid in pids if f"\0RANK={rank}\0".encode() in Path(f"/proc/{pid}/environ").read_bytes()
    ]
    return int(found)


def weights(folder, step):
    return (folder / "run" / "checkpoints" / f"step-{step:08d}" / "model.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="ranks are told apart by /proc")
def test_a_rank_that_is_killed_is_started_anew_and_nothing_is_lost(tmp_path):
    through, killed = tmp_path / "through", tmp_path / "killed"
    for folder in (through, killed):
        folder.mkdir()
        write_small_corpus(folder)
    steps = ("--set=training.max_steps=60", "--set=training.checkpoint_every=10")
    process = torchrun(*steps, cwd=through)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err.decode()
    # --fresh drops what was there before, not what the restarted command itself has made
    process = torchrun(*steps, "--fresh", cwd=killed)
    wait_for(killed / "run" / "checkpoints" / "step-00000020", process)
    os.kill(pid_of_rank(1, process), signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    said = err.decode()
    assert process.returncode == 0, said[:3000]
    assert re.search(r"resuming from run/checkpoints/step-000000[2-5]0\n", said)
    assert said.count("finished at step 60") == 1
    assert weights(killed, 60) == weights(through, 60)
    assert json.loads((killed / "run" / "environment.json").read_text())["ranks"] == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "codes"),
    [((signal.SIGTERM, signal.SIGTERM), [143, 143]), ((None, signal.SIGINT), [143, 130])],
    ids=["sigterm", "ctrl-c-on-one"],
)
def test_a_signal_stops_all_ranks_at_the_same_step_with_a_checkpoint(tmp_path, sent, codes):
    write_small_corpus(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    told = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    more = ("--set=training.max_steps=100000", "--set=training.checkpoint_every=10")
    processes = [
        train(*more, cwd=tmp_path, env={**told, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(2)
    ]
    wait_for(tmp_path / "run" / "checkpoints" / "step-00000010", *processes)
    for process, number in zip(processes, sent, strict=True):
        if number is not None:
            process.send_signal(number)
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == codes, outputs
    [step] = re.findall(rb"stopped at step (\d+);", outputs[0][1])
    assert (tmp_path / "run" / "checkpoints" / f"step-{int(step):08d}" / "manifest.json").exists()
    assert outputs[0][0] == outputs[1][0] == b""
    assert b"step" not in outputs[1][1].replace(b"[c10d]", b"")


@pytest.mark.slow
def test_a_mistake_is_told_once_and_all_ranks_end_with_its_code(tmp_path):
    write_small_corpus(tmp_path)
    (tmp_path / "valid.de").unlink()
    process = torchrun(cwd=tmp_path)
    out, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert out == b""
    first_start = err.decode().partition("restart")[0]
    assert first_start.count("error: data.valid.tgt: no file valid.de") >= 1
    assert err.decode().count("error: data.valid.tgt: no file valid.de") == 2  # it was started twice
    assert "has ended" not in err.decode()


def test_one_process_meets_nobody(monkeypatch):
    for name, value in (("WORLD_SIZE", "1"), ("RANK", "0")):
        monkeypatch.setenv(name, value)
        assert ranks.meet("cpu") == (ranks.ALONE, "cpu")
    monkeypatch.delenv("RANK")
    monkeypatch.setenv("WORLD_SIZE", "4")  # of another program's making
    assert ranks.meet(None) == (ranks.ALONE, None)


def test_a_gpu_is_each_ranks_own(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [str(ranks._own_device("auto", n)) for n in (0, 1)] == ["cuda:0", "cuda:1"]
    assert str(ranks._own_device("cpu", 5)) == "cpu"
    with pytest.raises(
        RecipeError, match=r"--device cuda:1: several ranks cannot share one such device"
    ) as one:
        ranks._own_device("cuda:1", 0)
    assert "--device cuda, where each rank takes a GPU of its own" in one.value.hint
    with pytest.raises(
        RecipeError, match=r"rank 2 of this machine finds no GPU: there are 2, and each"
    ) as none:
        ranks._own_device("cuda", 2)
    assert none.value.hint == "start 2 of them (torchrun --nproc-per-node), or use --device cpu"


@pytest.mark.parametrize(
    ("ranks_here", "given", "expected"),
    [("1", None, None), ("1", "1", "1"), ("2", None, "4"), ("2", "1", "4"), ("3", "1", "2"), ("16", "1", "1"),
     ("2", "3", "3")],
)  # fmt: skip
def test_ranks_share_the_cores(monkeypatch, ranks_here, given, expected):
    monkeypatch.setattr(machine, "n_cores", lambda: 8)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks_here)
    monkeypatch.setenv("OMP_NUM_THREADS", given or "")
    if given is None:
        monkeypatch.delenv("OMP_NUM_THREADS")
    machine.share_the_cores()
    assert os.environ.get("OMP_NUM_THREADS") == expected


def test_ranks_but_the_first_say_nothing_but_errors(monkeypatch, capsys):
    monkeypatch.setattr(console._Settings, "verbosity", console.Verbosity.ERRORS)
    console.say("a remark")
    console.warn("a warning")
    assert capsys.readouterr().err == ""
    console.fail("an error")
    assert capsys.readouterr().err == "error: an error\n"
