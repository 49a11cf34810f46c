"""Every command that reads a model, tried on malicious run folders: what happens, and how much time and memory it takes.

Each command runs in its own process, a fork of one that has imported torch, i2i and its plugins. An audit hook
(``sys.addaudithook``) sees what is opened, imported, compiled, executed, written, started and connected to. The command must
refuse the model within 2 s of processor time and 300 MB of additional memory, or translate as with the model without the trap.

    python benchmarks/traps.py [--traps NAME …] [--commands NAME …] [--json FILE]
"""

import json
import os
import re
import resource
import runpy
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from machine import arguments, keep, machine_line
from PIL import Image
from trap_folders import RAN, SECRET, TRAPS, WORKS, good_run, trapped

from i2i_evaluate.evaluation import RESULTS, Result, write_result

SECONDS, MEGABYTES = 2.0, 300.0
LONGEST = 60
"""Seconds after which a command is ended."""
COMMANDS: Mapping[str, str] = {
    "translate": "translate RUN PICTURE --out OUT/made --overwrite",
    "eval": "eval RUN --metrics l1 --images 1",
    "eval all": "eval RUN --images 1",
    "compare": "compare RUN GOOD --images 1 --pictures 1 --out OUT/page.html",
    "compare stored": "compare RUN GOOD --pictures 1 --out OUT/page.html",
    "export": "export RUN --format torch-export --out OUT/m.pt2",
    "serve": "serve RUN --port 0",
    "push": "push RUN ann/x --dry-run --out OUT/push",
    "inspect": "inspect PICTURE",
    "runs": "runs RUN/..",
    "replay": "replay RUN 1",
    "resume": "run RECIPE --out RUN --resume --set train.steps=3",
    "convert": "convert RUN/model/model.safetensors --from junyanz --out OUT/converted",
    "convert a pickle": "convert RUN/model/pytorch_model.bin --from junyanz --out OUT/converted",
}
"""The words in capitals stand for places."""
WRITES = dict.fromkeys(("eval", "eval all", "compare", "resume", "runs"), ("RUN",)) | {"compare stored": ("RUN", "GOOD")}
"""Commands that write into a run's folder: figures, the lock, a training that goes on."""


@dataclass
class Outcome:
    """One command on one trap: its exit code, seconds of processor and wall-clock time, megabytes from the fork to the
    peak, last line, forbidden acts."""

    code: int
    seconds: float
    clock: float
    megabytes: float
    said: str
    forbidden: list[str] = field(default_factory=list)

    @property
    def slow(self) -> bool:
        return self.seconds > SECONDS or self.megabytes > MEGABYTES


class Watch:
    """The audit hook of a child. Reading is allowed, except for Python files and pickles in the trap's folder."""

    def __init__(self, run: Path, allowed: list[Path]) -> None:
        self.place = str(run.parent)
        self.allowed = [str(path) for path in allowed]
        self.found: list[str] = []
        self.active = True

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.active:
            return
        self.active = False  # what this looks at is not looked at
        try:
            if told := self._forbidden(event, args):
                self.found.append(f"{event}: {told}"[:300])
        finally:
            self.active = True

    def _forbidden(self, event: str, args: tuple[Any, ...]) -> str:
        if event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile", "pty.spawn"):
            return str(args)
        if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request", "ftplib.connect"):
            return "" if event == "socket.getaddrinfo" and args[0] == "127.0.0.1" else str(args)
        if event == "socket.bind" and args[1][0] not in ("127.0.0.1", "::1"):
            return str(args[1])
        if event == "exec":
            name = str(getattr(args[0], "co_filename", ""))
            return name if self._in_trap(name) or RAN in map(str, getattr(args[0], "co_consts", ())) else ""
        if event == "compile":
            text = args[0] if isinstance(args[0], bytes) else str(args[0]).encode()
            return str(args[1]) if RAN.encode() + b"'" in text or self._in_trap(str(args[1])) else ""
        if event == "pickle.find_class":
            return f"{args[0]}.{args[1]}"
        if event == "ctypes.dlopen":
            return str(args[0]) if args[0] is not None and self._in_trap(str(args[0])) else ""
        if event == "open":
            return self._opened(*args)
        if event in ("os.mkdir", "os.remove", "os.rmdir", "os.rename", "os.link", "os.symlink", "os.truncate", "os.chmod"):
            places = args[:2] if event in ("os.rename", "os.link", "os.symlink") else args[:1]
            names = [_named(place, args[-1]) for place in places if isinstance(place, str | Path)]
            return next((name for name in names if not self._may_write(name, False) and not Path(name).is_dir()), "")
        return ""

    def _opened(self, path: Any, mode: Any, flags: Any) -> str:
        if not isinstance(path, str | bytes):
            return ""
        name = os.fsdecode(path)
        if self._in_trap(name) and name.endswith((".py", ".pyc", ".pt2", ".pth", ".pt", ".bin")) and name not in sys.argv:
            return name
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        follows = not (isinstance(flags, int) and flags & os.O_NOFOLLOW)
        return f"{name} for writing" if writes and not self._may_write(name, follows) else ""

    def _in_trap(self, name: str) -> bool:
        return not name.startswith("<") and os.path.abspath(name).startswith(self.place + os.sep)  # noqa: PTH100 - links stay

    def _may_write(self, name: str, follows: bool) -> bool:
        path = Path(name)
        real = os.path.realpath(name) if follows else str(path.parent.resolve() / path.name)
        return real == "/dev/null" or any(real == place or real.startswith(place + os.sep) for place in self.allowed)


