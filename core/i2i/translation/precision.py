"""16 bits are for devices that compute in them: one that only emulates them takes up to a hundred times as long."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from i2i.errors import UserError, first_line

CHOSEN: ContextVar[torch.device | None] = ContextVar("device", default=None)
_CPU = {"bf16": ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"), "fp16": ("avx512_fp16", "amx_fp16", "fp16_arith")}
"""Instructions of x86 and of Arm, by torch's names for them; oneDNN makes use of them."""


def in_hardware(precision: str, device: torch.device) -> bool:
    """Whether a device computes in *precision* itself. It is asked here and nowhere else.

    GPUs of NVIDIA have bf16 from compute capability 8.0 (Ampere) on. Of others torch does not say, and they are believed.
    """
    if precision == "fp32":
        return True
    if device.type == "cpu":
        able, onednn = torch.cpu.get_capabilities(), torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        return bool(onednn) and any(able.get(name) for name in _CPU[precision])
    return precision != "bf16" or device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)


def check_precision(precision: str, device: torch.device, emulate: bool, place: str, insist: str) -> None:
    """Refuse what the device would emulate, unless that is asked for.

    ``place`` is where the precision was asked for, and ``insist`` how to insist on it.

    Raises:
        UserError: the device does not compute in the precision itself.
    """
    if not emulate and not in_hardware(precision, device):
        which = "processor" if device.type == "cpu" else "GPU"
        raise UserError(
            f"{place}: this {which} has no instructions for {precision} and would be many times slower than in fp32. "
            f"Use fp32, or insist with {insist}."
        )


def this_device() -> torch.device:
    """The one chosen by :func:`computing_on`; else the accelerator if there is one, else the CPU."""
    found = CHOSEN.get() or torch.accelerator.current_accelerator(check_available=True)
    return torch.device("cpu") if found is None else found


@contextmanager
def computing_on(wanted: str | torch.device | None) -> Iterator[None]:
    """Within it :func:`this_device` is the one :func:`device_called` this; None changes nothing."""
    device = CHOSEN.get() if wanted is None else device_called(wanted)
    token = CHOSEN.set(device)
    try:
        with torch.accelerator.device_index(getattr(device, "index", None)):
            yield
    finally:
        CHOSEN.reset(token)


def device_called(wanted: str | torch.device | None) -> torch.device:
    """The device of that name, which works; without a name :func:`this_device`.

    Raises:
        UserError: it cannot be used here.
    """
    if wanted is None:
        return this_device()
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        found = torch.accelerator.current_accelerator(check_available=True)
        there = ["cpu", *(f"{found}:{i}" for i in range(torch.accelerator.device_count()) if found)]
        raise UserError(f"the device '{wanted}' cannot be used ({first_line(error)}). There is: {', '.join(there)}.") from error
    return device
