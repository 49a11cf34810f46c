"""``i2i compare``: runs side by side, in the terminal and on one HTML page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from i2i.cli_eval import Count, DataPath, Names, Split, names
from i2i.command_options import Changed, MaxParameters
from i2i.limits import MAX_PARAMETERS

if TYPE_CHECKING:
    from i2i.comparison import Comparison


def compare_command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Run or model folders, two or more.")],
    data: DataPath = None,
    metrics: Names = None,
    split: Split = "test",
    images: Count = None,
    pictures: Annotated[int, typer.Option(min=1, help="The number of inputs in the grid.")] = 4,
    out: Annotated[Path, typer.Option(help="The page.")] = Path("compare.html"),
    changed: Changed = False,
    max_parameters: MaxParameters = MAX_PARAMETERS,
) -> None:
    """Compare runs by a table and a page. It has figures, pictures, curves and the differences of their recipes."""
    from i2i.comparison import compare
    from i2i.comparison_page import render
    from i2i.files import write_text
    from i2i.registry import default_registry

    chosen = names(metrics)
    found = compare(
        runs,
        default_registry(),
        data=data,
        metrics=chosen,
        split=split,
        images=images,
        pictures=pictures,
        changed=changed,
        max_parameters=max_parameters,
    )
    print_comparison(found)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, render(found))
    typer.echo(f"written to {out}")


def print_comparison(comparison: "Comparison") -> None:
    """A row for each figure and protocol, a column for each run; the protocols below."""
    from rich.console import Console
    from rich.table import Table

    from i2i.comparison_page import cell, headings
    from i2i.metrics import described

    table = Table("figure", "better", *(subject.name for subject in comparison.subjects), box=None)
    heads = headings(comparison)
    for (name, mark, one), figures in zip(heads, comparison.columns.values(), strict=True):
        table.add_row(f"{name} {mark}".strip(), one.better, *map(cell, figures))
    console = Console(highlight=False, markup=False, soft_wrap=True)
    table.columns[0].overflow = "fold"
    console.print(table)
    for name, mark, one in heads:
        console.print(f"{f'{name} {mark}'.strip()}: {described(one.protocol)}")
    for note in comparison.notes:
        console.print(note)
