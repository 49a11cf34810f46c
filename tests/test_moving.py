"""Animated pictures and videos, frame by frame; their flicker."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageSequence
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.protocols import Domain, Translation
from i2i.registry import Registry
from i2i.translation.translator import Translator
from i2i_provenance.inspection import inspect
from i2i_translate import video
from i2i_translate.file_translation import translate_files
from i2i_translate.inputs import gather
from i2i_translate.moving import Clip
from i2i_translate.reel import Reel
from i2i_translate.requests import Finish, Request
from i2i_translate.steady import MOVING, Flicker, Steady
from i2i_translate.video import Video

DOMAINS = {"a": Domain("day", "image", 3), "b": Domain("night", "image", 3)}
LAND = Domain("land", "labels", 2, ("sea", "land"))
SOUND = 22050
Frame = NDArray[np.uint8]


class Negative(nn.Module):
    """The negative, plus its style's mean; every call after ``most`` fails."""

    exposes = frozenset[str]()
    accepts = frozenset({"style"})
    divisor = 1
    calls, most = 0, 1000

    def forward(self, x: Tensor, source: str, *targets: str, style: Tensor | None = None) -> Translation:
        self.calls += 1
        if self.calls > self.most:
            raise UserError("a network that fails")
        return Translation(dict.fromkeys(targets, -x + (0 if style is None else style.mean())))


@pytest.fixture
def model() -> Any:
    return Translator(Negative(), DOMAINS, (("a", "b"),), {}, torch.device("cpu"), Registry({}))


@pytest.fixture
def ffmpeg() -> Any:
    """The encoders of torchcodec. Without FFmpeg the test is skipped, and with CI=true it fails."""
    try:
        return video.torchcodec("encoders")
    except UserError as error:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(str(error))


def frames(count: int = 6, size: tuple[int, int] = (32, 24)) -> list[Frame]:
    """Smooth pictures that grow lighter, with a square that moves by two pixels a frame."""
    y, x = np.mgrid[: size[1], : size[0]]
    made = []
    for i in range(count):
        frame = np.stack([x * 2 + 20 * i, y * 3 + 20, np.full_like(x, 90)], 2)
        frame[8:16, 2 + 2 * i : 10 + 2 * i] = 200
        made.append(frame.clip(0, 255).astype(np.uint8))
    return made


def film(path: Path, encoders: Any, made: list[Frame], rate: float = 12.5, sound: bool = True) -> Path:
    encoder = encoders.Encoder()
    seen = encoder.add_video(height=made[0].shape[0], width=made[0].shape[1], frame_rate=rate, crf=1)
    heard = encoder.add_audio(sample_rate=SOUND, num_channels=1) if sound else None
    with encoder.open_file(path):
        seen.add_frames(torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2))
        if heard:
            times = torch.arange(round(len(made) / rate * SOUND)) / SOUND
            heard.add_samples(0.5 * torch.sin(2764.6 * times)[None])
    return path


def animation(path: Path, made: list[Frame], durations: list[int], **options: Any) -> Path:
    first, *others = map(Image.fromarray, made)
    first.save(path, save_all=True, append_images=others, duration=durations, **options)
    return path


def run(model: Any, folder: Path, *inputs: Path, out: str = "out", **more: Any) -> tuple[list[Path], list[str]]:
    said: list[str] = []
    finish = Finish(folder / out, grid=more.pop("grid", False))
    return translate_files(model, Request(inputs, "night", **more), finish, remark=said.append, skipped=said.append), said


@pytest.mark.parametrize(("suffix", "loop"), [("gif", 0), ("gif", 3), ("gif", None), ("png", 2), ("webp", 0), ("webp", 5)])
def test_animated_pictures(model: Any, tmp_path: Path, suffix: str, loop: int | None) -> None:
    given, durations = frames(4), [40, 200, 90, 120]
    options = {} if loop is None else {"loop": loop}
    path = animation(tmp_path / f"x.{suffix}", given, durations, **options, **({"lossless": True} if suffix == "webp" else {}))
    (made,), said = run(model, tmp_path, path)
    assert made == tmp_path / "out" / f"x.{suffix}"
    with Image.open(made) as opened:
        assert (opened.format, getattr(opened, "n_frames", 1), opened.info.get("loop")) == (suffix.upper(), 4, loop)
        seen = []
        for frame in ImageSequence.Iterator(opened):
            pixels = np.asarray(frame.convert("RGB"), np.int16)
            seen.append(opened.info["duration"])
            away = np.abs(pixels - (255 - given[len(seen) - 1].astype(np.int16)))
            assert away.mean() < 6 if suffix == "gif" else away.max() <= 1  # a GIF has 256 colours
    assert seen == durations
    assert said == [f"{path}: 4 frames, flicker 0.00 of 255"] or suffix == "gif"
    if suffix != "gif":
        assert inspect(made) is not None


