"""Full disks: a message that says which file and what to do, nothing half written; and what killed processes have left."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from torch.multiprocessing import get_context

import i2i_export
import i2i_watch
import killing
import toy
from i2i import files
from i2i.errors import DiskFullError, is_full
from i2i.recipe import load_recipe
from i2i.translation.loading import load
from i2i_data.pack import pack
from i2i_export.export import export
from i2i_translate.file_translation import translate_files
from i2i_translate.requests import Finish, Request

REGISTRY = toy.registry(watch=i2i_watch, export=i2i_export)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 64 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("mounting a small disk needs root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def resize(disk: Path, kilobytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", str(disk)], check=True)


def test_a_file_a_folder_and_a_line_appear_whole_or_not_at_all(disk: Path) -> None:
    files.write_text(disk / "old.txt", "kept")
    files.append(disk / "lines.txt", "one")
    with pytest.raises(DiskFullError, match=r"old\.txt: the disk is full\. Free some space, then run the same command again\."):
        files.write_text(disk / "old.txt", "x" * 100_000)
    with pytest.raises(DiskFullError, match="folder"), files.new_folder(disk / "deep" / "folder") as partial:
        (partial / "a").write_text("x" * 100_000)
    with pytest.raises(DiskFullError, match=r"lines\.txt"):
        files.append(disk / "lines.txt", "x" * 100_000)
    found = {path.relative_to(disk).as_posix(): path.is_file() and path.read_text() for path in disk.rglob("*")}
    assert found == {"old.txt": "kept", "lines.txt": "one\n", "deep": False}


def test_a_full_disk_is_told_by_number_or_in_words() -> None:
    assert all(is_full(OSError(code, "x")) for code in (28, 122, 27))
    assert is_full(RuntimeError("I/O error: No space left on device (os error 28)"))
    assert not is_full(PermissionError(13, "x"))


def test_a_run_on_disks_of_several_sizes_is_resumed_with_the_same_bytes(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("i2i.training.running.check_place", lambda out: None)  # 100 MiB must be free at first
    toy.trained(tmp_path, "train.steps=6", out="whole", plugins=REGISTRY)
    expected = killing.traces(tmp_path / "whole")
    for number, kilobytes in enumerate((8, 48, 104)):
        resize(disk, kilobytes)
        out = f"disk/{number}"
        with pytest.raises(DiskFullError, match=r"the disk is full\. Free some space, then (continue with --res|run the sa)"):
            toy.trained(tmp_path, "log.trackers=[tensorboard]", out=out, plugins=REGISTRY)
        assert not list((tmp_path / out).rglob("*.partial"))
        for line in (tmp_path / out / "metrics.jsonl").read_text().splitlines() if number else []:
            json.loads(line)
        resize(disk, 4000)
        toy.trained(tmp_path, out=out, plugins=REGISTRY, resume=(tmp_path / out / "recipe.yaml").exists())
        assert killing.traces(tmp_path / out) == expected
        subprocess.run(["rm", "-r", str(tmp_path / out)], check=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    toy.trained(folder, "train.steps=1", out="run")
    return folder / "run"


def test_translate_says_how_to_go_on_and_keeps_what_is_whole(disk: Path, model: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(random.integers(0, 255, (96, 96, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    request = Request(sorted(tmp_path.glob("*.png")))
    with pytest.raises(DiskFullError, match=r"\.png: the disk is full\. Free some space, then repeat it with --overwrite"):
        translate_files(load(model, "cpu", registry=REGISTRY), request, Finish(disk / "out"))
    found = sorted((disk / "out").iterdir())
    assert 1 <= len(found) < 3
    for path in found:
        Image.open(path).load()


def test_a_pack_of_two_sides_that_does_not_fit_leaves_no_shard(disk: Path, tmp_path: Path) -> None:
    killing.packed(tmp_path)
    recipe = tmp_path / "sides.yaml"
    recipe.write_text(recipe.read_text().replace("paired: true", "paired: false").replace("pix2pix", "cyclegan"))
    found = killing.registry()
    with pytest.raises(DiskFullError, match=r"the disk is full\. Free some space, then run the same command again"):
        pack(load_recipe(recipe, [], found), found, disk / "pack", 4, Console(quiet=True))
    assert [path for path in disk.rglob("*") if path.is_file()] == []


def _exported(model: Path, out: Path) -> None:
    try:
        export(load(model, "cpu", registry=REGISTRY), "torch-export", out)
    except DiskFullError:
        os._exit(2)
    os._exit(1)


def test_an_export_does_not_end_the_process(disk: Path, model: Path) -> None:
    process = get_context("fork").Process(target=_exported, args=(model, disk / "m.pt2"))
    resize(disk, 8)
    process.start()
    process.join()
    assert process.exitcode == 2
    assert not list(disk.iterdir())


def _killed(path: Path) -> None:
    with files.new_file(path), files.new_folder(path.with_name("folder")):
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_process_left_is_removed_and_nothing_that_is_being_written(tmp_path: Path) -> None:
    process = get_context("fork").Process(target=_killed, args=(tmp_path / "a.png",))
    process.start()
    process.join()
    left = list(tmp_path.iterdir())
    assert len(left) == 2
    mine = tmp_path / ".somebody.partial"
    mine.mkdir()
    files._clear.cache_clear()
    with files.new_file(tmp_path / "b.txt") as partial:
        assert not any(path.exists() for path in left)
        files._clear.cache_clear()
        files.write_text(tmp_path / "c.txt", "")
        files.remove_partials(tmp_path)
        assert partial.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.txt", "c.txt"]


def test_a_run_killed_before_its_recipe_was_written_is_started_again(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".0123456789ab.partial").write_text("dataset:")
    assert toy.trained(tmp_path, "train.steps=1").step == 1
    assert not list((tmp_path / "out").glob(".*.partial"))
