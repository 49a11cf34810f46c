"""Runs that are asked to stop, and processes whose parent has ended."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

import killing
import toy
from forked import Forked, execute, wait_for
from i2i.registry import hookimpl
from i2i.stopping import LAUNCHED, on_signals
from i2i.training.run_folder import is_locked
from i2i.training.state import Run
from i2i.translation.checkpoints import checkpoints, read_manifest, step_of

START = """
import os, sys, time
import pytest, terminal, toy
os.setsid()
from i2i import registry
toys = toy.registry()
terminal.install(pytest.MonkeyPatch(), toys)
sys.argv = ["i2i", "run", "toy.yaml", "--set", "train.steps=100000", "--out", "out", *sys.argv[1:]]
"""
HANG = """
class Hang:
    @registry.hookimpl
    def step_ended(self, run):
        if run.step == 3:
            open("hangs", "x").close()
            time.sleep(1000)
toys._manager.register(Hang())
"""
MAIN = "from i2i.cli import main\nmain()"


@contextmanager
def running(folder: Path, *more: str, code: str = "") -> Iterator[Forked]:
    """``i2i run`` on toys, in a process group of its own, once it has made a step."""
    (folder / "toy.yaml").write_text(toy.RECIPE)
    process = Forked(execute, START + code + MAIN, *more, folder=folder, environment=os.environ)
    try:
        wait_for(lambda: (folder / "out" / "metrics.jsonl").exists() or process.poll() is not None)
        yield process
    finally:
        process.kill()
        process.wait()


def loaders(process: Forked) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    wait_for(lambda: found.extend(psutil.Process(process.pid).children()) or found)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_finishes_the_step_and_saves(tmp_path: Path, number: signal.Signals) -> None:
    class Ask:
        @hookimpl(tryfirst=True)
        def step_ended(self, run: Run) -> None:
            if run.step == 3:
                os.kill(os.getpid(), number)

    run = toy.trained(tmp_path, watcher=Ask())
    assert run.step == 3
    assert step_of(checkpoints(tmp_path / "out")[-1]) == 3


@pytest.mark.slow
def test_a_signal_for_the_whole_group_saves_too(tmp_path: Path) -> None:
    """As a terminal or ``timeout`` sends it: the loader processes get it as well, and go on for so long."""
    with running(tmp_path, "--set", "train.workers=1") as process:
        loaded = loaders(process)
        os.killpg(process.pid, signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "continue with: i2i run toy.yaml --set train.steps=100000 --out out --set train.workers=1 --resume" in out
    stopped = int(out.split("stopped after step ")[1].split()[0])
    assert step_of(checkpoints(tmp_path / "out")[-1]) == stopped
    assert "Traceback" not in err
    assert not any(loader.is_running() and loader.status() != psutil.STATUS_ZOMBIE for loader in loaded)


@pytest.mark.slow
def test_after_the_grace_time_a_run_ends_hard(tmp_path: Path) -> None:
    with running(tmp_path, "--grace", "0.5", code=HANG) as process:
        wait_for((tmp_path / "hangs").exists)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "did not save within 0.5 s (--grace) and was ended" in err
    assert read_manifest(checkpoints(tmp_path / "out")[-1])["step"] == 2


@pytest.mark.slow
def test_loaders_end_with_a_run_that_is_killed(tmp_path: Path) -> None:
    with running(tmp_path, "--set", "train.workers=2") as process:
        loaded = loaders(process)
        process.kill()
        process.wait()
        wait_for(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in loaded), patience=3)
    assert not is_locked(tmp_path / "out")


@pytest.mark.slow
def test_a_loader_that_is_killed_ends_the_run_with_a_sentence(tmp_path: Path) -> None:
    with running(tmp_path, "--set", "train.workers=1") as process:
        (loader,) = loaders(process)
        loader.kill()
        _, err = process.communicate(timeout=30)
    assert process.returncode == 2, err
    assert "a loader process has ended (" in err
    assert "Set train.workers to 0 or a smaller number, and continue with --resume." in err
    assert "Traceback" not in err


def test_a_hangup_stays_ignored_where_it_is() -> None:
    """As under nohup."""
    seen: list[int] = []
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with on_signals(lambda number, _: seen.append(number)):
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert seen == [signal.SIGTERM]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread alone waits, which native code can keep from running")
def test_a_process_in_a_long_call_ends_with_its_launcher_too() -> None:
    code = "from i2i.stopping import end_with_launcher\nend_with_launcher()\nprint('in', flush=True)\nsum(range(10**13))"
    environment = {**os.environ, LAUNCHED: "somewhere"}
    line = [sys.executable, "-c", code]
    process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"in\n"
    process.stdin.close()
    try:
        assert process.wait(timeout=10) in (-signal.SIGIO, 1)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.slow
def test_launchers_that_are_killed_leave_nothing_and_resume_to_the_same(tmp_path: Path) -> None:
    killing.compare_launched(kills=2, folder=tmp_path, seed=int(os.environ.get("I2I_SEED", "0")))
