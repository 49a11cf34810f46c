"""The command line. Nothing here imports torch before a command needs it."""

import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from i2i.command_groups import group
from i2i.command_options import Device, Json
from i2i.errors import DiskFullError, UserError, bounded, is_full, printable
from i2i.stopping import GRACE, INTERRUPTED, end_with_launcher, launched_processes

app = typer.Typer(
    cls=group(),
    rich_markup_mode=None,  # help by rich takes three times as long to appear
    help="Image-to-image translation: train recipes, translate pictures, list plugins.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

plugins_app = typer.Typer(help="List components and plugins. Also create, test and combine plugins.")
app.add_typer(plugins_app, name="plugins", cls=group("plugins"), invoke_without_command=True)


@app.command("run")
def run_command(
    recipe: Annotated[Path, typer.Argument(help="A recipe: a YAML file, or PLUGIN:NAME for the recipe of a plugin.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace a value: train.steps=100.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder. Default: runs/NAME-OF-THE-RECIPE; resuming RUN/recipe.yaml, RUN.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the newest checkpoint in the run folder.")] = False,
    processes: Annotated[int, typer.Option(min=1, help="The number of processes; each takes a batch per step.")] = 1,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds that the run has to save after SIGTERM or SIGHUP, before it is ended.")
    ] = GRACE,
    device: Device = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and make one step, but write nothing.")] = False,
) -> None:
    """Train a recipe."""
    end_with_launcher()
    from i2i.recipe import load_recipe
    from i2i.registry import default_registry
    from i2i.training.run_folder import folder_of

    checked = load_recipe(recipe, set_ or [])  # its structure is checked before a plugin is loaded
    registry = default_registry()
    folder = folder_of(recipe, out, resume)
    from rich.console import Console

    from i2i.translation.precision import computing_on

    with computing_on(device):
        if processes > 1 and not dry_run and launched_processes() == 1:
            from i2i.training.launch import launch

            raise typer.Exit(launch(processes, sys.argv[1:], grace))
        if dry_run:
            from i2i.training.dry_run import dry_run as rehearse

            rehearse(checked, folder, registry, resume, Console())
            return
        from i2i.allocator import keep_freed_memory
        from i2i.training.running import closing_lines, run_recipe

        keep_freed_memory()
        state = run_recipe(checked, folder, registry, resume=resume, console=Console(stderr=True), grace=grace)
    if state.accelerator.is_main_process:
        missing = [*([] if out else ["--out", str(folder)]), *([] if resume else ["--resume"])]
        typer.echo(closing_lines(state, shlex.join(["i2i", *sys.argv[1:], *missing])))
    if state.step < state.recipe.train.steps:
        raise typer.Exit(INTERRUPTED)


@plugins_app.callback()
def plugins(context: typer.Context, json: Json = False) -> None:
    """List the components with their options, the plugins that they come from, and the broken plugins."""
    if context.invoked_subcommand is None:
        from i2i.testing.listing import plugins as show

        show(json)


def main() -> None:
    """The entry point: a person's mistakes end with one message and exit code 2."""
    try:
        app()
    except UserError as error:
        _fail(str(error))
    except OSError as error:
        place = error.filename or "the output"
        _fail(
            str(DiskFullError(place)) if is_full(error) else f"{error.filename or ''}: {error.strerror or error}".lstrip(": ")
        )
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _fail(message: str) -> None:
    with suppress(OSError):  # the disk that is full may be where it goes
        print(f"i2i: {bounded(printable(message))}", file=sys.stderr)
    sys.exit(2)
