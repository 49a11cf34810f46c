"""What is to be translated, and what becomes of the results."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from i2i.pictures.preparation import Resize
from i2i_provenance.content_credentials import Signing


@dataclass(frozen=True)
class Request:
    """What to translate, and how: files, folders, patterns or standard input (``-``).

    A result of each input for each of the ``styles``, or with ``mix`` one for both; ``samples`` of these, from ``style_seed``
    on. ``strength`` below 1 blends with the input; ``mask``, a picture, keeps the input where it is black. ``mix``, ``tile``,
    ``resize``: see :meth:`i2i.translation.translator.Translator.translate`. ``skip_bad`` leaves out inputs that cannot be
    read. ``steady`` damps the flicker of moving pictures (``i2i_translate.steady``).
    """

    inputs: Sequence[str | Path]
    to: str | None = None
    source: str | None = None
    styles: Sequence[str | Path] = ()
    mix: float | None = None
    style_seed: int = 0
    samples: int = 1
    strength: float = 1.0
    mask: str | Path | None = None
    tile: int | None = None
    resize: Resize = "as-trained"
    skip_bad: bool = False
    steady: bool = False

    @property
    def seeds(self) -> range:
        return range(self.style_seed, self.style_seed + self.samples)

    @property
    def style_names(self) -> list[str]:
        """The names of the styles' files, by which results in several styles are distinguished."""
        if self.mix is not None or len(self.styles) < 2:
            return [""]
        stems = [Path(style).stem for style in self.styles]
        return [stem if stems.count(stem) == 1 else f"{stem}-{i + 1}" for i, stem in enumerate(stems)]


@dataclass(frozen=True)
class Finish:
    """What is written into the folder *out*, where files that exist are replaced only with ``overwrite``.

    ``grid`` adds a contact sheet, ``grid.png``. ``metadata``: results say what made them; with ``signing`` they say it in
    signed Content Credentials too, and with ``watermark`` in their pixels.
    """

    out: Path
    overwrite: bool = False
    grid: bool = False
    metadata: bool = True
    signing: Signing | None = None
    watermark: bool = False
