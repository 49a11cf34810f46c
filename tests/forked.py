"""``i2i`` in processes of its own that are forks of one that has imported torch, which would take most of a small run's time.

From then on such a process does what one does that a person starts, with arguments, folder, environment and streams of its own;
those that ``i2i run --processes N`` starts are forks of it. tests/test_processes.py starts some for real.
"""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import finalize

SERVER = multiprocessing.get_context("forkserver")
PRELOADED = """
torch._dynamo i2i.cli i2i.training.running i2i.training.launch i2i_cyclegan i2i_pix2pix i2i_spade i2i_unit i2i_earth.dataset
i2i_translate.commands i2i_evaluate.evaluation
"""
SERVER.set_forkserver_preload(PRELOADED.split())
_FORK = multiprocessing.get_context("fork")


class Forked:
    """What tests use of ``subprocess.Popen``, with streams that are files."""

    def __init__(self, life: Callable[..., None], *given: Any, folder: Path, environment: Mapping[str, str]) -> None:
        place = Path(tempfile.mkdtemp())
        finalize(self, shutil.rmtree, place, ignore_errors=True)
        self._streams = [place / name for name in ("out", "err")]
        for stream in self._streams:
            stream.touch()
        self._process = SERVER.Process(target=_life, args=(life, given, folder, dict(environment), self._streams))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    poll = returncode.fget

    def so_far(self) -> str:
        """What it has written to its standard output."""
        return self._streams[0].read_text(encoding="utf-8")

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, negative if a signal ended it; it raises what ``subprocess.Popen`` raises."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("i2i", timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        if self._process.is_alive():
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end; what it wrote to both streams."""
        self.wait(timeout)
        out, err = (path.read_text(encoding="utf-8") for path in self._streams)
        return out, err


def started(arguments: Sequence[str], folder: Path | None = None, environment: Mapping[str, str] = os.environ) -> Forked:
    """``i2i ARGUMENTS`` in a folder, by default the current one."""
    return Forked(command, list(arguments), folder=folder or Path.cwd(), environment=environment)


def ran(
    arguments: Sequence[str], folder: Path | None = None, environment: Mapping[str, str] = os.environ, timeout: float = 240
) -> subprocess.CompletedProcess[str]:
    """The same, when it has ended."""
    return ended(started(arguments, folder, environment), timeout)


def ran_python(code: str, folder: Path, environment: Mapping[str, str] = os.environ) -> subprocess.CompletedProcess[str]:
    """``python -c CODE``."""
    return ended(Forked(execute, code, folder=folder, environment=environment), 240)


def ran_script(script: Path, arguments: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """``python SCRIPT ARGUMENTS``."""
    code = f"sys.path.insert(0, {str(script.parent)!r})\nrunpy.run_path({str(script)!r}, run_name='__main__')"
    process = Forked(execute, f"import runpy, sys\n{code}", *arguments, folder=folder, environment=os.environ)
    return ended(process, 300)


def ended(process: Forked, timeout: float) -> subprocess.CompletedProcess[str]:
    try:
        out, err = process.communicate(timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess([], process.wait(), out, err)


def command(arguments: list[str]) -> None:
    """The life of ``i2i``."""
    from i2i.cli import main
    from i2i.training import launch

    launch.subprocess = _Launching  # type: ignore[attr-defined,assignment]
    sys.argv = ["i2i", *arguments]
    main()


def execute(code: str, *arguments: str) -> None:
    """The life of ``python -c CODE ARGUMENTS``, which finds the tests' modules too."""
    sys.argv = ["-c", *arguments]
    sys.path.insert(0, str(Path(__file__).parent))
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})


def _life(life: Callable[..., None], given: Any, folder: Path, environment: Mapping[str, str], streams: list[Path]) -> None:
    for number, path in enumerate(streams, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
    os.chdir(folder)
    sys.path[:0] = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path not in sys.path]
    _live(life, given, environment)


def _live(life: Callable[..., None], given: Any, environment: Mapping[str, str]) -> None:
    import torch

    from i2i.telemetry import turn_off

    os.environ.clear()
    os.environ.update(environment)
    turn_off()  # as importing i2i does
    multiprocessing.set_start_method(None, force=True)  # what is inherited is not the usual one
    torch.set_num_threads(int(environment.get("OMP_NUM_THREADS", "1")))
    sys.stdout, sys.stderr = (os.fdopen(os.dup(number), "w", buffering=1, encoding="utf-8") for number in (1, 2))
    life(*given)


class _Launching:
    """What ``i2i.training.launch`` uses of ``subprocess``, by forks."""

    PIPE, DEVNULL = subprocess.PIPE, subprocess.DEVNULL
    held: list[int] = []  # noqa: RUF012 - the open ends of the others' standard input
    Popen: Any


class _Fork:
    def __init__(self, line: list[str], env: Mapping[str, str], stdin: int, stdout: Any = None, stderr: Any = None) -> None:
        assert (line[:3], stdin) == ([sys.executable, "-m", "i2i"], subprocess.PIPE)
        read, write = os.pipe()
        _Launching.held.append(write)
        streams = {0: read, 1: os.open(os.devnull, os.O_WRONLY) if stdout else None, 2: stderr and stderr.fileno()}
        self._process = _FORK.Process(target=_launched, args=(line[3:], dict(env), streams))
        self._process.start()
        os.close(read)

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> None:
        self._process.join()

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()


_Launching.Popen = _Fork


def _launched(arguments: list[str], environment: Mapping[str, str], streams: Mapping[int, int | None]) -> None:
    for end in _Launching.held:
        os.close(end)
    for number, other in streams.items():
        if other is not None:
            os.dup2(other, number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for asked in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(asked, signal.SIG_DFL)
    _live(command, [arguments], environment)


def wait_for(there: Callable[[], object], patience: float = 120) -> None:
    """Until it is true."""
    until = time.monotonic() + patience
    while not there():
        assert time.monotonic() < until
        time.sleep(0.02)