def _named(place: str | Path, folder: object) -> str:
    """A path that is meant in the folder of that descriptor, as the functions of ``os`` take them."""
    if isinstance(folder, int) and folder > 2 and not Path(place).is_absolute():
        return str(Path(f"/proc/self/fd/{folder}").resolve() / place)
    return str(place)


def attempt(command: str, run: Path, good: Path, folder: Path) -> Outcome:
    """Run a command on a trap in a fork; it writes below *folder*, which is new."""
    for name in ("out", "home", "tmp"):
        (folder / name).mkdir(parents=True)
    picture = good.parent / "labels.png"
    words = {
        "RUN": str(run),
        "PICTURE": str(picture),
        "OUT": str(folder / "out"),
        "GOOD": str(good),
        "RECIPE": str(good.parent / "good.yaml"),
    }
    argv = [
        re.sub(r"\b(RUN|PICTURE|OUT|GOOD|RECIPE)\b", lambda found: words[found[0]], word) for word in COMMANDS[command].split()
    ]
    said, told = folder / "said.txt", folder / "told.json"
    start = time.perf_counter()
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = _child(argv, run, folder, said, told, [Path(words[word]) for word in WRITES.get(command, ())])
        finally:
            os._exit(code)
    _, status, usage = os.wait4(child, 0)
    clock, seconds = time.perf_counter() - start, usage.ru_utime + usage.ru_stime
    text = said.read_text(errors="replace") if said.is_file() else ""
    forbidden, before = json.loads(told.read_text()) if told.is_file() else (["the process ended before it could tell"], 0)
    lines = [line for line in text.splitlines() if line.strip()]
    if "\x1b" in text or "\x07" in text:
        forbidden.append("wrote control characters to the terminal")
    if (run.parent / RAN).exists():
        forbidden.append("code ran")
    if (run.parent / SECRET).read_text() != "secret":
        forbidden.append("the secret was written to")
    published = folder / "out" / "push"
    if published.is_dir() and any(path.read_text(errors="replace") == "secret" for path in published.iterdir()):
        forbidden.append("the secret was published")
    said_last = lines[-1][:400] if lines else ""
    return Outcome(os.waitstatus_to_exitcode(status), seconds, clock, usage.ru_maxrss / 1024 - before, said_last, forbidden)


