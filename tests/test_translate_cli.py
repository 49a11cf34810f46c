"""``i2i translate`` as a person meets it: what can be named, what comes out, and what is refused."""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import terminal
from i2i.protocols import Domain, Translation
from i2i.registry import Registry, hookimpl
from i2i.translation.model_folder import Origin, save_model
from i2i_provenance.metadata import KEY, SOURCE_TYPE

DOMAINS = {"a": Domain("day", "image", 3), "b": Domain("night", "image", 3), "c": Domain("relief", "image", 1)}
WAYS = (("a", "b"), ("a", "c"))


class Negative(nn.Module):
    """The negative, darker by a drawn number if it draws; remembers the batches that it saw."""

    exposes = frozenset[str]()
    divisor = 4
    seen: list[tuple[int, ...]] = []  # noqa: RUF012 - shared by all

    def __init__(self, *, domains: Any, directions: Any, drawing: bool = False) -> None:
        super().__init__()
        self.accepts = frozenset({"style"} if drawing else ())
        self.register_buffer("zero", torch.zeros(()))

    def forward(self, x: Tensor, source: str, *targets: str, style: Tensor | None = None) -> Translation:
        Negative.seen.append(tuple(x.shape))
        made = -x if not self.accepts else (-x - (torch.rand(()) if style is None else style.mean())).clamp(-1, 1)
        return Translation({t: made.mean(1, True) if t == "c" else made for t in targets})


