"""``i2i eval``: measure a model, with the protocol of every figure. ``i2i compare``: runs side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from i2i.command_options import Changed, MaxParameters, ModelPath, Use
from i2i.translation.limits import MAX_PARAMETERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from i2i.metrics import Figure
    from i2i_evaluate.comparison import Comparison
    from i2i_evaluate.kept import Kept

DataPath = Annotated[Path | None, typer.Option(help="A recipe whose data to use. Default: the model's own recipe.")]
DataSet = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace dataset.KEY or evaluate.metrics of the recipe.")
]
Names = Annotated[str | None, typer.Option(help="Names of metrics: psnr,fid. Default: the recipe's, or all that apply.")]
Split = Annotated[str, typer.Option(help="The split of the data.")]
Count = Annotated[int | None, typer.Option(min=1, help="Use at most this number of pictures, evenly spread.")]


def evaluate(
    model: ModelPath,
    data: DataPath = None,
    set_: DataSet = None,
    metrics: Names = None,
    split: Split = "test",
    images: Count = None,
    to: Annotated[str | None, typer.Option(help="Evaluate only translations to this domain.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The seed of styles, crops and everything else that is random.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="The number of pictures in a batch; figures do not change.")] = 8,
    json: Annotated[Path | None, typer.Option(help="Write the result here. Default for a run: RUN/evaluation.json.")] = None,
    use: Use = None,
    changed: Changed = False,
    max_parameters: MaxParameters = MAX_PARAMETERS,
) -> None:
    """Measure how good a model is on held-out pictures."""
    from i2i.recipe.at_use import given_use
    from i2i.registry import default_registry
    from i2i_evaluate.evaluation import RESULTS, evaluate_model, write_result

    result = evaluate_model(
        model,
        default_registry(),
        data=data,
        overrides=set_ or [],
        metrics=names(metrics),
        split=split,
        images=images,
        to=to,
        seed=seed,
        batch_size=batch_size,
        changed=changed,
        max_parameters=max_parameters,
        use=given_use(use),
    )
    print_figures(result.figures)
    for note in result.notes:
        typer.echo(note)
    path = json if json is not None else model / RESULTS if (model / "recipe.yaml").is_file() else None
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_result(path, result)
        typer.echo(f"written to {path}")


def names(text: str | None) -> list[str] | None:
    """``a,b`` as a list."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def print_figures(figures: "Sequence[Figure]") -> None:
    """Print a table of figures, and below it the protocols: first what all have in common, then what differs."""
    from rich.console import Console
    from rich.table import Table

    from i2i_evaluate.comparison import protocols, spread_of

    common, own = protocols(figures)
    several = len({figure.protocol.get("direction") for figure in figures}) > 1
    table = Table("figure", *(["direction"] if several else []), "value", "95 % interval or spread", "better", box=None)
    for figure in figures:
        way = [str(figure.protocol.get("direction", ""))] if several else []
        table.add_row(figure.name, *way, f"{figure.value:.5g}", spread_of(figure), figure.better)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    table.columns[0].overflow = "fold"
    console.print(table)
    console.print(f"All figures: {common}")
    for figure, protocol in zip(figures, own, strict=True):
        if protocol:
            where = f" ({figure.protocol.get('direction', '')})" if several else ""
            console.print(f"{figure.name}{where}: {protocol}")


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Run or model folders, two or more.")],
    data: DataPath = None,
    metrics: Names = None,
    split: Split = "test",
    images: Count = None,
    pictures: Annotated[int, typer.Option(min=1, help="The number of inputs in the grid.")] = 4,
    out: Annotated[Path, typer.Option(help="The page.")] = Path("compare.html"),
    use: Use = None,
    changed: Changed = False,
    max_parameters: MaxParameters = MAX_PARAMETERS,
) -> None:
    """Compare runs in a table and on a page. The page shows figures, pictures, curves and recipe differences."""
    from i2i.files import write_text
    from i2i.recipe.at_use import given_use
    from i2i.registry import default_registry
    from i2i_evaluate.comparison import compare as compared
    from i2i_evaluate.comparison_page import render

    chosen = names(metrics)
    found = compared(
        runs,
        default_registry(),
        data=data,
        metrics=chosen,
        split=split,
        images=images,
        pictures=pictures,
        changed=changed,
        max_parameters=max_parameters,
        use=given_use(use),
    )
    print_comparison(found)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, render(found))
    typer.echo(f"written to {out}")


def print_comparison(comparison: "Comparison") -> None:
    """A row for each figure and protocol, a column for each run; the protocols below."""
    from rich.console import Console
    from rich.table import Table

    from i2i_evaluate.comparison_page import cell, headings, measured

    table = Table("figure", "better", *(subject.name for subject in comparison.subjects), box=None)
    heads = headings(comparison)
    for (name, one), figures in zip(heads, comparison.columns.values(), strict=True):
        table.add_row(name, one.better, *map(cell, figures))
    console = Console(highlight=False, markup=False, soft_wrap=True)
    table.columns[0].overflow = "fold"
    console.print(table)
    for name, told in measured(heads):
        console.print(f"{name}: {told}")
    for subject in comparison.subjects:
        if subject.kept is not None:
            print_kept(subject.name, subject.kept, console)
    for note in comparison.notes:
        console.print(note)


def print_kept(name: str, kept: "Kept", console: "Console") -> None:
    """The figures of a run's best model beside those of its last one."""
    from rich.table import Table

    console.print(f"{name}, on {kept.chosen}:")
    table = Table(*kept.headings, box=None)
    for row in kept.rows:
        table.add_row(*row)
    console.print(table)
