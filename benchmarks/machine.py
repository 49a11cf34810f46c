"""What a figure was measured on: one line that every benchmark prints."""

import os
import platform

import torch


def machine_line(device: torch.device | str = "cpu") -> str:
    """CPU count, torch's version and threads, Python's version, and the device that the figures are for."""
    place = torch.device(device)
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else place.type
    return (
        f"machine: {os.cpu_count()} CPUs ({platform.machine()}), torch {torch.__version__} with "
        f"{torch.get_num_threads()} threads, Python {platform.python_version()}, device {name}"
    )
