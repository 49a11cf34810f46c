"""Segmenters by name: images (B, 3, H, W) in [-1, 1] to scores (B, classes, H, W).

- a folder: an i2i run or model folder whose generator translates images into labels;
- a file ``.pt2``: a program saved by ``torch.export.save``, opened as ``programs`` says;
- ``module:function``: called with the images;
- a name: one of torchvision's segmentation networks, as ``fcn_resnet50``, with its published weights.
"""

from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name

import torch
from torch import Tensor, nn

from i2i.errors import UserError, nearest
from i2i.files import sha256
from i2i.metrics import fingerprint, to_zero_one
from i2i.protocols import Domain
from i2i.registry import Registry
from i2i_metrics.downloads import published
from i2i_metrics.packages import needed


class Segmenter:
    """A function with the name and the weights' hash that a figure shows; the hash is empty if there are no weights."""

    def __init__(self, name: str, digest: str, function: Callable[[Tensor], Tensor]) -> None:
        self.name, self.digest, self.function = name, digest, function

    def __call__(self, images: Tensor) -> Tensor:
        with torch.inference_mode():
            return self.function(images)


def segmenter(given: str, labels: Domain, registry: Registry) -> Segmenter:
    """The segmenter of that name, for the classes of a domain of labels.

    Raises:
        UserError: there is no such segmenter, it cannot be loaded, or it has other classes.
    """
    path = Path(given)
    if path.is_dir():
        return _folder(path, labels, registry)
    if path.suffix == ".pt2":
        return _exported(path)
    if ":" in given:
        return _callable(given)
    return _torchvision(given, labels)


def _folder(path: Path, labels: Domain, registry: Registry) -> Segmenter:
    from i2i.translation.loading import load

    model = load(path, registry=registry)
    ways = [way for way in model.directions if model.domains[way[1]].kind == "labels" != model.domains[way[0]].kind]
    if not ways:
        raise UserError(f"segmenter: the model in {path} does not translate images into labels.")
    source, target = ways[0]
    count = model.domains[target].label_count
    if count != labels.label_count:
        raise UserError(f"segmenter: the model in {path} knows {count} classes, and '{labels.name}' has {labels.label_count}.")

    def run(images: Tensor) -> Tensor:
        return model.translate(images.clamp(-1, 1), target, source)

    return Segmenter(path.name, fingerprint(model.module), run)


def _exported(path: Path) -> Segmenter:
    if not path.is_file():
        raise UserError(f"segmenter: there is no file {path}.")
    from i2i_metrics.programs import opened

    try:
        program = opened(path)
    except UserError as error:
        raise UserError(f"segmenter: {error}") from error
    return Segmenter(path.stem, sha256(path)[:12], program)


def _callable(given: str) -> Segmenter:
    try:
        found = resolve_name(given)
    except Exception as error:  # importing a module may raise anything
        raise UserError(f"segmenter: '{given}' cannot be imported ({type(error).__name__}: {error}).") from error
    if not callable(found):
        raise UserError(f"segmenter: '{given}' is a {type(found).__name__} and cannot be called.")
    return Segmenter(given, fingerprint(found) if isinstance(found, nn.Module) else "", found)


def _torchvision(name: str, labels: Domain) -> Segmenter:
    models = needed("torchvision.models", "torchvision")
    names = models.list_models(module=models.segmentation)
    if name not in names:
        listed = f"Nor is it one of torchvision's names: {', '.join(names)}."
        raise UserError(f"segmenter: '{name}' is not a folder, a .pt2 file or module:function.{nearest(name, names)} {listed}")
    weights = models.get_model_weights(name).DEFAULT
    count = len(weights.meta["categories"])
    if count != labels.label_count:
        raise UserError(f"segmenter: '{name}' knows {count} classes, and '{labels.name}' has {labels.label_count}.")
    published(weights.url, f"the weights of '{name}'", "give another segmenter.")
    network = models.get_model(name, weights=weights).eval()
    shown = weights.transforms()
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (shown.mean, shown.std))

    def run(images: Tensor) -> Tensor:
        x = (to_zero_one(images) - mean.to(images.device)) / std.to(images.device)
        scores: Tensor = network.to(images.device)(x)["out"]
        return scores

    return Segmenter(name, fingerprint(network), run)
