"""Videos, read and written frame by frame by torchcodec, which uses the FFmpeg that is installed."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from i2i.errors import UserError, first_line
from i2i.files import new_file
from i2i.pictures.files import MAX_PIXELS
from i2i.pictures.sources import check_size
from i2i_provenance.video import xmp_box

TOGETHER = 2**23
"""So many pixels are decoded at a time, or one frame."""
SOUND = 10.0
"""Seconds of sound that are copied at a time."""
LOOKS = {"pixel_format": "yuv420p", "crf": 18, "extra_options": {"colorspace": "smpte170m"}}
"""H.264 that every browser plays, with losses that are hardly seen; and the colours that FFmpeg converts to, for players."""
AAC = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
"""Samples per second that the sound in an MP4 file can have."""


class Video:
    """A video file, see :class:`i2i_translate.moving.Clip`. Its results are MP4 files, H.264 with AAC sound, at the same rate.

    Where frames come at varying times, those that are shown at the times of the mean rate are taken, so that the sound fits.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, str(path)
        with _told(self.name, "the video cannot be read, or has no frames", "Replace the file."):
            told = self._opened().metadata
            self.count, self.rate = int(told.num_frames or 0), float(told.average_fps or 0)
            self._begin = float(told.begin_stream_seconds or 0)
        if not (self.count > 0 and self.rate > 0):
            raise UserError(f"{self.name}: there are no frames in this video. Replace the file.")
        self.size = (int(told.width or 0), int(told.height or 0))
        check_size(path, *self.size, MAX_PIXELS)

    def _opened(self) -> Any:
        return torchcodec("decoders").VideoDecoder(self.path, num_ffmpeg_threads=1)

    def frames(self) -> Iterator[Image.Image]:
        decoder, together = self._opened(), max(1, TOGETHER // (self.size[0] * self.size[1]))
        for first in range(0, self.count, together):
            numbers = range(first, min(first + together, self.count))
            times = [self._begin + (i + 0.5) / self.rate for i in numbers]
            with _told(self.name, f"frame {first + 1} or one of the next cannot be read", "Replace the file."):
                decoded = decoder.get_frames_played_at(times).data
            yield from (Image.fromarray(frame.permute(1, 2, 0).numpy()) for frame in decoded)

    def write(self, path: Path, frames: Iterable[Image.Image], statement: str) -> list[str]:
        remarks: list[str] = []
        sound = _Sound.of(self.path, self._begin, remarks)
        failed = str(path), "the video cannot be written", "Choose another output folder."
        with new_file(path, ".mp4") as partial:
            encoder = streams = None
            try:
                for i, picture in enumerate(frames, 1):
                    pixels = even(picture)
                    with _told(*failed):
                        if streams is None:
                            encoder = torchcodec("encoders").Encoder()
                            streams = self._streams(encoder, pixels, sound)
                            encoder.open_file(partial)
                        streams[0].add_frames(pixels[None])
                        if sound and (i / self.rate > sound.seconds + SOUND or i == self.count):
                            streams[1].add_samples(sound.until(i / self.rate))
            finally:
                if encoder is not None:
                    with _told(*failed):
                        encoder.close()
            if statement:
                with partial.open("ab") as file:
                    file.write(xmp_box(statement))
        return remarks

    def _streams(self, encoder: Any, pixels: Tensor, sound: "_Sound | None") -> tuple[Any, Any]:
        height, width = pixels.shape[1:]
        seen = encoder.add_video(height=height, width=width, frame_rate=self.rate, **LOOKS)
        if sound is None:
            return seen, None
        rate = sound.rate if sound.rate in AAC else 48000
        return seen, encoder.add_audio(sample_rate=sound.rate, num_channels=sound.channels, out_sample_rate=rate)


class _Sound:
    """The sound of a video, a part after the other, from the time of its first frame on; silence where there is none."""

    def __init__(self, decoder: Any, begin: float, remarks: list[str]) -> None:
        told = decoder.metadata
        self.rate, self.channels, self.seconds = int(told.sample_rate), int(told.num_channels), 0.0
        self._decoder, self._begin, self._remarks = decoder, begin, remarks
        self._first = float(told.begin_stream_seconds or 0)
        self._end = self._first + float(told.duration_seconds) if told.duration_seconds else inf

    @classmethod
    def of(cls, path: Path, begin: float, remarks: list[str]) -> "_Sound | None":
        try:
            return cls(torchcodec("decoders").AudioDecoder(path), begin, remarks)
        except (RuntimeError, ValueError, TypeError) as error:
            if "no valid audio stream" not in str(error).lower() and "stream is unknown" not in str(error).lower():
                remarks.append(f"its sound cannot be read and is dropped ({reason_of(error)})")
            return None

    def until(self, seconds: float) -> Tensor:
        """The samples (channels, count) from where the last part ended to that time after the first frame."""
        count = round(seconds * self.rate) - round(self.seconds * self.rate)
        start, stop = self._begin + self.seconds, min(self._begin + seconds, self._end)
        self.seconds, samples = seconds, torch.zeros(self.channels, count)
        if max(start, self._first) < stop:
            try:
                found = self._decoder.get_samples_played_in_range(max(start, self._first), stop).data
            except (RuntimeError, ValueError) as error:
                self._end = start
                self._remarks.append(f"its sound cannot be read from {start:.1f} s on ({reason_of(error)})")
                return samples
            silent = min(max(0, round((self._first - start) * self.rate)), count)
            kept = found[:, : count - silent]
            samples[:, silent : silent + kept.shape[1]] = kept
        return samples


def even(picture: Image.Image) -> Tensor:
    """uint8 (3, H, W) with even sides, as H.264 stores colours for squares of four pixels: an odd side's last are repeated."""
    pixels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
    height, width = pixels.shape[1:]
    if height % 2:
        pixels = torch.cat([pixels, pixels[:, -1:]], 1)
    if width % 2:
        pixels = torch.cat([pixels, pixels[:, :, -1:]], 2)
    return pixels


def torchcodec(module: str) -> Any:
    """A module of the package torchcodec.

    Raises:
        UserError: it or FFmpeg is not installed.
    """
    if find_spec("torchcodec") is None:
        raise UserError("videos need the package torchcodec: pip install 'i2i-framework[video]', and FFmpeg.")
    try:
        return import_module(f"torchcodec.{module}")
    except (ImportError, OSError, RuntimeError) as error:
        raise UserError(
            "videos need FFmpeg's libraries (versions 4 to 8), which torchcodec does not find here. Install FFmpeg: apt "
            "install ffmpeg, brew install ffmpeg, conda install -c conda-forge ffmpeg."
        ) from error


def reason_of(error: BaseException) -> str:
    """The first line of torchcodec's message, without the place in its source."""
    return re.sub(r"^.*?\.cpp:\d+, ", "", first_line(error))


@contextmanager
def _told(name: str, what: str, to_do: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except (RuntimeError, ValueError, IndexError) as error:
        reason = "it has no video stream" if "stream is unknown" in str(error) else reason_of(error)
        raise UserError(f"{name}: {what} ({reason}). {to_do}") from error
