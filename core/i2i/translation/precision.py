"""16 bits are for devices that compute in them: one that only emulates them takes up to a hundred times as long."""

import torch

from i2i.errors import UserError

_CPU = {
    "bf16": ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"),
    "fp16": ("avx512_fp16", "amx_fp16", "fp16_arith"),
}
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
    """The accelerator if there is one, else the CPU."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return torch.device("cpu") if found is None else found


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
        raise UserError(f"the device '{wanted}' cannot be used ({error}). Leave it out, or use 'cpu'.") from error
    return device
