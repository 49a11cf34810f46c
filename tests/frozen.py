"""The bits of the shipped recipes after a few steps, before and after a change that must not touch them.

``python tests/frozen.py`` trains each of the four for five steps with two seeds on one thread, and prints the SHA-256 of every
tensor file of the checkpoints. The bits depend on the processor and on torch, so that they are not stored: ``--against COMMIT``
trains that commit too, from a worktree of its own, and says what differs.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
RECIPES = ("unit_day2night", "pix2pix_sketch2photo", "spade_labels2photo", "cyclegan_photo2oldmap")
SEEDS, STEPS = (0, 1), 5


def hashes(root: Path, names: Sequence[str], seeds: Sequence[int], steps: int) -> dict[str, str]:
    """SHA-256 by ``recipe seed file``, of the i2i that is imported here and the recipes of the checkout *root*."""
    import i2i

    settings = {
        "train.steps": steps,
        "train.threads": 1,
        "checkpoint.every": steps,
        "samples.every": steps,
        "log.trackers": [],
    }
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            for seed in seeds:
                out = Path(folder) / f"{name}-{seed}"
                i2i.run(root / "recipes" / f"{name}.yaml", set={**settings, "train.seed": seed}, out=out)
                checkpoint = out / "checkpoints" / f"step-{steps:08d}"
                for path in sorted(checkpoint.rglob("*.safetensors")):
                    place = f"{name} {seed} {path.relative_to(checkpoint).as_posix()}"
                    found[place] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def printed_by(root: Path, arguments: Sequence[str]) -> dict[str, str]:
    """What this script prints when it imports the i2i of the checkout *root*."""
    paths = os.pathsep.join([str(root / "core"), str(root / "plugins")])
    command = [sys.executable, __file__, "--root", str(root), *arguments]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True, check=True)
    return {place: value for value, _, place in (line.partition("  ") for line in done.stdout.splitlines())}


def against(commit: str, arguments: Sequence[str]) -> int:
    """Compare the working tree with a commit; the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "-C", str(ROOT), "worktree", "add", "-q", "--detach", str(tree), commit], check=True)
        try:
            before = printed_by(tree, arguments)
        finally:
            subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(tree)], check=True)
    after = printed_by(ROOT, arguments)
    different = [place for place in {**before, **after} if before.get(place) != after.get(place)]
    for place in different:
        print(f"differs: {place}")
    print(f"{len(after) - len(different)} of {len(after)} files equal those of {commit}" if after else "nothing was trained")
    return 1 if different or not after else 0


def main() -> int:
    """Print or compare; 1 where something differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", metavar="COMMIT", help="compare with this commit")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.against:
        asked = ["--recipes", *options.recipes, "--seeds", *map(str, options.seeds), "--steps", str(options.steps)]
        return against(options.against, asked)
    for place, value in hashes(options.root, options.recipes, options.seeds, options.steps).items():
        print(f"{value}  {place}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
