"""Segmentation scores: does each pixel of a translation show the class that it should?

Into labels, the classes are the largest channel, and the truth is the paired label map. From labels, a segmenter looks at the
translation, and the truth is the label map that it was made from.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from pydantic import Field

from i2i.errors import UserError
from i2i.metrics import Better, Figure, Seen, State
from i2i.protocols import Direction, Domain
from i2i.registry import Registry
from i2i_metrics.segmenters import segmenter as load_segmenter


class Segmentation:
    """``miou``, the mean intersection over union of the classes that occur, and ``pixel_accuracy``.

    ``segmenter`` (see ``segmenters``) is needed for translations from labels into images; its name stands in the figures'.
    """

    better: Better = "higher"
    least = 1

    def __init__(
        self,
        *,
        domains: Mapping[str, Domain],
        direction: Direction,
        plugins: Registry,
        segmenter: Annotated[
            str | None, Field(description="A model folder, a .pt2 file, module:function, or one of torchvision's names.")
        ] = None,
    ) -> None:
        source, target = (domains[key] for key in direction)
        if "labels" not in (source.kind, target.kind):
            raise UserError(f"neither '{source.name}' nor '{target.name}' is a domain of labels.")
        self.paired = target.kind == "labels"
        if not self.paired and segmenter is None:
            raise UserError("translations from labels need a 'segmenter': a model folder, a file, module:function or a name.")
        self.segmenter = None if self.paired or segmenter is None else load_segmenter(segmenter, source, plugins)
        self.classes = (target if self.paired else source).label_count
        mark = f"[{self.segmenter.name}]" if self.segmenter else ""
        self.names = (f"miou{mark}", f"pixel_accuracy{mark}")
        own = {"segmenter": self.segmenter.name, "segmenter_sha256": self.segmenter.digest} if self.segmenter else {}
        self.protocol = {"classes": "those that occur", **own}
        self.confusion = torch.zeros(self.classes, self.classes, dtype=torch.int64)

    def update(self, seen: Seen) -> None:
        if self.segmenter is not None:
            scores, truth = self.segmenter(seen.made), seen.source
        else:
            scores, truth = seen.made, seen.real
        if scores.ndim != 4 or scores.shape[1] < self.classes or scores.shape[-2:] != truth.shape[-2:]:
            raise UserError(
                f"the scores have the shape {tuple(scores.shape)}; expected (B, {self.classes}, "
                f"{truth.shape[-2]}, {truth.shape[-1]})."
            )
        guessed, true = (side[:, : self.classes].argmax(1).flatten() for side in (scores, truth))
        both = torch.bincount(true * self.classes + guessed, minlength=self.classes**2)
        self.confusion += both.reshape(self.classes, self.classes).cpu()

    def state(self) -> State:
        return {"confusion": self.confusion}

    def merge(self, states: Sequence[State]) -> None:
        self.confusion = torch.stack([state["confusion"] for state in states]).sum(0)

    def figures(self) -> list[Figure]:
        hits, counts = self.confusion.diagonal().double(), self.confusion.double()
        union = counts.sum(0) + counts.sum(1) - hits
        values = float((hits / union)[union > 0].mean()), float(hits.sum() / counts.sum())
        return [Figure(name, value, self.better, self.protocol) for name, value in zip(self.names, values, strict=True)]
