"""The frames of a moving picture, translated one after the other, never all at once."""

from collections.abc import Callable, Iterator, Sequence

from PIL import Image

from i2i_translate.moving import Clip
from i2i_translate.steady import Flicker, Steady

Translate = Callable[[Sequence[Image.Image]], list[tuple[Image.Image, Image.Image]]]
"""Frames, each as the network saw it and translated."""


class Reel:
    """Translates a clip, *together* frames at a time; with ``steady`` flicker is damped. Every frame is one *tick*."""

    def __init__(self, clip: Clip, translate: Translate, together: int, steady: bool, tick: Callable[[], None]) -> None:
        self.clip, self.translate, self.together, self.tick = clip, translate, together, tick
        self.steady = Steady() if steady else None
        self.flicker, self.damped = Flicker(), Flicker()
        self.first: tuple[Image.Image, Image.Image] | None = None
        """The first frame and its result."""

    def frames(self) -> Iterator[Image.Image]:
        """The results in their order."""
        waiting: list[Image.Image] = []
        for i, frame in enumerate(self.clip.frames(), 1):
            waiting.append(frame)
            if len(waiting) == self.together or i == self.clip.count:
                yield from self._finished(waiting)
                waiting = []

    def _finished(self, frames: Sequence[Image.Image]) -> Iterator[Image.Image]:
        for before, made in self.translate(frames):
            self.flicker.add(before, made)
            if self.steady:
                made = self.steady(before, made)
                self.damped.add(before, made)
            self.first = self.first or (before, made)
            self.tick()
            yield made

    def told(self) -> str:
        """For people."""
        damped = f", damped to {self.damped.value:.2f}" if self.steady else ""
        return f"{self.clip.name}: {self.clip.count} frames, flicker {self.flicker.value:.2f} of 255{damped}"
