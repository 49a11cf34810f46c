"""``i2i run --processes N``: the same command in N processes that share the batches.

If one process fails, the others are stopped, so that none waits for it. If this one ends, they end too. torchrun and
``accelerate launch`` also work. This command also checks the number of processes, prints a user's error once and without a
traceback, and does not listen to the network: the processes meet through a file and use the loopback interface.
"""

import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import torch

from i2i.errors import UserError
from i2i.stopping import INTERRUPTED, LAUNCHED, on_signals, out_of_time
from i2i.translation.precision import this_device

_GRACE = 2.0  # seconds


def launch(count: int, command: Sequence[str], grace: float) -> int:
    """Run ``python -m i2i COMMAND`` in several processes; returns the exit code for this one.

    SIGTERM and SIGHUP are passed on to them: they save, and have *grace* seconds for it.

    Raises:
        UserError: there are fewer accelerators than processes.
    """
    devices = torch.accelerator.device_count() if this_device().type != "cpu" else 0
    if devices and devices < count:
        raise UserError(f"--processes {count}: there are only {devices} accelerators. Give at most that many.")
    shared = {**os.environ, "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    shared["GLOO_SOCKET_IFNAME"] = shared["NCCL_SOCKET_IFNAME"] = _loopback()
    if not devices:
        shared["ACCELERATE_USE_CPU"] = "true"
        shared.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    asked: list[int] = []

    def ask(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    # What the others say is shown only if one of them is the first to fail.
    with tempfile.TemporaryDirectory() as meeting, tempfile.TemporaryFile() as said, on_signals(ask):
        shared[LAUNCHED] = str(Path(meeting) / "store")
        processes = []
        for rank in range(count):
            environment = {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            quiet = {} if rank == 0 else {"stdout": subprocess.DEVNULL, "stderr": said}
            line = [sys.executable, "-m", "i2i", *command]
            processes.append(subprocess.Popen(line, env=environment, stdin=subprocess.PIPE, **quiet))  # type: ignore[call-overload]
        rank, code = _wait(processes, asked, grace)
        if rank > 0:
            said.seek(0)
            sys.stderr.write(said.read().decode(errors="replace"))
    if code == -signal.SIGTERM and asked:  # before there was anything to save
        return INTERRUPTED
    if code < 0:
        name = signal.Signals(-code).name
        print(
            f"i2i: process {rank} of {count} was killed ({name}); the others were stopped. Continue with --resume.",
            file=sys.stderr,
        )
        return 1
    return code


def _wait(processes: Sequence[subprocess.Popen[bytes]], asked: Sequence[int], grace: float) -> tuple[int, int]:
    """Wait for all, and stop the rest at the first bad end. (rank, exit code) of that one, or of one that was interrupted.

    What this process was *asked* is passed on as SIGTERM: in a terminal Ctrl-C reaches the others as well, and counts once.
    """
    deadline = None
    try:
        while not (failed := _ended(processes, badly=True)) and any(process.poll() is None for process in processes):
            if asked and deadline is None:
                deadline = math.inf
                for process in processes:
                    process.terminate()
            if deadline == math.inf and any(number != signal.SIGINT for number in asked):
                deadline = time.monotonic() + grace
            if asked.count(signal.SIGINT) > 1:
                return 0, INTERRUPTED
            if deadline is not None and time.monotonic() > deadline:
                print(out_of_time(grace), file=sys.stderr)
                return 0, 1
            time.sleep(0.05)
        if failed and all(code > 0 for _, code in failed):
            time.sleep(_GRACE)  # an error that all processes find is printed by the first
        ended = _ended(processes)
        # Who was killed is the cause, even if one that missed it was quicker to end.
        killed = [end for end in failed if end[1] < 0] or [end for end in ended if end[1] == -signal.SIGKILL]
        return next(iter(killed or ended), (0, 0))
    finally:
        for process in processes:
            process.kill()  # it cannot continue without the others; what it has saved is complete
        for process in processes:
            process.wait()


def _ended(processes: Sequence[subprocess.Popen[bytes]], badly: bool = False) -> list[tuple[int, int]]:
    """(rank, exit code) of those that did not end well; interrupted ones saved, and ended *badly* no more than the rest."""
    fine = (None, 0, INTERRUPTED) if badly else (None, 0)
    return [(rank, process.returncode) for rank, process in enumerate(processes) if process.poll() not in fine]


def _loopback() -> str:
    """The name of the interface that only this machine sees: lo, lo0 on a Mac."""
    return next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")
