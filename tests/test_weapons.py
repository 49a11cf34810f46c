"""Recipes and pictures as weapons: too much of anything is refused with a sentence, and at once."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from safetensors.torch import save_file

from i2i.errors import UserError, bounded
from i2i.pictures.reading import read
from i2i.protocols import Domain
from i2i.recipe.nodes import read as read_recipe
from i2i.recipe.nodes import setting
from i2i.recipe.text import LARGEST
from i2i.training.run_folder import check_place
from i2i.translation.model_check import read_header
from i2i_convert.checkpoints import read_checkpoint

TOO_MUCH = {
    "keys": ("".join(f"k{i}: 1\n" for i in range(100_000)), "recipe.yaml:10000:8: more than 20000 values are not read"),
    "a list": (f"a: [{'1,' * 400_000}1]", "more than 20000 values are not read"),
    "depth": (f"a: {'[' * 5000}{']' * 5000}", "recipe.yaml:1:53: values more than 50 levels deep are not read"),
    "indented depth": ("\n".join(f"{' ' * i}a:" for i in range(900)), "values more than 50 levels deep are not read"),
    "comments": ("# x\n" * 300_000, "is larger than 1 MB, so it is not read"),
    "one scalar": (f"a: {'x' * LARGEST}", "is larger than 1 MB, so it is not read"),
    "digits": (f"a: {'9' * 5000}", "recipe.yaml:1:4: '9999"),
    "aliases": ("a: &a [1, 1]\n" + "".join(f"b{i}: [*a, *a]\n" for i in range(9000)), "more than 20000 values"),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_too_much_of_anything_is_refused_at_once(name: str, tmp_path: Path) -> None:
    text, message = TOO_MUCH[name]
    (tmp_path / "recipe.yaml").write_text(text)
    began = time.process_time()
    with pytest.raises(UserError) as caught:
        read_recipe(tmp_path / "recipe.yaml")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(tmp_path))
    assert time.process_time() - began < 10  # it took minutes; about half a second now


def test_what_is_just_small_enough_is_read(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(f"a: {'[' * 48}1{']' * 48}\nb: {'x' * 900_000}\n")
    assert len(read_recipe(tmp_path / "recipe.yaml").plain()["b"]) == 900_000


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/dev/zero")
    for place in (tmp_path / "fifo", tmp_path / "link", Path("/dev/zero")):
        with pytest.raises(UserError, match=rf"^{place} is not a regular file\. Save the recipe as a file\.$"):
            read_recipe(place)


def test_values_of_set_have_the_same_limits() -> None:
    with pytest.raises(UserError, match="--set a="):
        setting(f"a={'[' * 60}{']' * 60}")


def test_messages_are_bounded() -> None:
    listed = "two pictures:\n" + "\n".join(f"{i}.png: broken" for i in range(2000))
    assert bounded(listed).split("\n")[19:] == ["18.png: broken", "… and 1,981 more lines."]
    assert bounded(f"there is no key '{'k' * 10**6}'. Did you mean '{'x' * 150}'?") == (
        f"there is no key '{'k' * 200}…'. Did you mean '{'x' * 150}'?"
    )
    assert bounded("x" * 5000) == "x" * 1000 + " …"
    plain = "recipe.yaml:1:2: it's wrong.\nIt's wrong again."
    assert bounded(plain) == plain


def test_a_whole_number_has_an_end() -> None:
    assert setting("train.steps=1000000000")[1].value == 10**9
    with pytest.raises(UserError, match=r"'10000000.* is too large for a whole number: 18 digits are the most"):
        setting(f"train.steps=1{'0' * 30}")


def test_pages_and_arrays_are_counted_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A TIFF of 74 KB with 100 pages took 7 GB, and a sparse array as much."""
    pages = [np.zeros((300, 300), np.uint8)] * 100
    tifffile.imwrite(tmp_path / "pages.tif", np.stack(pages), compression="zlib", photometric="minisblack")
    np.lib.format.open_memmap(tmp_path / "sparse.npy", "w+", np.float64, (100, 4000, 4000))
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", lambda *_, **__: pytest.fail("it was read"))
    image, land = Domain("day", "image", 3), Domain("land", "labels", 4)
    for domain, name, message in (
        (image, "pages.tif", "it has 100 channels, not the 3 of 'day'"),
        (image, "sparse.npy", "it has 100 channels, not the 3 of 'day'"),
        (land, "sparse.npy", "label ids must be whole numbers"),
    ):
        with pytest.raises(UserError, match=message):
            read(tmp_path / name, domain)
    np.lib.format.open_memmap(tmp_path / "sparse.npy", "w+", np.int64, (100, 4000, 4000))
    with pytest.raises(UserError, match="it holds 100 planes; 'land' has 1"):
        read(tmp_path / "sparse.npy", land)


def test_weights_are_neither_written_nor_read_where_a_name_is_not_utf_8(tmp_path: Path) -> None:
    """safetensors writes there, and cannot read it again."""
    place = tmp_path / "folder\udce9"
    weights = place / "model.safetensors"
    place.mkdir()
    save_file({"x": torch.zeros(1)}, weights)
    for reads in (
        check_place,
        lambda path: read_header(path / weights.name, 9),
        lambda path: read_checkpoint(path / weights.name),
    ):
        with pytest.raises(UserError, match=r"this name is not UTF-8, so weights cannot be read from there\. Rename it"):
            reads(place)
