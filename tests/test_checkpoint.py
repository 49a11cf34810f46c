"""Checkpoints: complete, damaged, of others, on a full disk; and runs that are killed."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import killing
from i2i.errors import UserError
from i2i.registry import hookimpl
from i2i.training.players import Player
from i2i.training.soundness import Soundness
from i2i.training.state import Run
from i2i.translation.checkpoints import checkpoints, read_manifest, step_of
from i2i.translation.state_files import load_state, save_state
from toy import trained

# What a state may hold, besides tensors.
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
)


@given(plain=PLAIN)
def test_plain_values_come_back_as_they_were(plain: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("state")
    save_state(folder, {"part": plain})
    assert load_state(folder) == {"part": plain}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
def test_tensors_come_back_as_they_were(dtype: torch.dtype, tmp_path: Path) -> None:
    shared = torch.arange(6).reshape(2, 3).to(dtype)
    state = {"a": {"x": shared, 3: [shared.t(), ()]}, "b": shared[0, 0], "empty": torch.zeros(0, dtype=dtype)}
    save_state(tmp_path, state)
    found = load_state(tmp_path)
    assert torch.equal(found["a"]["x"], shared)
    assert torch.equal(found["a"][3][0], shared.t())
    assert found["b"].shape == ()
    assert found["b"].dtype == found["empty"].dtype == dtype


def test_what_is_no_plain_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"'a.0' is a set"):
        save_state(tmp_path, {"part": {"a": [{1, 2}]}})


def test_no_file_of_a_checkpoint_is_pickled(tmp_path: Path) -> None:
    trained(tmp_path)
    kinds = {path.suffix for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert not kinds & {".pt", ".pth", ".bin", ".pkl"}


def test_the_last_ones_are_kept_and_multiples_of_keep_every(tmp_path: Path) -> None:
    trained(tmp_path, "train.steps=11", "checkpoint={every: 1, keep_last: 2, keep_every: 4}")
    assert [step_of(path) for path in checkpoints(tmp_path / "out")] == [4, 8, 10, 11]


class Explode:
    """From a step on the generator's weights are a million times as large: everything stays finite."""

    def __init__(self, step: int) -> None:
        self.step = step

    @hookimpl(tryfirst=True)
    def step_ended(self, run: Run) -> None:
        if run.step == self.step:
            with torch.no_grad():
                for parameter in run.bare_generator.parameters():
                    parameter.mul_(1e6)


def test_the_last_sound_checkpoints_outlive_an_explosion(tmp_path: Path) -> None:
    every = "checkpoint={every: 1, keep_last: 2}"
    exploded = trained(tmp_path, "train.steps=12", every, watcher=Explode(5))
    assert exploded.step == 12
    assert [step_of(path) for path in checkpoints(tmp_path / "out")] == [3, 4, 12]
    log = (tmp_path / "out" / "log.txt").read_text()
    assert "no loss is above 100 times, and no norm of a player's weights above 10 times, its largest value so far" in log
    assert "warning: step 5: the run looks lost: the norm of the generator's weights is" in log
    assert f"The last healthy checkpoint, which is kept, is {tmp_path / 'out' / 'checkpoints' / 'step-00000004'}." in log
    again = trained(tmp_path, "train.steps=13", every, resume=True)
    assert again.step == 13
    assert "warning: the run looked lost at step 12." in (tmp_path / "out" / "log.txt").read_text()
    shutil.rmtree(tmp_path / "out" / "checkpoints" / "step-00000013")
    trained(tmp_path, "train.steps=12", every, resume=True)
    assert [step_of(path) for path in checkpoints(tmp_path / "out")] == [11, 12]


def test_what_a_sound_run_has_had_is_known_after_a_resume(tmp_path: Path) -> None:
    trained(tmp_path, "train.steps=4")
    before = read_manifest(checkpoints(tmp_path / "out")[-1])["largest"]
    assert set(before) == {
        "l1",
        "gan",
        "real",
        "fake",
        *(f"the norm of the {p}'s weights" for p in ("generator", "discriminator")),
    }
    trained(tmp_path, "train.steps=8", resume=True, watcher=Explode(7))
    after = {step_of(path): read_manifest(path) for path in checkpoints(tmp_path / "out")}
    assert {step: manifest["sound"] for step, manifest in after.items()} == {4: True, 6: True, 8: False}
    assert all(after[6]["largest"][name] >= before[name] for name in before)
    assert after[8]["largest"] == after[6]["largest"]


def test_the_checkpoint_of_the_best_model_is_kept(tmp_path: Path) -> None:
    class Best:
        @hookimpl
        def step_ended(self, run: Run) -> None:
            if run.step == 2:
                (tmp_path / "out" / "best").mkdir()
                (tmp_path / "out" / "best" / "best.json").write_text('{"step": 2}')

    trained(tmp_path, "train.steps=9", "checkpoint={every: 1, keep_last: 2}", watcher=Best())
    assert [step_of(path) for path in checkpoints(tmp_path / "out")] == [2, 8, 9]


