"""What commands share: the model and where and in what it computes, and that JSON is printed.

For a plugin's commands too, ``def mine(model: ModelPath, device: Device = None, precision: Precision = "fp32")``: what is about
the model goes to ``i2i.load`` under the same names.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

ModelPath = Annotated[Path, typer.Argument(help="A run, RUN@STEP, a model folder, or OWNER/NAME on the hub.")]
Changed = Annotated[bool, typer.Option("--changed", help="Accept weights that differ from those that config.json records.")]
MaxParameters = Annotated[int, typer.Option(min=1, help="The largest number of weights that a model may have.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda … Default: an accelerator if there is one.")]
Precision = Annotated[Literal["fp32", "bf16", "fp16"], typer.Option(help="The precision of the network.")]
Emulate = Annotated[bool, typer.Option("--emulate", help="Allow a precision for which the device has no instructions.")]
Backend = Annotated[str, typer.Option(help="The engine that runs the network: torch, or one that `i2i plugins` lists.")]
Use = Annotated[
    list[str] | None,
    typer.Option("--use", metavar="OPTION=VALUE", help="Set a generator option that may change after training: steps=50."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
