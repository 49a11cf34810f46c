"""A program in a process of its own, whose every connection and every new file in the home folder is noted."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_HEAD = """
import os, sys
_calls = os.open(os.environ["WATCHED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def _local(host):
    here = (None, "", b"", "localhost", "::1", "0.0.0.0", "::")
    return host in here or str(host).startswith(("127.", "169.254."))  # the latter is a cloud's word on its own machine
def _hook(event, given):
    if event == "socket.getaddrinfo" or event == "socket.gethostbyname":
        host = given[0]
    elif event in ("socket.connect", "socket.sendto"):
        host = given[1][0] if isinstance(given[1], tuple) else None  # else a socket in the file system
    else:
        return
    if not _local(host):
        os.write(_calls, f"{event} {host}\\n".encode())
sys.addaudithook(_hook)
"""


@dataclass(frozen=True)
class Watched:
    """``calls`` are looks at the network beyond this machine, ``files`` the new files in the home folder."""

    code: int
    output: str
    calls: list[str]
    files: list[str]


def watched(program: str, folder: Path, **environment: str) -> Watched:
    """Run a program in *folder* with an empty home folder there, and nothing of the test's environment about telemetry."""
    home, calls = folder / "home", folder / "calls.txt"
    home.mkdir()
    inherited = {
        name: os.environ[name] for name in ("PATH", "PYTHONPATH", "OMP_NUM_THREADS", "VIRTUAL_ENV") if name in os.environ
    }
    tests = str(Path(__file__).parent)
    inherited["PYTHONPATH"] = os.pathsep.join([*filter(None, [inherited.get("PYTHONPATH")]), tests])
    done = subprocess.run(
        [sys.executable, "-c", _HEAD + program],
        cwd=folder,
        env={**inherited, "HOME": str(home), "WATCHED": str(calls), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    looks = calls.read_text().splitlines() if calls.exists() else []
    files = sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())
    return Watched(done.returncode, done.stdout + done.stderr, looks, files)