class Plugin:
    @hookimpl
    def register_generators(self) -> dict[str, Any]:
        return {"negative": Negative}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with the models ``plain`` and ``drawing``."""
    registry = Registry({"mine": Plugin()})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("i2i.translation.loading.default_registry", lambda: registry)
    for name, options in (("plain", {}), ("drawing", {"drawing": True})):
        module = Negative(domains=DOMAINS, directions=WAYS, **options)
        save_model(tmp_path / name, module, {"": Origin("negative", "mine", "1", options)}, domains=DOMAINS, directions=WAYS)
    Negative.seen.clear()
    return tmp_path


@pytest.fixture
def call(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def calling(*arguments: str) -> tuple[int, str]:
        code = terminal.call(monkeypatch, "translate", *arguments)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out + captured.err

    return calling


def draw(path: Path, value: int = 40, size: tuple[int, int] = (8, 6)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)
    return path


def opened(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        picture.load()
        return picture


def value(path: Path) -> int:
    return int(np.array(opened(path).convert("L"))[0, 0])


def test_folders_keep_their_structure_patterns_and_files(folder: Path, call: Any) -> None:
    for name in ("in/x.png", "in/deep/x.jpg", "in/deep/.hidden/y.png", "more/p1.png", "more/p2.png"):
        draw(folder / name)
    (folder / "in/notes.txt").write_text("no picture")
    code, text = call("plain", "in", "more/*.png", "more/p1.png", "--to", "night", "--out", "out", "--device", "cpu")
    assert code == 0, text
    made = sorted(str(path.relative_to(folder / "out")) for path in (folder / "out").rglob("*.png"))
    assert made == ["deep/x.png", "p1.png", "p2.png", "x.png"]
    assert value(folder / "out/deep/x.png") == 215
    code, text = call("plain", "in", "--to", "night", "--out", "in/out")  # results inside: not inputs of the next call
    assert code == 0, text
    assert call("plain", "in", "--to", "night", "--out", "in/out", "--overwrite")[0] == 0
    assert not (folder / "in/out/out").exists()


def test_batches_by_size(folder: Path, call: Any) -> None:
    for i in range(5):
        draw(folder / f"in/{i}.png", size=(8, 6) if i % 2 else (40, 24))
    assert call("plain", "in", "--to", "night", "--out", "out")[0] == 0
    assert [shape[0] for shape in Negative.seen[4:]] == [3, 2]  # after four runs that look for what a result depends on


@pytest.mark.parametrize("way", [lambda x: x - x.mean(), lambda x: x - torch.rand(len(x), 1, 1, 1)])
def test_one_by_one_where_a_batch_changes_the_results(
    folder: Path, call: Any, monkeypatch: pytest.MonkeyPatch, way: Callable[[Tensor], Tensor]
) -> None:
    usual = Negative.forward
    monkeypatch.setattr(Negative, "forward", lambda self, x, *directions: usual(self, way(x), *directions))
    for i in range(3):
        draw(folder / f"in/{i}.png", 20 * i)
    assert call("plain", "in", "--to", "night", "--out", "out")[0] == 0
    assert [shape[0] for shape in Negative.seen[4:]] == [1, 1, 1]


def test_standard_input(folder: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = draw(folder / "x.png").read_bytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    assert call("plain", "-", "--to", "night", "--out", "out")[0] == 0
    assert value(folder / "out/stdin.png") == 215
    draw(folder / "x.png").rename(folder / "-")
    monkeypatch.setattr(sys, "stdin", None)
    assert call("plain", "./-", "--to", "night", "--out", "out")[0] == 0  # a file of that name
    assert value(folder / "out/-.png") == 215
    for bad in (b"", b"no picture", data[:-30]):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(bad)))
        code, text = call("plain", "-", "--to", "night", "--out", "out3")
        assert code == 2
        assert "standard input" in text
    assert not (folder / "out3").exists()


def test_samples_are_named_by_their_seeds(folder: Path, call: Any) -> None:
    draw(folder / "x.png", 100)
    assert call("drawing", "x.png", "--to", "night", "--out", "out", "--samples", "3", "--style-seed", "4", "--grid")[0] == 0
    names = [f"x-style{seed}.png" for seed in (4, 5, 6)]
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["grid.png", *names]
    assert len({value(folder / "out" / name) for name in names}) == 3
    assert opened(folder / "out/grid.png").size == (4 * (128 + 4) + 4, 16 + 96 + 2 * 4)  # 8 x 6, enlarged
    assert call("drawing", "x.png", "--to", "night", "--out", "alone", "--style-seed", "5")[0] == 0
    assert value(folder / "alone/x.png") == value(folder / "out/x-style5.png")
    code, text = call("plain", "x.png", "--to", "night", "--out", "no", "--samples", "2")
    assert code == 2
    assert "draws nothing at random" in text


def test_an_input_becomes_a_picture_once(folder: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the blend of every sample, and for the contact sheet; and only where one of them asks for it."""
    from i2i_translate import file_translation

    seen: list[int] = []
    plain = file_translation.shown
    monkeypatch.setattr(file_translation, "shown", lambda pixels, domain: (seen.append(1), plain(pixels, domain))[1])
    draw(folder / "x.png", 100)
    draw(folder / "y.png", 200)
    both = ("drawing", "x.png", "y.png", "--to", "night")
    assert call(*both, "--out", "a", "--samples", "3", "--strength", "0.5", "--grid")[0] == 0
    assert len(seen) == 2
    assert call(*both, "--out", "b")[0] == 0
    assert len(seen) == 2


def test_strength_and_mask(folder: Path, call: Any) -> None:
    draw(folder / "x.png", 55)
    mask = np.zeros((6, 8), np.uint8)
    mask[:, 4:] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    assert call("plain", "x.png", "--to", "night", "--out", "half", "--strength", "0.5")[0] == 0
    assert value(folder / "half/x.png") in (127, 128)
    assert call("plain", "x.png", "--to", "night", "--out", "masked", "--mask", "mask.png")[0] == 0
    made = np.array(opened(folder / "masked/x.png"))
    assert (int(made[0, 0, 0]), int(made[0, 7, 0])) == (55, 200)
    code, text = call("plain", "x.png", "--to", "relief", "--out", "no", "--strength", "0.5")
    assert code == 2
    assert "must be images with the same number of channels" in text


