"""Two ranks for tests: processes that stay, meet anew for each job through a file, and send back what it returned."""

import multiprocessing
import os
import traceback

SECONDS = 120  # for a job: what takes longer hangs


class TwoRanks:
    """Two processes that run the same function at the same time, each with its `Ranks`."""

    def __init__(self):
        context = multiprocessing.get_context("spawn")
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        self.pipes, self.processes = [], []
        for rank in range(2):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(rank, there), daemon=True)
            process.start()
            there.close()
            self.pipes.append(here)
            self.processes.append(process)
        self.jobs = 0

    def start(self, folder, function, *args, patience=60.0):
        """Have both ranks call `function(ranks, *args)`."""
        self.jobs += 1
        for pipe in self.pipes:
            pipe.send((str(folder / f".ranks-{self.jobs}"), patience, function, args))

    def result(self, rank):
        """Return what a rank's function returned, or the error that it raised."""
        assert self.pipes[rank].poll(SECONDS), f"rank {rank} does not come back"
        kind, value, told = self.pipes[rank].recv()
        assert kind != "defect", told
        return value

    def run(self, folder, function, *args, **options):
        """Have both ranks call `function(ranks, *args)`, and return both results."""
        self.start(folder, function, *args, **options)
        return [self.result(rank) for rank in range(2)]

    def close(self):
        for process in self.processes:
            process.kill()
            process.join()


def _serve(rank, pipe):
    import torch
    import torch.distributed as dist

    from tfcli.errors import TfcliError
    from tfcli.training.distributed import join

    torch.set_num_threads(1)
    while True:
        try:
            path, patience, function, args = pipe.recv()
        except EOFError:
            return
        try:
            ranks = join(rank, 2, torch.device("cpu"), dist.FileStore(path, 2), patience)
            pipe.send(("result", function(ranks, *args), ""))
        except TfcliError as error:
            pipe.send(("result", error, ""))
        except BaseException as error:
            pipe.send(("defect", None, f"rank {rank}: {error!r}\n{traceback.format_exc()}"))
        if dist.is_initialized():
            dist.destroy_process_group()
