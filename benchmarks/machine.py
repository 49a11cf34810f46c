"""Shared by all benchmarks: arguments, the file of figures, a line about the machine, the refusal of emulated precisions."""

import argparse
import json
import os
import platform
from collections.abc import Iterable
from pathlib import Path

import torch

from i2i.errors import UserError
from i2i.translation.precision import check_precision, this_device


def arguments(text: str | None) -> argparse.ArgumentParser:
    """A parser whose help is a program's docstring, with ``--json``."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser


def keep(figures: object, path: Path | None) -> None:
    """Write the figures, if a file was given."""
    if path is not None:
        path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def machine_line(device: torch.device | str = "cpu") -> str:
    """CPU count, torch's version and threads, Python's version, and the device that the figures are for."""
    place = torch.device(device)
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else place.type
    return (
        f"machine: {os.cpu_count()} CPUs ({platform.machine()}), torch {torch.__version__} with "
        f"{torch.get_num_threads()} threads, Python {platform.python_version()}, device {name}"
    )


def refuse_emulation(precisions: Iterable[str], emulate: bool, device: torch.device | None = None) -> None:
    """End with a message if the device would emulate a precision: its times would say nothing about real hardware."""
    try:
        for precision in precisions:
            check_precision(precision, device or this_device(), emulate, "--precision", "--emulate")
    except UserError as error:
        raise SystemExit(str(error)) from error
