"""``i2i new``: from folders of pictures to a recipe that trains."""

import re
import shlex
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from i2i.errors import UserError, one_of, printable

if TYPE_CHECKING:
    from i2i_data.check import Findings
    from i2i_new.found import Found

SHOWN = 6
"""The largest number of findings that are printed; ``i2i data check`` prints all."""


def new(
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="FOLDER [FOLDER]",
            help="A folder for each side; or one folder, table (parquet, CSV) or data set on the hub, and two of its columns.",
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="The recipe. Default: a name after the folders, in this folder.")] = None,
    method: Annotated[str | None, typer.Option(help="cyclegan, unit, pix2pix or spade. Default: by what is there.")] = None,
    size: Annotated[
        int | None, typer.Option(min=1, help="The side of the pictures in training. Default: their own, if there is time.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.001, max=10_000_000, help="How long to train. Default: 20 on a CPU, 60 on a GPU.")
    ] = None,
) -> None:
    """Look at folders of pictures and write a recipe that trains on them."""
    from i2i_data.listing import folders_listed_once

    with folders_listed_once():
        _new(places, out, method, size, minutes)


def _new(places: list[str], out: Path | None, method: str | None, size: int | None, minutes: float | None) -> None:
    from rich.console import Console

    from i2i.files import write_text
    from i2i.recipe import load_recipe
    from i2i.registry import default_registry
    from i2i_new.found import command
    from i2i_new.looking import look
    from i2i_new.methods import METHODS
    from i2i_new.planning import head, planned, time_line
    from i2i_new.writing import text_of

    registry = default_registry()
    if method is not None:
        one_of(method, METHODS, "--method")
    if out is not None:
        _check_free(out)
    found = look(places)
    if min(found.counts) < 2:
        raise UserError(f"{places[0]}: a side has a single picture. Training needs several of each side.")
    path = out or Path(f"{_name(places, found)}.yaml")
    _check_free(path)
    for line in (*found.why, *found.remarks):
        _say(line)
    plan, findings = planned(found, registry, method, size, minutes, Console(stderr=True))
    _tell(findings, path)
    _say(f"Method: {plan.method}, {plan.why_method}.")
    typer.echo(time_line(plan))
    given = [
        f"--{key} {value if isinstance(value, str) else format(value, 'g')}"
        for key, value in (("method", method), ("size", size), ("minutes", minutes))
        if value
    ]
    written = command(*places) + "".join(f" {option}" for option in given)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text_of(head(plan, written), plan.sections(plan.transform())))
    load_recipe(path, [], registry)
    typer.echo(f"written: {path}. Train it with:")
    typer.echo(shlex.join(["i2i", "run", str(path), *_free_folder(path)]))


def _say(text: str) -> None:
    """Names of folders, columns and labels may be a stranger's."""
    typer.echo(printable(text))


def _tell(findings: "Findings", path: Path) -> None:
    """The findings of the audit, shortened."""
    for fact in findings.facts:
        if fact.startswith("dataset: ") and "in training" not in fact:  # the size is chosen later
            _say(fact.removeprefix("dataset: "))
    wrong = [*findings.errors, *findings.warnings]
    for text in wrong[:SHOWN]:
        _say("\n".join([f"warning: {text.splitlines()[0]}", *text.splitlines()[1:4]]))
    if len(wrong) > SHOWN:
        typer.echo(f"… and {len(wrong) - SHOWN} more warnings: i2i data check {shlex.quote(str(path))}")


def _check_free(path: Path) -> None:
    if path.exists():
        raise UserError(f"{path}: this file exists already. Give another name with --out.")
    if path.suffix not in (".yaml", ".yml"):
        raise UserError(f"--out {path}: a recipe is a YAML file. Give a name that ends in .yaml.")


def _free_folder(path: Path) -> list[str]:
    """``--out`` and a new run folder where the one of that name is taken."""
    usual = Path("runs", path.stem)
    if not usual.exists():
        return []
    return ["--out", str(next(free for i in count(2) if not (free := Path("runs", f"{path.stem}-{i}")).exists()))]


def _name(places: list[str], found: "Found") -> str:
    names = found.options.get("names", ["a", "b"])
    one = Path(places[0]).resolve()
    text = f"{names[0]}2{names[1]}" if len(places) == 2 and one.is_dir() else one.stem if one.is_file() else one.name
    return re.sub(r"[^\w.-]+", "_", text).strip("._") or "recipe"
