"""The Accelerator of a run: one process or several, its precision, and what cannot work."""

import os
import random
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, InitProcessGroupKwargs, patch_environment, set_seed
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from i2i.errors import UserError
from i2i.randomness import mix
from i2i.recipe.sections import Train
from i2i.stopping import LAUNCHED, launched_processes
from i2i.translation.precision import CHOSEN, check_precision, this_device

_MIXED = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}
_SUPPORTED = ("NO", "MULTI_GPU", "MULTI_CPU", "MULTI_NPU", "MULTI_XPU", "MULTI_MLU", "MULTI_SDAA", "MULTI_MUSA", "MULTI_HPU")


def make_accelerator(settings: Train) -> Accelerator:
    """The Accelerator of this process, which joins the others where several were launched.

    Raises:
        UserError: the launch asks for a way of sharing the work that two players cannot use, the processes did not find one
            another, or the device cannot do the precision.
    """
    if isinstance(settings.threads, int):
        torch.set_num_threads(settings.threads)
    device, launched = this_device(), launched_processes()
    if settings.precision == "fp16" and device.type == "cpu":
        raise UserError("train.precision: fp16 needs an accelerator. Use fp32 or bf16 on CPUs.")
    check_precision(settings.precision, device, settings.emulate, "train.precision", "train.emulate: true")
    if launched > 1 and CHOSEN.get() is not None and device.type != "cpu":
        raise UserError(f"--device {device}: each of several processes takes an accelerator of its own. Leave it out.")
    # An earlier run in this process may have had another precision or device.
    AcceleratorState._reset_state(reset_partial_state=launched == 1)
    chosen = {"accelerate_torch_device": device} if launched == 1 and CHOSEN.get() is not None else {}
    try:
        with patch_environment(**chosen):
            accelerator = Accelerator(
                cpu=device.type == "cpu",
                mixed_precision=_MIXED[settings.precision],
                gradient_accumulation_steps=settings.accumulate,
                step_scheduler_with_optimizer=False,
                kwargs_handlers=[*_meeting()],
            )
    except (ValueError, RuntimeError, ImportError) as error:
        raise UserError(f"Accelerate cannot start with 'train.precision: {settings.precision}' here: {error}") from error
    kind: DistributedType = accelerator.distributed_type
    if kind.name not in _SUPPORTED:
        raise UserError(
            f"{kind.name} shards one network with one optimizer, but a GAN trains two players. Launch without it: "
            "several processes share the batches (DDP)."
        )
    if settings.graphs and launched > 1:
        raise UserError("train.compile: CUDA graphs (reduce-overhead) are for one process. Take 'compile: true' with several.")
    if launched != accelerator.num_processes:
        raise UserError(f"{launched} processes were launched, but {accelerator.num_processes} found each other.")
    return accelerator


def _meeting() -> list[InitProcessGroupKwargs]:
    """How processes that ``launch`` has started find one another: by a file, since torch's own way listens to the network."""
    if LAUNCHED not in os.environ:
        return []
    place = Path(os.environ[LAUNCHED]).as_uri()
    if this_device().type != "cpu":  # on CPUs Accelerate says it itself
        place += f"?rank={os.environ['RANK']}&world_size={os.environ['WORLD_SIZE']}"
    return [InitProcessGroupKwargs(init_method=place)]


def shared(accelerator: Accelerator, network: nn.Module) -> nn.Module:
    """A network whose gradients are means over the processes: of the parameters that train now."""
    bare: nn.Module = accelerator.unwrap_model(network)
    if accelerator.num_processes == 1 or not any(p.requires_grad for p in bare.parameters()):
        return bare
    own = None if accelerator.device.type == "cpu" else [accelerator.local_process_index]
    # The networks run several times before one backward pass, and buffers that change between them cannot be sent.
    return DistributedDataParallel(bare, device_ids=own, forward_sync_buffers=False)


def part_random_numbers(accelerator: Accelerator, seed: int) -> None:
    """Give every process but the first its own random numbers, for noise, dropout and the image pool."""
    if accelerator.process_index > 0:
        set_seed(mix(seed, accelerator.process_index) % 2**32)
        random.seed(mix(seed, accelerator.process_index))
