"""What many installed plugins cost: ``i2i --help``, a misspelt recipe and ``i2i plugins``, with and without 200 plugins.

The plugins are generated into a temporary folder, in the form of installed packages (modules, and a .dist-info with the entry
points of a generator, a command and a section), which is on PYTHONPATH. Reported are medians and the median difference within
a round.

    python benchmarks/plugin_loading.py [--plugins 200] [--rounds 7]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

from machine import machine_line

MAIN = "import sys; sys.argv[0] = 'i2i'; from i2i.cli import main; main()"
MODULE = """\
from i2i.registry import hookimpl


@hookimpl
def register_generators():
    return {{"many{number}": "i2i_many_{number}_networks:Net"}}
"""
MISSPELT = "dataset: {name: earth}\ngenerator: {name: unit}\nloss: {name: unit}\nevaluate: {metrix: [psnr]}\n"
NETWORKS = """\
def Net(*, domains, directions, width: int = 64, blocks: int = 9):
    raise NotImplementedError
"""

COMMANDS = """\
import typer


def many(name: str, times: int = 1) -> None:
    \"\"\"Do one of many things.\"\"\"
    typer.echo(name * times)
"""
SECTION = """\
from i2i.recipe import Section


class Many(Section):
    often: int = 1
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plugins", type=int, default=200, help="number of plugins")
    parser.add_argument("--rounds", type=int, default=7, help="processes of each kind")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.plugins):
            install(Path(folder), number)
        misspelt = Path(folder) / "misspelt.yaml"
        misspelt.write_text(MISSPELT)
        for command in (["--help"], ["run", str(misspelt)], ["plugins", "--json"]):
            alone, many = interleaved(command, folder, options.rounds)
            differences = [b - a for a, b in zip(alone, many, strict=True)]
            low, _, high = quantiles(differences, n=4)
            print(
                f"i2i {command[0]}: {median(alone):.2f} s alone, {median(many):.2f} s with {options.plugins} plugins: "
                f"{median(differences):+.2f} s (quartiles {low:+.2f} to {high:+.2f})"
            )
    print(machine_line())


def install(folder: Path, number: int) -> None:
    """Write one package, as pip would install it."""
    (folder / f"i2i_many_{number}.py").write_text(MODULE.format(number=number))
    (folder / f"i2i_many_{number}_networks.py").write_text(NETWORKS)
    (folder / f"i2i_many_{number}_commands.py").write_text(COMMANDS)
    (folder / f"i2i_many_{number}_section.py").write_text(SECTION)
    info = folder / f"i2i_many_{number}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: i2i-many-{number}\nVersion: 1.0\n")
    doors = {"i2i": "", "i2i.commands": "_commands:many", "i2i.sections": "_section:Many"}
    lines = [f"[{group}]\nmany{number} = i2i_many_{number}{place}\n" for group, place in doors.items()]
    (info / "entry_points.txt").write_text("".join(lines))


def interleaved(command: list[str], folder: str, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds without and with the folder on the path; the first round, which warms the file cache, is left out."""
    path = os.pathsep.join(part for part in (folder, os.environ.get("PYTHONPATH", "")) if part)
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for kept, environment in zip(seconds, (os.environ, {**os.environ, "PYTHONPATH": path}), strict=True):
            start = time.perf_counter()
            done = subprocess.run([sys.executable, "-c", MAIN, *command], capture_output=True, check=False, env=environment)
            if number:
                kept.append(time.perf_counter() - start)
            assert done.returncode == (2 if command[0] == "run" else 0), done.stderr
    return seconds


if __name__ == "__main__":
    main()
