"""Thousands of damaged and hostile files: each must be handled or refused with a sentence, in 10 s, without a write elsewhere.

    python benchmarks/fuzz.py [--inputs 5000] [--seed 0] [--kinds NAME …]

The files and what reads them are in tests/fuzzing.py. A fault names the input: its kind, the seed and its number.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from machine import machine_line

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import fuzzing


def main() -> int:
    """Fuzz in a temporary folder; 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", default=[], metavar="NAME", help="default: all")
    options = parser.parse_args()
    print(machine_line())
    with tempfile.TemporaryDirectory() as folder:
        return int(fuzzing.main(options.inputs, Path(folder), options.seed, tuple(options.kinds)) > 0)


if __name__ == "__main__":
    sys.exit(main())
