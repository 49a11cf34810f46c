"""That a model folder holds what its config.json claims, found out before anything is built at size.

The weights' header has every name and shape. A generator is first built on torch's meta device, where tensors have shapes and
no values, and must take tensors of the header's shapes; how many layers it may make is bounded by how many the header knows.
"""

import math
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.overrides import TorchFunctionMode

from i2i.errors import UserError, one_line
from i2i.files import check_name, sha256
from i2i.translation.limits import HEADER_BYTES, TENSORS

_SPARE_TENSORS, _SPARE_MODULES, _SPARE_NUMBERS = 1000, 2000, 2**22
_TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip

Header = dict[str, Tensor]
"""The weights by name, on the meta device: shapes and types without values."""


def read_header(path: Path, max_parameters: int) -> Header:
    """The header of a safetensors file, with not a number of the weights read.

    Raises:
        UserError: it is not such a file, or has more tensors or numbers than allowed.
    """
    check_name(path)
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
        if length > HEADER_BYTES:
            raise SafetensorError(f"its header would have {length:,} bytes")
        with safe_open(path, "pt") as weights:
            names = list(weights.keys())
            if len(names) > TENSORS:
                raise SafetensorError(f"it holds {len(names):,} tensors; the limit is {TENSORS:,}")
            header = {name: _on_meta(name, weights.get_slice(name)) for name in names}
    except (OSError, SafetensorError, RuntimeError, OverflowError) as error:
        raise UserError(f"{path}: the weights cannot be read ({error}). Copy the file again.") from error
    check_count(sum(tensor.numel() for tensor in header.values()), max_parameters, path)
    return header


def _on_meta(name: str, part: Any) -> Tensor:
    if part.get_dtype() not in _TYPES:
        raise SafetensorError(f"'{name}' is of the type {part.get_dtype()}, which no i2i model has")
    return torch.empty(part.get_shape(), dtype=_TYPES[part.get_dtype()], device="meta")


def check_count(numbers: int, most: int, path: Path) -> None:
    """Refuse a model of more than *most* numbers."""
    if numbers > most:
        raise UserError(
            f"{path}: the model has {numbers:,} numbers; no more than {most:,} are loaded unless you allow it. "
            f"If you trust it and have the memory: --max-parameters {numbers}, or i2i.load(…, max_parameters={numbers})."
        )


def check_fits(build: Callable[[], nn.Module], header: Header, max_parameters: int, path: Path) -> None:
    """Build on the meta device, and let the module take the header's shapes.

    A factory that cannot build there (it looks at values, or reads weights of its own) is left for :func:`built`.

    Raises:
        UserError: it makes more than the header can fill, or numbers than are allowed.
        MisfitError: names or shapes differ.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is copied to the meta device is lost, as it should be
        try:
            with _bounded(header, math.inf, path), torch.device("meta"), _Unfilled():
                module = build().to("meta")
        except TooLargeError:
            raise
        except Exception:
            return
        take(module, header)
        check_count(sum(tensor.numel() for tensor in _own(module)), max_parameters, path)


def built(build: Callable[[], nn.Module], header: Header, path: Path) -> nn.Module:
    """Build at size, within the bounds that the header sets."""
    numbers = sum(tensor.numel() for tensor in header.values())
    with _bounded(header, 4 * numbers + _SPARE_NUMBERS, path):
        return build()


def take(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load weights, or shapes where all is on the meta device.

    Raises:
        MisfitError: names, shapes, or whole numbers in place of fractions.
    """
    try:
        own = module.state_dict()
        for name, tensor in weights.items():
            if name in own and own[name].is_floating_point() != tensor.is_floating_point():
                raise MisfitError(f"{name} is {tensor.dtype} and should be {own[name].dtype}")
        module.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise MisfitError(one_line(error, 400)) from error


class MisfitError(Exception):
    """The weights are those of another network."""


class TooLargeError(UserError):
    """A generator makes more layers or numbers than its weights could fill."""


def check_hash(path: Path, recorded: str | None, changed: bool) -> None:
    """The weights are those that config.json records, if it records any; with *changed* others are taken as well.

    Raises:
        UserError: they are not.
    """
    if recorded is None or changed or (found := sha256(path)) == recorded:
        return
    raise UserError(
        f"{path}: these are not the weights that config.json records: the file is damaged or was changed (its SHA-256 begins "
        f"with {found[:12]}, the recorded one with {recorded[:12]}). Copy the model again. "
        "To use it all the same: --changed, or i2i.load(…, changed=True). It cannot be published like that."
    )


def check_finite(module: nn.Module, path: Path) -> None:
    """Refuse weights that are NaN or infinite; each is looked at once.

    Raises:
        UserError: naming the first of them.
    """
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and tensor.numel():
            least, largest = tensor.aminmax()
            if not math.isfinite(float(least)) or not math.isfinite(float(largest)):
                raise UserError(f"{path}: the weights '{name}' are NaN or infinite: the model is broken. Take an earlier one.")


def _own(module: nn.Module) -> list[Tensor]:
    """Parameters and buffers, also those that the state dict leaves out."""
    return [*module.parameters(), *module.buffers()]


class _Unfilled(TorchFunctionMode):
    """Within it, values that are put into tensors on the meta device are not even computed: torch does that in Python."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        if func in (torch.rand, torch.randn) and given.get("device") is None:
            given.pop("generator", None)
            return torch.empty(*args, **given)
        filled = args[0] if args else given.get("tensor")  # the second as torch.nn.init has it
        if getattr(func, "__name__", "") in _FILLING and isinstance(filled, Tensor) and filled.is_meta:
            return filled
        return func(*args, **given)


_FILLING = {
    "add_", "bernoulli_", "cauchy_", "clamp_", "constant_", "copy_", "div_", "erfinv_", "exponential_", "fill_", "geometric_",
    "kaiming_normal_", "kaiming_uniform_", "log_normal_", "mul_", "normal_", "normalize", "ones_", "random_", "sub_",
    "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_", "zero_", "zeros_",
}  # fmt: skip


@contextmanager
def _bounded(header: Header, numbers: float, path: Path) -> Iterator[None]:
    """Within it this thread makes no more modules, tensors and numbers than a network of these weights could need.

    It may make some more than are kept: a network to copy weights from, layers without weights.

    Raises:
        TooLargeError: it did, even if the factory caught the error.
    """
    tensors, modules = 4 * len(header) + _SPARE_TENSORS, 20 * len(header) + _SPARE_MODULES
    count, thread = {"modules": 0, "tensors": 0, "numbers": 0}, threading.get_ident()

    def check() -> None:
        if count["modules"] > modules or count["tensors"] > tensors or count["numbers"] > numbers:
            raise TooLargeError(
                f"{path}: config.json describes a far larger network than its {len(header)} weight tensors could fill. "
                "The folder is damaged, or made to do harm: get the model again from its source."
            )

    def module_made(_module: nn.Module, _name: str, _part: nn.Module | None) -> None:
        if threading.get_ident() == thread:
            count["modules"] += 1
            check()

    def tensor_made(_module: nn.Module, _name: str, tensor: Tensor | None) -> None:
        if threading.get_ident() == thread and tensor is not None:
            count["tensors"] += 1
            count["numbers"] += tensor.numel()
            check()

    hooks = (
        register_module_module_registration_hook(module_made),
        register_module_parameter_registration_hook(tensor_made),
        register_module_buffer_registration_hook(tensor_made),
    )
    try:
        yield
    except Exception:
        check()
        raise
    finally:
        for hook in hooks:
            hook.remove()
    check()