def test_results_say_what_made_them(folder: Path, call: Any) -> None:
    draw(folder / "x.png")
    assert call("plain", "x.png", "--to", "night", "--out", "out")[0] == 0
    packet = opened(folder / "out/x.png").info[KEY]
    assert SOURCE_TYPE in packet
    assert 'i2i:model="mine:negative 1"' in packet
    assert call("plain", "x.png", "--to", "night", "--out", "bare", "--no-metadata")[0] == 0
    assert KEY not in opened(folder / "bare/x.png").info


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plain", "x.png", "--to", "nigth", "--out", "o"], "Did you mean 'night'"),
        (["plain", "x.png", "--to", "day", "--out", "o"], "no domain 'day'"),
        (["plain", "x.png", "--out", "o"], "Choose one, for instance --to"),
        (["plain", "x.png", "--to", "night"], "Missing option '--out'"),
        (["plain", "x.png", "--too", "night", "--out", "o"], "No such option"),
        (["plain", "x.png", "--to", "night", "--out", "o", "--strength", "2"], "less than or equal to 1"),
        (["plain", "x.png", "--to", "night", "--out", "o", "--precision", "fp8"], "fp32"),
        (["plain", "x.png", "--to", "night", "--out", "o", "--device", "tpu9"], "cannot be used"),
        (["plain", "x.png", "--to", "night", "--out", "o", "--style", "x.png"], "takes no style image"),
        (["plain", "x.png", "--to", "night", "--out", "o", "--mask", "gone.png"], "gone.png"),
        (["plain", "y*.png", "--to", "night", "--out", "o"], "no file matches this pattern"),
        (["plain", "empty", "--to", "night", "--out", "o"], "no pictures in this folder"),
        (["plain", "x.png", "--to", "night", "--out", "x.png"], "this is a file"),
        (["plain", "x.png", "--to", "night", "--out", "x.png/o"], "cannot be created"),
        (["plain", "x.png", "--to", "night", "--out", "."], "would replace an input"),
        (["empty", "x.png", "--to", "night", "--out", "o"], "there is no model here"),
    ],
)
def test_bad_options_and_inputs(folder: Path, call: Any, arguments: list[str], message: str) -> None:
    draw(folder / "x.png")
    (folder / "empty").mkdir()
    code, text = call(*arguments)
    assert code == 2
    assert message in " ".join(text.replace("│", " ").split())
    assert not (folder / "o").exists()


def test_every_bad_picture_is_named_and_nothing_written(folder: Path, call: Any) -> None:
    draw(folder / "in/good.png")
    (folder / "in/empty.png").touch()
    (folder / "in/text.png").write_text("no picture")
    whole = draw(folder / "in/cut.png", size=(64, 64)).read_bytes()
    (folder / "in/cut.png").write_bytes(whole[: len(whole) // 2])
    Image.new("1", (9000, 9000)).save(folder / "in/huge.png")
    code, text = call("plain", "in", "--to", "night", "--out", "out")
    assert code == 2
    assert all(f"{name}.png" in text for name in ("empty", "text", "cut", "huge"))
    assert "good.png" not in text
    assert not (folder / "out").exists()
    code, text = call("plain", "in", "--to", "night", "--out", "out", "--skip-bad", "--grid")
    assert code == 1  # what exit code 2 says, that nothing was done, is not so
    assert all(f"skipped in/{name}.png" in text for name in ("empty", "text", "cut", "huge"))
    assert "were skipped: 4" in text
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["good.png", "grid.png"]
    (folder / "in/good.png").unlink()
    code, text = call("plain", "in", "--to", "night", "--out", "other", "--skip-bad")
    assert code == 2
    assert "none of the 4 inputs can be read" in text
    assert not (folder / "other").exists()


def test_pictures_that_break_after_the_check_are_named_and_the_others_done(
    folder: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("i2i_translate.file_translation.KEPT_BYTES", 0)
    paths = [draw(folder / f"in/{name}.png", size=(8, 8 + i)) for i, name in enumerate("abc")]
    from i2i_translate import file_translation

    check = file_translation.check_inputs

    def then_break(*given: Any) -> dict[int, str]:
        found = check(*given)
        paths[1].write_bytes(b"")
        return found

    monkeypatch.setattr(file_translation, "check_inputs", then_break)
    code, text = call("plain", "in", "--to", "night", "--out", "out")
    assert code == 2
    assert "the others were translated" in text
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["a.png", "c.png"]
    paths[1] = draw(paths[1], size=(8, 9))
    code, text = call("plain", "in", "--to", "night", "--out", "again", "--skip-bad")
    assert code == 1
    assert "skipped in/b.png: the file is empty" in text
    assert sorted(path.name for path in (folder / "again").iterdir()) == ["a.png", "c.png"]