def test_copies_that_a_person_made_are_left_alone(tmp_path: Path) -> None:
    trained(tmp_path, "train.steps=4")
    folder = tmp_path / "out" / "checkpoints"
    copies = [
        folder / name for name in ("step-00000004.bak", "step-best", "step-00000002-good", "step-4", "step-99999999 copy")
    ]
    for copy in copies:
        shutil.copytree(folder / "step-00000004", copy)
    before = {path: path.read_bytes() for copy in copies for path in copy.rglob("*") if path.is_file()}
    assert [step_of(path) for path in checkpoints(tmp_path / "out")] == [2, 4]
    assert trained(tmp_path, "train.steps=10", resume=True).step == 10
    assert [step_of(path) for path in checkpoints(tmp_path / "out")] == [8, 10]
    assert {path: path.read_bytes() for path in before} == before


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _manifest(**changes: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("generator.safetensors", _cut, "generator.safetensors is missing or damaged"),
        ("generator.safetensors", _flip, "generator.safetensors is missing or damaged"),
        ("process-0/random.safetensors", Path.unlink, "process-0/random.safetensors is missing or damaged"),
        ("state.json", _flip, "state.json is missing or damaged"),
        ("manifest.json", _cut, "cannot be read"),
        ("manifest.json", Path.unlink, "cannot be read"),
        ("manifest.json", _manifest(format=99), r"format 99, step 6; this version of i2i reads format 2"),
        ("manifest.json", _manifest(step=3), "step 3"),
        ("manifest.json", _manifest(step=float("inf")), r"cannot be read \(OverflowError"),
        ("manifest.json", _manifest(processes=0), r"cannot be restored \(ZeroDivisionError"),
        ("manifest.json", _manifest(shapes=[]), r"cannot be restored \(TypeError"),
        ("notes.txt", lambda path: path.write_text("mine"), "notes.txt is not part of this checkpoint"),
    ],
)
def test_a_damaged_checkpoint_is_named(tmp_path: Path, file: str, damage: Callable[[Path], None], message: str) -> None:
    trained(tmp_path)
    newest = checkpoints(tmp_path / "out")[-1]
    damage(newest / file)
    with pytest.raises(UserError, match=message):
        trained(tmp_path, "train.steps=8", resume=True)
    shutil.rmtree(newest)
    assert trained(tmp_path, "train.steps=8", resume=True).step == 8


def test_a_checkpoint_of_other_networks_is_refused(tmp_path: Path) -> None:
    trained(tmp_path)
    for path in (tmp_path / "out").rglob("recipe.yaml"):
        path.write_text(path.read_text().replace("width: 4", "width: 5"))
    with pytest.raises(UserError, match=r"different networks .* generator networks.a_b.layers.0.weight is \[4, 3, 3, 3\]"):
        trained(tmp_path, "train.steps=8", "generator.width=5", "discriminator.width=5", resume=True)


def test_a_full_disk_ends_the_run_and_keeps_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(tmp_path, "train.steps=4")
    before = {path: read_manifest(path)["files"] for path in checkpoints(tmp_path / "out")}
    real = save_state
    writes = 0

    def full(folder: Path, state: dict[str, Any]) -> None:
        nonlocal writes
        writes += 1
        if writes == 2:
            raise OSError(28, "No space left on device")
        real(folder, state)

    with monkeypatch.context() as patch:
        patch.setattr("i2i.training.checkpoint.save_state", full)
        with pytest.raises(UserError, match=r"step-00000006: the disk is full. Free some space, .*--resume"):
            trained(tmp_path, resume=True)
    assert {path: read_manifest(path)["files"] for path in checkpoints(tmp_path / "out")} == before
    assert not list((tmp_path / "out").rglob("*.partial"))
    assert trained(tmp_path, resume=True).step == 6


def test_a_replacement_cut_short_is_completed(tmp_path: Path) -> None:
    trained(tmp_path)
    newest = checkpoints(tmp_path / "out")[-1]
    newest.rename(newest.with_name(f".{newest.name}.previous"))
    assert checkpoints(tmp_path / "out")[-1] == newest
    assert trained(tmp_path, "train.steps=8", resume=True).step == 8


def test_a_run_at_its_end_that_is_resumed_stays_as_it_is(tmp_path: Path) -> None:
    """SPADE's average estimates its spectral norms at every look, so that a last grid drawn again would be another one."""
    recipe = tmp_path / "spade.yaml"
    recipe.write_text(killing.RECIPES["spade"] + killing.COMMON.replace("WORKERS", "0"))
    killing.train(recipe, tmp_path / "out")
    before = killing.traces(tmp_path / "out")
    killing.train(recipe, tmp_path / "out")
    assert killing.traces(tmp_path / "out") == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "workers", "processes", "kills"),
    [
        ("pix2pix", 0, 1, 2),
        ("cyclegan", 1, 1, 1),
        ("unit", 0, 1, 1),
        ("spade", 1, 1, 1),
        ("judges", 0, 2, 1),
        ("penalty and ADA", 0, 1, 1),
        ("labels and best", 1, 1, 2),
        ("stream of a pack", 0, 1, 1),
    ],
)
def test_killed_and_resumed_runs_end_as_if_nothing_had_happened(
    name: str, workers: int, processes: int, kills: int, tmp_path: Path
) -> None:
    """Ten kills; test_stopping.py kills two launchers."""
    killing.compare(name, kills, tmp_path, len(name) + int(os.environ.get("I2I_SEED", "0")), workers, processes)


def test_a_run_lost_before_its_first_checkpoint_is_judged_by_its_first_losses_after_a_resume() -> None:
    network = nn.Linear(1, 1)
    run: Any = SimpleNamespace(players={"generator": Player(network, {})}, terms={"l1": torch.tensor(1.0)})
    soundness = Soundness(run, {})
    soundness.stepped(run)
    run.terms = {"l1": torch.tensor(1e6)}
    assert soundness.wrong(run)
    resumed = Soundness(run, soundness.largest)
    resumed.stepped(run)
    assert resumed.wrong(run)
