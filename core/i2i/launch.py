"""``i2i run --processes N``: the same command in N processes that share the batches.

If one of them ends badly the others are stopped: nobody waits for a process that is gone. torchrun and ``accelerate
launch`` work as well; this adds that the number is checked and that a person's mistake is said once, without a traceback.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from i2i.errors import UserError

_GRACE, _PATIENCE = 2.0, 10.0  # seconds


def launched() -> bool:
    """Whether this process is one of several that something has launched."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def launch(count: int, command: Sequence[str]) -> int:
    """Run ``python -m i2i COMMAND`` in so many processes; the exit code for this one.

    Raises:
        UserError: there are fewer accelerators than processes.
    """
    import torch

    devices = torch.accelerator.device_count() if torch.accelerator.is_available() else 0
    if devices and devices < count:
        raise UserError(f"--processes {count}: there are only {devices} accelerators. Give at most that many.")
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(count)}
    shared["LOCAL_WORLD_SIZE"] = str(count)
    if not devices:
        shared["ACCELERATE_USE_CPU"] = "true"
        shared.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    with tempfile.TemporaryFile() as said:  # what the others say is shown only if one of them is the first to fail
        processes = []
        for rank in range(count):
            environment = {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            quiet = {} if rank == 0 else {"stdout": subprocess.DEVNULL, "stderr": said}
            processes.append(subprocess.Popen([sys.executable, "-m", "i2i", *command], env=environment, **quiet))  # type: ignore[call-overload]
        failed = _wait(processes)
        if failed is None:
            return 0
        rank, code = failed
        if rank > 0:
            said.seek(0)
            sys.stderr.write(said.read().decode(errors="replace"))
    if code < 0:
        name = signal.Signals(-code).name
        print(
            f"i2i: process {rank} of {count} was killed ({name}); the others were stopped. Go on with --resume.",
            file=sys.stderr,
        )
        return 1
    return code


def _wait(processes: Sequence[subprocess.Popen[bytes]]) -> tuple[int, int] | None:
    """Wait for all; at the first bad end stop the rest. (rank, exit code) of that one.

    Ctrl-C reaches the processes themselves, which finish their step and save.
    """
    failed = None
    try:
        while failed is None and any(process.poll() is None for process in processes):
            try:
                time.sleep(0.05)
            except KeyboardInterrupt:
                continue
            failed = next(((rank, p.returncode) for rank, p in enumerate(processes) if p.poll() not in (None, 0)), None)
        if failed is not None and failed[1] < 0:
            return failed
        if failed is not None:
            time.sleep(_GRACE)  # a mistake that all find is said by the first
        ended = [(rank, process.returncode) for rank, process in enumerate(processes) if process.poll() not in (None, 0)]
        return ended[0] if ended else None
    finally:
        _stop(processes)


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()
    for process in processes:
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
