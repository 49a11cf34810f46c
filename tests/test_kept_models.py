"""Any checkpoint of a run is a model: RUN@STEP, RUN@best, RUN@last; and which weights a plain RUN means."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

import terminal
from i2i.errors import UserError
from i2i.translation.checkpoints import BEST, checkpoint_at
from i2i.translation.finding import find_model
from i2i.translation.loading import load
from i2i.translation.model_folder import CONFIG, WEIGHTS
from i2i.translation.state_files import load_state
from i2i_push.publishing import prepare
from toy import registry, trained

REGISTRY = registry()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six steps with an average, and checkpoints of the steps 2, 4 and 6."""
    folder = tmp_path_factory.mktemp("kept")
    trained(folder, "checkpoint={every: 2, keep_last: 3}")
    return folder / "out"


def weights(path: Path | str) -> dict[str, torch.Tensor]:
    return load(path, "cpu", registry=REGISTRY).module.state_dict()


def test_a_checkpoint_is_the_model_of_its_step(run: Path, tmp_path: Path) -> None:
    last, kept = weights(run), weights(f"{run}@6")
    assert all(torch.equal(kept[name], last[name]) for name in last)
    early = load(f"{run}@2", "cpu", registry=REGISTRY)
    averaged = load_state(checkpoint_at(run, 2), ("ema",))["ema"]
    for name, tensor in early.module.state_dict().items():
        assert torch.equal(tensor, averaged[f"module.{name}"])
        assert not torch.equal(tensor, last[name])
    assert early.recorded["step"] == 2
    assert early.recorded["ema"] == 0.9
    prepare(f"{run}@2", "ann/x", tmp_path / "push", REGISTRY)  # its hash is right, and its files are its own
    assert json.loads((tmp_path / "push" / CONFIG).read_text())["extra"]["step"] == 2


def test_without_an_average_it_is_the_generator(tmp_path: Path) -> None:
    state = trained(tmp_path, "train.ema=null", "train.steps=2")
    own, found = state.bare_generator.state_dict(), weights(tmp_path / "out@2")
    assert all(torch.equal(found[name], own[name]) for name in own)
    shutil.rmtree(tmp_path / "out")
    trained(tmp_path, "train.ema=null", "train.steps=2", "train.seed=5")
    again = weights(tmp_path / "out@2")  # of the run that is there now
    assert not torch.equal(next(iter(again.values())), next(iter(found.values())))


def test_best_and_last(run: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(run, tmp_path / "out"))
    assert find_model(out) == find_model(tmp_path / "out@last") == out / "model"
    with pytest.raises(UserError, match=r"out@best: this run keeps no best model .*Take .*out@last"):
        find_model(tmp_path / "out@best")
    shutil.copytree(find_model(tmp_path / "out@4"), out / "best")
    assert find_model(out) == out / "model"  # some other folder of that name
    (out / "best" / BEST).write_text("{}")
    assert find_model(out) == find_model(tmp_path / "out@best") == out / "best"
    assert find_model(out / "model") == find_model(tmp_path / "out@last") == out / "model"


def test_what_is_not_kept_names_the_nearest(run: Path) -> None:
    for word, message in (
        ("5", r"out@5: there is no checkpoint of this step. The nearest that are kept: .*out@4, .*out@6"),
        ("900", r"The nearest that are kept: \S*out@6\."),
        ("bset", r"out is a folder here, so a step, best or last follows the @. Did you mean 'best'"),
        ("", r"out is a folder here, so a step, best or last follows the @"),
    ):
        with pytest.raises(UserError, match=message):
            find_model(Path(f"{run}@{word}"))
    with pytest.raises(UserError, match=r"model is a model folder, which holds only one model. Leave out @best"):
        find_model(run / "model@best")
    with pytest.raises(UserError, match=r"step-00000006: this is a checkpoint. As a model it is called \S*@6\."):
        find_model(run / "checkpoints" / "step-00000006")


def test_a_folder_with_an_at_in_its_name_is_that_folder(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    whole = Path(shutil.copytree(run, tmp_path / "mine@2"))
    assert find_model(whole) == whole / "model"
    assert load(f"{whole}@4", "cpu", registry=REGISTRY).recorded["step"] == 4
    with pytest.raises(UserError, match="HF_HUB_OFFLINE"):
        find_model(Path("ann/no-such-folder@2"))


def test_damage_is_found(run: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(run, tmp_path / "out"))
    path = checkpoint_at(out, 4) / "ema.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match=r"step-00000004 cannot be read .*ema.safetensors is not what.*Take another step"):
        find_model(tmp_path / "out@4")
    (checkpoint_at(out, 2) / "manifest.json").write_text('{"files": 3}')
    with pytest.raises(UserError, match="step-00000002 cannot be read"):
        find_model(tmp_path / "out@2")


def test_translate_says_which_weights_it_took(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.install(monkeypatch, REGISTRY)
    picture = tmp_path / "x.png"
    Image.new("RGB", (8, 8), "green").save(picture)
    for model, said in ((run, "weights: last (step 6)"), (f"{run}@4", "weights: step 4"), (run / "model", "")):
        out = tmp_path / Path(model).name
        assert terminal.call(monkeypatch, "translate", model, picture, "--out", out) == 0
        printed = capsys.readouterr()
        assert printed.out.split() == [str(out / "x.png")]
        assert said in printed.err
        assert ("weights:" in printed.err) == bool(said)
    assert WEIGHTS in {path.name for path in find_model(Path(f"{run}@4")).iterdir()}
