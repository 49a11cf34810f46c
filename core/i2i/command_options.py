"""Options that commands share which load a model: where and in what it computes, and what it may be.

For a plugin's commands too, ``def mine(model: Path, device: Device = None, precision: Precision = "fp32")``: the values go to
``i2i.load`` under the same names.
"""

from typing import Annotated, Literal

import typer

Changed = Annotated[bool, typer.Option("--changed", help="Take weights that are not those that config.json records.")]
MaxParameters = Annotated[int, typer.Option(min=1, help="The most numbers that a model may have.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda … Default: an accelerator where there is one.")]
Precision = Annotated[Literal["fp32", "bf16", "fp16"], typer.Option(help="What the network computes in.")]
Emulate = Annotated[bool, typer.Option("--emulate", help="Insist on a precision that the device has no instructions for.")]
Backend = Annotated[str, typer.Option(help="What computes the network: torch, or an engine that `i2i plugins` lists.")]
