"""A translator of a model in a folder or on the hub: ``i2i.load("runs/night")``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import torch

from i2i.errors import one_of
from i2i.layers import fold_norms
from i2i.registry import Registry, default_registry
from i2i.translation.engines import TORCH, engine_called
from i2i.translation.finding import find_model
from i2i.translation.limits import MAX_PARAMETERS
from i2i.translation.model_folder import load_model
from i2i.translation.precision import check_precision, device_called
from i2i.translation.translator import Precision, Translator


def load(
    path: str | Path,
    device: str | torch.device | None = None,
    *,
    precision: Precision = "fp32",
    emulate: bool = False,
    backend: str = TORCH,
    registry: Registry | None = None,
    changed: bool = False,
    max_parameters: int = MAX_PARAMETERS,
    use: Mapping[str, Any] | None = None,
) -> Translator:
    """The translator of a run folder or a model folder, on *device* (default: an accelerator, if there is one).

    Of a run it takes the best model if there is one, else the last; ``run@600`` is the checkpoint of step 600, ``run@best`` and
    ``run@last`` choose.

    ``path`` may also be a model on the Hugging Face hub, ``owner/name`` or ``owner/name@revision``; it is downloaded once.
    If there is a local folder *owner*, only a name with ``@`` means a model on the hub, and none where *owner/name* is local.

    Its ``module`` is for translating: norms with running statistics are folded into convolutions where the architecture can
    (``i2i.layers.fold_norms``). To continue training or to take weights, use the unchanged network of
    ``i2i.translation.model_folder.load_model``.

    ``precision`` bf16 or fp16 lets the network compute by autocast in 16 bits where that is safe, also without instructions for
    it if ``emulate`` insists. ``backend`` is what computes the network: torch, or a plugin's engine
    (``i2i.translation.engines``).

    ``use`` are options of the generator that may change after training, such as the steps of a sampler: ``{"steps": 50}``.

    A model may be a stranger's: nothing in it is executed (docs/security.md). ``changed`` takes weights that are not those
    whose SHA-256 config.json records; ``max_parameters`` is the most numbers that a model may have.

    Raises:
        UserError: there is no model at *path*, it cannot be rebuilt, there is no such device or backend, or one of them lacks
            the precision; or an option in *use* does not fit.
    """
    path, place = Path(path), device_called(device)
    one_of(precision, get_args(Precision), "precision")
    check_precision(precision, place, emulate, "precision", "--emulate (emulate=True in Python)")
    registry = default_registry() if registry is None else registry
    engine_called(backend, precision, registry)  # what cannot be is refused before weights are read
    model = load_model(find_model(path), registry=registry, changed=changed, max_parameters=max_parameters, use=use)
    fold_norms(model.module)
    module = model.module.to(place)
    translator = Translator(module, model.domains, model.directions, model.config, place, registry, precision, use=model.use)
    return translator.with_backend(backend)