def test_pictures_that_do_not_move_stay_png(model: Any, tmp_path: Path) -> None:
    for suffix in ("gif", "webp", "png"):
        Image.fromarray(frames(1)[0]).save(tmp_path / f"one_{suffix}.{suffix}")
    made, said = run(model, tmp_path, *sorted(tmp_path.glob("one_*")))
    assert [path.suffix for path in made] == [".png"] * 3
    assert said == []


def test_an_animation_that_does_not_fit_into_memory(model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = animation(tmp_path / "x.gif", frames(4), [40] * 4)
    monkeypatch.setattr("i2i_translate.animation.LARGEST", 3000)
    with pytest.raises(UserError, match=r"x\.gif: 4 frames of 32 x 24 are too many .* Convert it to a video"):
        run(model, tmp_path, path)
    monkeypatch.setattr("i2i_translate.animation.LARGEST", 4000)
    with pytest.raises(UserError, match=r"x\.gif: 4 frames of 64 x 48 are too many"):
        run(model, tmp_path, path, resize=48)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_broken_animation(model: Any, tmp_path: Path) -> None:
    path = animation(tmp_path / "x.gif", frames(4), [40] * 4)
    path.write_bytes(path.read_bytes()[:-300])
    good = animation(tmp_path / "y.gif", frames(4), [40] * 4)
    with pytest.raises(UserError, match=r"the others were translated:\n.*x\.gif: the picture is corrupt or truncated"):
        run(model, tmp_path, path, good)
    assert [made.name for made in (tmp_path / "out").iterdir()] == ["y.gif"]


def test_a_video_keeps_its_rate_its_size_and_its_sound(model: Any, tmp_path: Path, ffmpeg: Any) -> None:
    given = frames(7)
    path = film(tmp_path / "x.mov", ffmpeg, given)
    (made,), said = run(model, tmp_path, path, grid=True)
    assert made == tmp_path / "out" / "x.mp4"
    clip = Video(made)
    assert (clip.count, round(clip.rate, 3), clip.size) == (7, 12.5, (32, 24))
    for before, after in zip(given, clip.frames(), strict=True):
        assert np.abs(255.0 - before - np.asarray(after)).mean() < 4  # two encodings with losses
    heard = video.torchcodec("decoders").AudioDecoder(made)
    samples = heard.get_all_samples()
    assert samples.sample_rate == SOUND
    assert samples.data.shape[1] / SOUND == pytest.approx(7 / 12.5, abs=0.1)
    assert samples.data.std() == pytest.approx(0.5 / 2**0.5, rel=0.1)
    stated = inspect(made)
    assert stated is not None
    assert stated.trained
    assert inspect(path) is None
    assert len(said) == 1
    assert said[0].startswith(f"{path}: 7 frames, flicker 0.")
    assert (tmp_path / "out/grid.png").is_file()
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["grid.png", "x.mp4"]


def test_odd_sides_and_silent_videos(model: Any, tmp_path: Path, ffmpeg: Any) -> None:
    path = film(tmp_path / "x.mp4", ffmpeg, frames(3), sound=False)
    (made,), said = run(model, tmp_path, path, resize="25x17")
    assert Video(made).size == (26, 18)
    assert len(said) == 1
    with pytest.raises(ValueError, match="audio"):
        video.torchcodec("decoders").AudioDecoder(made)


def test_several_styles_and_a_folder(model: Any, tmp_path: Path, ffmpeg: Any) -> None:
    (tmp_path / "in").mkdir()
    film(tmp_path / "in/x.mp4", ffmpeg, frames(3))
    Image.fromarray(frames(1)[0]).save(tmp_path / "in/still.png")
    for name, value in (("red", 128), ("blue", 160)):
        Image.new("RGB", (8, 8), (value,) * 3).save(tmp_path / f"{name}.png")
    made, _ = run(model, tmp_path, tmp_path / "in", styles=[tmp_path / "red.png", tmp_path / "blue.png"], grid=True)
    assert sorted(path.name for path in made) == ["still-blue.png", "still-red.png", "x-blue.mp4", "x-red.mp4"]
    red, blue = (next(Video(tmp_path / f"out/x-{name}.mp4").frames()) for name in ("red", "blue"))
    assert np.asarray(blue).mean() - np.asarray(red).mean() == pytest.approx(32, abs=12)


def test_files_that_are_no_videos(model: Any, tmp_path: Path, ffmpeg: Any) -> None:
    good = film(tmp_path / "good.mp4", ffmpeg, frames(3))
    encoder = ffmpeg.Encoder()
    heard = encoder.add_audio(sample_rate=SOUND, num_channels=1)
    with encoder.open_file(tmp_path / "sound.mp4"):
        heard.add_samples(torch.zeros(1, SOUND))
    (tmp_path / "cut.mp4").write_bytes(good.read_bytes()[:1500])
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "list.mp4").write_text(f"#EXTM3U\n#EXTINF:1,\n{good}\n")  # FFmpeg would follow it
    cases = {
        "sound": r"has no frames \(it has no video stream\)",
        "cut": "the video cannot be read",
        "empty": "the file is empty",
        "list": "not a picture of a known format",
    }
    for name, says in cases.items():
        with pytest.raises(UserError, match=rf"{name}\.mp4: .*{says}"):
            run(model, tmp_path, good, tmp_path / f"{name}.mp4")
    assert not (tmp_path / "out").exists()
    made, said = run(model, tmp_path, *sorted(tmp_path.glob("*.mp4")), skip_bad=True)
    assert [path.name for path in made] == ["good.mp4"]
    assert len(said) == 5


