"""The quality of the shipped recipes against the papers' settings at equal minutes, with every technique between them.

    python benchmarks/quality/quality.py show              what each arm changes
    python benchmarks/quality/quality.py time OUT          seconds a step of every arm; with nothing else on the machine
    python benchmarks/quality/quality.py train OUT         trains what is not done, and measures it on val
    python benchmarks/quality/quality.py table OUT         the tables, in the terminal
    python benchmarks/quality/quality.py grids OUT         sheets of held-out results, in OUT/sheets
    python benchmarks/quality/quality.py test OUT          measures on test, once
    python benchmarks/quality/quality.py page OUT FILE     the page, docs/quality.md
    python benchmarks/quality/quality.py halves USE MODEL FILE   a model's better and worse held-out results

``arms.py`` says what is compared. ``--uses`` and ``--arms`` choose some of it: arms by name, or ``ends``, ``ladder``,
``tried``.
"""

import argparse
import json
import sys
from pathlib import Path

from arms import EXTRACTORS, SEEDS, USES

from i2i.errors import UserError
from i2i.files import write_text


def main(words: list[str] | None = None) -> int:
    """Do what the command line says; the exit code."""
    options = _parser().parse_args(words)
    try:
        done: int = options.act(options) or 0
        return done
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130


def _show(options: argparse.Namespace) -> None:
    from settings import arms_of, changes

    for name in options.uses:
        print(f"{name}: {USES[name].recipe}.yaml, {USES[name].minutes:g} minutes")
        before = "published"
        for arm in arms_of(name):
            below = USES[name].tried[arm][0] if arm in USES[name].tried else before
            print("\n".join([f"  {arm}", *(f"    {line}" for line in changes(name, arm, below))]))
            before = arm


def _time(options: argparse.Namespace) -> None:
    from steptime import measure_all

    measure_all(options.out, options.uses, options.arms, options.again, options.beside)


def _step(options: argparse.Namespace) -> None:
    from steptime import measure

    print(json.dumps(measure(options.use, options.arm)))


def _train(options: argparse.Namespace) -> int:
    from runs import jobs_of, measure_maps, run_all

    jobs = jobs_of(options.out, options.uses, options.arms, options.seeds, options.minutes, options.clock)
    failed = run_all(options.out, jobs, "val", options.jobs, options.extractors)
    measure_maps(options.out, options.uses, "val", options.extractors)
    return int(failed > 0)


def _one(options: argparse.Namespace) -> None:
    from runs import Job, train_one

    job = Job(options.use, options.arm, options.seed, options.steps)
    train_one(options.out, job, options.split, options.extractors)


def _table(options: argparse.Namespace) -> None:
    from page import tables_of
    from tables import summary

    print(tables_of(options.out, options.uses, options.split))
    found = summary(options.out, options.uses, options.split)
    write_text(options.out / f"{options.split}.json", json.dumps(found, indent=1) + "\n")


def _grids(options: argparse.Namespace) -> None:
    from sheets import draw_all

    for name in options.uses:
        for path in draw_all(options.out, name, options.split, options.seed, options.arms):
            print(path)


def _halves(options: argparse.Namespace) -> None:
    from sheets import draw_halves

    draw_halves(options.use, options.model, options.split, options.rows, options.extractor, options.file)


def _test(options: argparse.Namespace) -> None:
    from runs import measure_test

    measure_test(options.out, options.uses, options.arms, options.extractors, options.force)


def _page(options: argparse.Namespace) -> None:
    from page import page_of

    write_text(options.file, page_of(options.out, options.uses))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, act: object, text: str, arms: bool = True) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(act=act)
        made.add_argument("out", type=Path, help="the folder of all runs and figures")
        made.add_argument("--uses", nargs="+", default=list(USES), choices=list(USES))
        if arms:
            made.add_argument("--arms", nargs="+", default=[], help="names, or ends, ladder, tried; default: all")
        made.add_argument("--extractors", nargs="+", default=list(EXTRACTORS), help="networks whose features are compared")
        return made

    times = command("time", _time, "measure the seconds of a step of every arm")
    times.add_argument("--again", action="store_true", help="also of arms that were timed")
    times.add_argument("--beside", help="an arm that was timed before: scale to its time of then")
    train = command("train", _train, "train and measure what is not done")
    train.add_argument("--jobs", type=int, default=1, help="runs at once: one for each core")
    train.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    train.add_argument("--minutes", type=float, help="default: those of each use")
    train.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: if the machine was not idle when timed")
    for name, act, text in (("table", _table, "print the tables"), ("grids", _grids, "draw sheets of held-out results")):
        made = command(name, act, text, arms=name == "grids")
        made.add_argument("--split", choices=["val", "test"], default="val")
        if name == "grids":
            made.add_argument("--seed", type=int, default=0)
    test = command("test", _test, "measure on test, once, what is trained")
    test.add_argument("--force", action="store_true", help="again, which the page will say")
    page = command("page", _page, "write the page", arms=False)
    page.add_argument("file", type=Path)
    halves = commands.add_parser("halves", help="draw results of a model, the better half by LPIPS beside the worse")
    halves.set_defaults(act=_halves)
    halves.add_argument("use", choices=list(USES))
    halves.add_argument("model", type=Path, help="a run or a model folder")
    halves.add_argument("file", type=Path)
    halves.add_argument("--split", choices=["val", "test"], default="val")
    halves.add_argument("--rows", type=int, default=4)
    halves.add_argument("--extractor", choices=list(EXTRACTORS), default="thin_resnet50")
    show = commands.add_parser("show", help="print what each arm changes")
    show.set_defaults(act=_show)
    show.add_argument("--uses", nargs="+", default=list(USES), choices=list(USES))
    step = commands.add_parser("step", help="the seconds of a step of one arm, as JSON")
    step.set_defaults(act=_step)
    one = commands.add_parser("one", help="train and measure one run")
    one.set_defaults(act=_one)
    one.add_argument("out", type=Path)
    for made in (step, one):
        made.add_argument("use", choices=list(USES))
        made.add_argument("arm")
    for number in ("seed", "steps"):
        one.add_argument(number, type=int)
    one.add_argument("--split", default="val")
    one.add_argument("--extractors", nargs="+", default=list(EXTRACTORS))
    return parser


if __name__ == "__main__":
    sys.exit(main())
