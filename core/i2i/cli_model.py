"""Options of all commands that load a model: what a person allows it."""

from typing import Annotated

import typer

Changed = Annotated[bool, typer.Option("--changed", help="Take weights that are not those that config.json records.")]
MaxParameters = Annotated[int, typer.Option(min=1, help="The most numbers that a model may have.")]