def test_a_video_is_written_whole_or_not_at_all(
    model: Any, tmp_path: Path, ffmpeg: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = film(tmp_path / "x.mp4", ffmpeg, frames(6))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/x.mp4").write_text("old")
    monkeypatch.setattr("i2i_translate.file_translation.batch_pixels", lambda device: 1)
    model.module.most = 4
    request, finish = Request([path], "night"), Finish(tmp_path / "out", overwrite=True)
    with pytest.raises(UserError, match="a network that fails"):
        translate_files(model, request, finish)
    assert [(file.name, file.read_text()) for file in (tmp_path / "out").iterdir()] == [("x.mp4", "old")]
    model.module.most = 1000
    assert translate_files(model, request, finish) == [tmp_path / "out/x.mp4"]


def test_frames_are_not_collected() -> None:
    """No more are read than go through the network together."""
    read: list[int] = []

    class Endless:
        name, count, size = "x", 10**9, (4, 4)

        def frames(self) -> Iterator[Image.Image]:
            for i in range(self.count):
                read.append(i)
                yield Image.new("L", self.size)

        write: Any = None

    clip: Clip = Endless()
    reel = Reel(clip, lambda found: [(frame, frame) for frame in found], 3, False, lambda: None)
    results = reel.frames()
    for i in range(1, 10):
        next(results)
        assert len(read) <= i + 2


def test_what_is_missing_is_said(model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(b"\0\0\0\x18ftypisom" + bytes(100))
    with monkeypatch.context() as patch:
        patch.setattr(video, "find_spec", lambda name: None)
        with pytest.raises(UserError, match=r"pip install 'i2i-framework\[video\]', and FFmpeg"):
            run(model, tmp_path, path)

    def fails(name: str) -> None:
        raise RuntimeError("Could not load libtorchcodec.")

    monkeypatch.setattr(video, "import_module", fails)
    with pytest.raises(UserError, match=r"videos need FFmpeg's libraries .* apt install ffmpeg"):
        run(model, tmp_path, path)
    assert not (tmp_path / "out").exists()


def test_what_is_only_for_moving_or_only_for_still_pictures(model: Any, tmp_path: Path) -> None:
    still = tmp_path / "still.png"
    Image.fromarray(frames(1)[0]).save(still)
    with pytest.raises(UserError, match="steady: none of the inputs moves"):
        run(model, tmp_path, still, steady=True)
    moving, signing = animation(tmp_path / "x.gif", frames(2), [40, 40]), Any
    with pytest.raises(UserError, match=r"x\.gif: only still pictures are signed"):
        translate_files(model, Request([moving], "night"), Finish(tmp_path / "out", signing=signing))  # type: ignore[arg-type]
    labels = Translator(Negative(), {"a": LAND, "b": DOMAINS["b"]}, (("a", "b"),), {}, torch.device("cpu"), Registry({}))
    with pytest.raises(UserError, match=r"x\.gif: label maps are translated as still pictures only"):
        run(labels, tmp_path, moving)
    assert not (tmp_path / "out").exists()


def test_videos_are_known_by_their_content(tmp_path: Path) -> None:
    heads = {
        "a.mp4": b"\0\0\0\x20ftypisom", "b.mov": b"\0\0\0\x14ftypqt  ", "c.mkv": b"\x1a\x45\xdf\xa3",
        "d.avi": b"RIFF\0\0\0\0AVI ", "e": b"\0\0\0\x08wide\0\0\0\0mdat", "x.avif": b"\0\0\0\x20ftypavif",
        "y.mp4": b"ffconcat version 1.0", "z.webp": b"RIFF\0\0\0\0WEBP",
    }  # fmt: skip
    for name, head in heads.items():
        (tmp_path / name).write_bytes(head + bytes(64))
    found = {item.path.name: item.moving for item in gather(sorted(tmp_path.iterdir()), tmp_path / "out")}
    assert found == {name: ".mp4" if name[0] < "x" else "" for name in heads}


def flickering(given: list[Frame]) -> list[Image.Image]:
    """Negatives, each with a pattern of its own, as models make them of equal frames."""
    draw = np.random.default_rng(0)
    return [Image.fromarray((255 - x + draw.normal(0, 12, x.shape)).clip(0, 255).astype(np.uint8)) for x in given]


def filtered(given: list[Frame], made: list[Image.Image]) -> tuple[list[Frame], float, float]:
    steady, before, after, results = Steady(), Flicker(), Flicker(), []
    for x, y in zip(map(Image.fromarray, given), made, strict=True):
        before.add(x, y)
        results.append(steady(x, y))
        after.add(x, results[-1])
    return list(map(np.asarray, results)), before.value, after.value


def test_flicker_is_what_the_input_does_not_explain() -> None:
    given = frames(8, (64, 48))
    assert filtered(given, list(map(Image.fromarray, given)))[1] == 0
    assert filtered(given, [Image.fromarray(255 - x) for x in given])[1] == 0
    still = [given[0]] * 8
    _, still_before, still_after = filtered(still, flickering(still))
    assert still_before == pytest.approx(12 * 2 / np.pi**0.5, rel=0.1)  # the mean of |a - b| of two normal numbers
    assert still_after < still_before / 4
    assert Flicker().value == 0


def test_steady_leaves_what_moves_as_it_is() -> None:
    """A square on a still ground: no trail, and the ground becomes still."""
    given = [np.full((48, 96, 3), 60, np.uint8) for _ in range(20)]
    for i, x in enumerate(given):
        x[16:32, 4 + 4 * i : 16 + 4 * i] = 200
    for blur in (0, 1):  # a network's results change beside what moves, too
        exact = [Image.fromarray(255 - x).filter(ImageFilter.GaussianBlur(blur)) for x in given]
        results, _, _ = filtered(given, exact)
        assert max(np.abs(np.asarray(y, float) - result).max() for y, result in zip(exact, results, strict=True)) <= 1
    _, before, after = filtered(given, flickering(given))
    assert after < before / 2


def test_steady_follows_a_slow_change() -> None:
    """A fade of one level per frame is never more than MOVING levels late; a cut is not late at all."""
    given = [np.full((16, 16, 3), 40 + i, np.uint8) for i in range(60)] + [np.full((16, 16, 3), 200, np.uint8)]
    results, _, _ = filtered(given, [Image.fromarray(x) for x in given])
    late = [float(np.abs(x.astype(float) - result).max()) for x, result in zip(given, results, strict=True)]
    assert max(late) < MOVING / 2
    assert late[-1] == 0