def _child(argv: list[str], run: Path, folder: Path, said: Path, told: Path, writes: list[Path]) -> int:
    output = os.open(said, os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update(HOME=str(folder / "home"), TMPDIR=str(folder / "tmp"), XDG_STATE_HOME=str(folder / "home"))
    tempfile.tempdir = None
    signal.alarm(LONGEST)
    os.chdir(run if run.is_dir() else run.parent)
    sys.argv, before = ["i2i", *argv], _resident()
    sys.path.insert(0, str(Path.cwd()))
    if argv[0] == "serve":
        import uvicorn

        uvicorn.Server.run = lambda self, sockets=None: None  # type: ignore[method-assign, assignment]
    allowed = [folder / "out", folder / "tmp", folder / "home", *writes]
    watch = Watch(run, [path.resolve() for path in allowed])
    sys.addaudithook(watch)
    code = 98
    try:
        runpy.run_module("i2i", run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    watch.active = False
    told.write_text(json.dumps([watch.found, before]))
    return code


def _resident() -> float:
    """This process's memory in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


USED = (
    "torch._dynamo",
    "torch.export",
    "i2i.cli",
    "i2i_push.publishing",
    "i2i_watch.replay",
    "i2i.training.running",
    "i2i_convert.convert",
    "i2i_evaluate.comparison_page",
    "i2i_export.export",
    "i2i_metrics.segmenters",
    "i2i_serve.server",
    "i2i_translate.file_translation",
)
"""What the commands import."""


def warm(good: Path) -> Result:
    """Import what the commands import, and call what they call once, so that forks need not; the figures of the good run."""
    for module in USED:
        import_module(module)
    from i2i.registry import default_registry
    from i2i_evaluate.evaluation import evaluate_model

    registry = default_registry()
    for entry in registry.entries():
        entry.factory  # noqa: B018 - imports it
    return evaluate_model(good, registry, metrics=["l1"], images=1)


def main() -> None:
    """Try all traps and print a line for each."""
    parser = arguments(__doc__)
    parser.add_argument("--traps", nargs="+", choices=TRAPS, default=list(TRAPS), metavar="NAME")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS), metavar="NAME")
    parser.add_argument("--together", nargs="+", choices=TRAPS, metavar="NAME", help="put these traps into one folder")
    parser.add_argument("--no-limits", action="store_true", help="do not fail because of time or memory")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        os.environ["XDG_STATE_HOME"] = str(folder / "state")  # the good run is nobody's here
        good = good_run(folder / "good" / "run")
        from trap_folders import picture_of

        picture_of(good, folder / "good" / "labels.png")
        figures_of_good = warm(good)
        table = {}
        sets = [[name] for name in chosen.traps] + ([chosen.together] if chosen.together else [])
        for i, names in enumerate(sets):
            title = " + ".join(names)
            table[title] = tried(names, chosen.commands, good, figures_of_good, folder / f"{i:02d}")
            show(title, table[title], not chosen.no_limits)
    summarise(table, not chosen.no_limits)
    figures = {name: {command: asdict(outcome) for command, outcome in row.items()} for name, row in table.items()}
    keep(figures, chosen.json)
    sys.exit(1 if any(faults(name, row, not chosen.no_limits) for name, row in table.items()) else 0)


def tried(names: list[str], commands: list[str], good: Path, figures: Result, folder: Path) -> dict[str, Outcome]:
    """The outcome of every command on a folder with these traps; the good run beside it has its *figures* already."""
    (good / RESULTS).unlink(missing_ok=True)
    run = trapped(good, folder / "trap", names)
    write_result(good / RESULTS, figures)
    found = {command: attempt(command, run, good, folder / command.replace(" ", "-")) for command in commands}
    made = folder / "translate" / "out" / "made" / "labels.png"
    if "translate" in found and found["translate"].code == 0 and "weights to start from are a pickle" not in names:
        picture, right = (Image.open(path, formats=["PNG"]).tobytes() for path in (made, good.parent / "expected.png"))
        if picture != right:
            found["translate"].forbidden.append("translated to something else")
    shutil.rmtree(folder, ignore_errors=True)
    return found


def faults(title: str, row: Mapping[str, Outcome], limits: bool) -> list[str]:
    """Failures: forbidden acts, crashes, exceeded limits, models translated that should be refused, and the reverse."""
    found = []
    for command, outcome in row.items():
        found += [f"{command}: {act}" for act in outcome.forbidden]
        if outcome.code not in (0, 2):
            found.append(f"{command}: ended with {outcome.code}: {outcome.said}")
        if limits and outcome.code == 2 and outcome.slow:
            found.append(f"{command}: refused in {outcome.seconds:.1f} s and {outcome.megabytes:.0f} MB")
    if "translate" in row and (row["translate"].code == 0) != all(name in WORKS for name in title.split(" + ")):
        found.append(f"translate: ended with {row['translate'].code}: {row['translate'].said}")
    return found


def show(name: str, row: Mapping[str, Outcome], limits: bool) -> None:
    """Print one trap: what each command did with it, and what it should not have done."""
    words = {0: "done", 2: "refused"}
    print(f"{name}: " + ", ".join(f"{command} {words.get(o.code, o.code)}" for command, o in row.items()))
    for fault in faults(name, row, limits):
        print(f"    FAULT {fault}", flush=True)


def summarise(table: Mapping[str, Mapping[str, Outcome]], limits: bool) -> None:
    """Print a summary of all traps."""
    refused = [outcome for row in table.values() for outcome in row.values() if outcome.code == 2]
    print(f"{len(table)} traps, {sum(map(len, table.values()))} commands, {len(refused)} refusals")
    if refused:
        most = [max(getattr(outcome, name) for outcome in refused) for name in ("seconds", "clock", "megabytes")]
        print(
            f"a refusal took at most {most[0]:.2f} s of the processor ({most[1]:.2f} s by the clock) and {most[2]:.0f} MB "
            "beyond the process with torch and i2i imported"
        )
    print(f"faults: {sum(len(faults(name, row, limits)) for name, row in table.items())}")
    print(machine_line())


if __name__ == "__main__":
    main()
