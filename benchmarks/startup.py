"""How long the command line takes to answer, compared with Python's own start.

``python -c pass``, ``i2i --help``, and refusals of recipes with a misspelt key of the core or of a plugin take turns as
separate processes, so that other load on the machine affects all of them equally. All plugins are installed, including one
that ``i2i plugins new`` writes. Reported are medians, the median difference to Python's own start within a round, and whether
torch was imported.

    python benchmarks/startup.py [--rounds 15]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from rich.console import Console
from rich.table import Table

HELP_S, REFUSAL_S = 0.10, 0.5
MISSPELT = {
    "KEY": "dataset: {name: earth}\ngenerater: {name: unit}\nloss: {name: unit}\n",
    "SECTION": "dataset: {name: earth}\ngenerator: {name: unit}\nloss: {name: unit}\nevaluate: {metrix: [psnr]}\n",
}

# The console script's own two lines, so that the checkout is measured whether it is installed or on PYTHONPATH.
MAIN = "import sys; sys.argv[0] = 'i2i'; from i2i.cli import main; main()"
# The same, and at the end of the process a word on standard error.
WITNESS = "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr)); " + MAIN


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="processes of each kind (at least 2)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        install_template(Path(folder))
        commands = {"i2i --help": ["--help"]}
        for what, text in MISSPELT.items():
            recipe = Path(folder) / f"{what}.yaml"
            recipe.write_text(text, encoding="utf-8")
            commands[f"i2i run {what}"] = ["run", str(recipe), "--out", f"{folder}/run"]
        answers = {name: answer(arguments) for name, arguments in commands.items()}
        programs = {"python -c pass": ["pass"], **{name: [MAIN, *more] for name, more in commands.items()}}
        seconds = interleaved(programs, options.rounds)
    figures = {name: summary(seconds, name) | answers.get(name, {}) for name in programs}
    show(figures, options.rounds)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def install_template(folder: Path) -> None:
    """Install the package that ``i2i plugins new`` writes into a folder that is on PYTHONPATH."""
    written, site = folder / "written", folder / "site"
    subprocess.run(
        [sys.executable, "-c", MAIN, "plugins", "new", "painter", "--out", str(written)], check=True, stdout=subprocess.DEVNULL
    )
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), str(written)]
    subprocess.run(pip, check=True)
    os.environ["PYTHONPATH"] = os.pathsep.join(part for part in (str(site), os.environ.get("PYTHONPATH", "")) if part)


def answer(arguments: list[str]) -> dict[str, Any]:
    """Exit code, the lines of the message, and whether torch was imported, from a run that is not timed."""
    done = subprocess.run([sys.executable, "-c", WITNESS, *arguments], capture_output=True, text=True, check=False)
    *message, witness = done.stderr.splitlines()
    return {"exit": done.returncode, "torch": witness, "message": message}


def interleaved(programs: dict[str, list[str]], rounds: int) -> dict[str, list[float]]:
    """Wall-clock seconds of every program in every round; the first round, which warms the file cache, is left out."""
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(rounds + 1):
        for name, program in programs.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", *program], capture_output=True, check=False)
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def summary(seconds: dict[str, list[float]], name: str) -> dict[str, Any]:
    """Median seconds, quartiles, and the median difference to Python's own start in the same round."""
    own = seconds[name]
    low, _, high = quantiles(own, n=4)
    beyond = median(mine - bare for mine, bare in zip(own, seconds["python -c pass"], strict=True))
    return {"median_s": median(own), "quartiles_s": [low, high], "beyond_python_s": beyond}


def show(figures: dict[str, dict[str, Any]], rounds: int) -> None:
    """Print the table, the messages and the machine."""
    console = Console(highlight=False)
    table = Table(title=f"Start of the command line, {rounds} interleaved rounds", title_justify="left")
    for heading in ("command", "median s", "quartiles s", "beyond Python s", "exit", "torch?"):
        table.add_column(heading, justify="left" if heading == "command" else "right", no_wrap=True)
    for name, row in figures.items():
        low, high = row["quartiles_s"]
        numbers = f"{row['median_s']:.3f}", f"{low:.3f}-{high:.3f}", f"{row['beyond_python_s']:+.3f}"
        table.add_row(name, *numbers, str(row.get("exit", 0)), str(row.get("torch", "False")))
    console.print(table)
    console.print(f"target: at most {HELP_S} s and {REFUSAL_S} s beyond Python's own start, and torch not imported")
    for name, row in figures.items():
        for line in row.get("message", []):
            console.print(f"{name}: {line}", markup=False, soft_wrap=True)
    from machine import machine_line  # imports torch, after everything is measured

    console.print(machine_line(), soft_wrap=True)


if __name__ == "__main__":
    main()
