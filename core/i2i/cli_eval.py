"""``i2i eval``: how good a model is, with the protocol of every figure."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from i2i.command_options import Changed, MaxParameters
from i2i.limits import MAX_PARAMETERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from i2i.metrics import Figure

ModelPath = Annotated[Path, typer.Argument(help="A run folder or a model folder.")]
DataPath = Annotated[Path | None, typer.Option(help="A recipe whose data are taken. Default: the model's own recipe.")]
DataSet = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace dataset.KEY or evaluate.metrics of the recipe.")
]
Names = Annotated[str | None, typer.Option(help="Names of metrics, as psnr,fid. Default: the recipe's, or all that fit.")]
Split = Annotated[str, typer.Option(help="The split of the data.")]
Count = Annotated[int | None, typer.Option(min=1, help="Take no more than so many pictures, evenly spread.")]


def eval_command(
    model: ModelPath,
    data: DataPath = None,
    set_: DataSet = None,
    metrics: Names = None,
    split: Split = "test",
    images: Count = None,
    to: Annotated[str | None, typer.Option(help="Only translations to this domain.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of styles, crops and whatever else is drawn.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1)] = 8,
    json: Annotated[Path | None, typer.Option(help="Write the result here. Default for a run: RUN/evaluation.json.")] = None,
    changed: Changed = False,
    max_parameters: MaxParameters = MAX_PARAMETERS,
) -> None:
    """Measure how good a model is on held-out pictures."""
    import json as json_module

    from i2i.evaluation import RESULTS, evaluate_model
    from i2i.files import write_text
    from i2i.registry import default_registry

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
    )
    print_figures(result.figures)
    for note in result.notes:
        typer.echo(note)
    path = json if json is not None else model / RESULTS if (model / "recipe.yaml").is_file() else None
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json_module.dumps(result.to_json(), indent=1, ensure_ascii=False) + "\n")
        typer.echo(f"written to {path}")


def names(text: str | None) -> list[str] | None:
    """``a,b`` as a list."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def print_figures(figures: "Sequence[Figure]") -> None:
    """A table of the figures, and below it what was measured: first what all have in common, then what is a figure's own."""
    from rich.console import Console
    from rich.table import Table

    from i2i.comparison import interval
    from i2i.metrics import described, shared

    common = shared([figure.protocol for figure in figures])
    table = Table("figure", "value", "95 % interval or spread", "better", box=None)
    for figure in figures:
        span = f"± {figure.spread:.4g}" if figure.spread is not None else ""
        if len(figure.images) > 1:
            span = " to ".join(f"{end:.4g}" for end in interval(figure.images))
        table.add_row(figure.name, f"{figure.value:.5g}", span, figure.better)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    table.columns[0].overflow = "fold"
    console.print(table)
    console.print(f"protocol of all: {described(common)}")
    for figure in figures:
        if own := described({key: value for key, value in figure.protocol.items() if key not in common}):
            console.print(f"{figure.name}: {own}")
