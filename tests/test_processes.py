"""Several processes, as a person starts them."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

import i2i
from forked import ran, started, wait_for
from i2i.errors import UserError
from i2i.recipe.sections import Train
from i2i.registry import default_registry
from i2i.training import launch
from i2i.training.processes import make_accelerator
from i2i.translation.checkpoints import checkpoints, read_manifest
from i2i_evaluate.evaluation import evaluate_model

COMMON = """
train:
  steps: 3
  seed: 4
  ema: 0.9
  generator: {optimizer: sgd, lr: 1e-3, groups: {GROUP: {lr: 2e-3, frozen_until: 1}}}
  discriminator: {optimizer: sgd, lr: 1e-3}
samples: {every: 3, count: 1}
checkpoint: {every: 3}
log: {every: 1, trackers: []}
"""
CYCLEGAN = """
dataset: {name: earth, a: day, b: night, paired: false, crop: 32}
generator: {name: resnet, width: 4, blocks: 1, norm: none}  # on plain crops, instance norm makes rounding as large as a picture
discriminator: {name: patchgan, width: 4, layers: 2, norm: instance}
loss: {name: cyclegan, pool: 0}
""" + COMMON.replace("GROUP", "blocks")
PIX2PIX = """
dataset: {name: earth, a: labels, b: day, crop: 32}
generator: {name: unet, width: 4, downs: 3, norm: instance, dropout: false}
discriminator: {name: patchgan, width: 4, layers: 2, norm: instance}
LOSS
""" + COMMON.replace("GROUP", "networks.a_b")
ALONE = PIX2PIX.replace("LOSS", "loss: {name: pix2pix}")
WITH_OTHERS = PIX2PIX.replace("LOSS", "loss: [{name: pix2pix}, {name: penalty, at: [real, fake], every: 2}, {name: frequency}]")


def command(folder: Path, text: str, out: str, *more: str) -> list[str]:
    (folder / "r.yaml").write_text(text)
    return ["run", str(folder / "r.yaml"), "--out", str(folder / out), *more]


def really_ran(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """As a person starts it; other tests take forks."""
    line, settings = [sys.executable, "-m", "i2i", *arguments], {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(line, capture_output=True, text=True, timeout=240, check=False, env=settings)


def train_here(folder: Path, text: str, out: str, **values: Any) -> None:
    """As ``command`` does, with values of ``train``, in this process."""
    (folder / "r.yaml").write_text(text)
    resume = values.pop("resume", False)
    i2i.run(folder / "r.yaml", set={f"train.{key}": value for key, value in values.items()}, out=folder / out, resume=resume)


def metrics(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def metrics_there(out: Path) -> bool:
    return (out / "metrics.jsonl").exists() and bool(metrics(out))


@pytest.mark.slow
def test_two_processes_do_what_one_does_with_twice_the_batch(tmp_path: Path) -> None:
    """Three small steps of SGD, so that rounding is not amplified; norms that see one image at a time."""
    text = ALONE.replace("{name: pix2pix}", "{name: pix2pix, objective: relativistic}")
    two_do_what_one_does(tmp_path, text, really_ran)


def two_do_what_one_does(tmp_path: Path, text: str, how: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    two = how(command(tmp_path, text, "two", "--processes", "2", "--set", "train.batch_size=1"))
    assert two.returncode == 0, two.stderr
    train_here(tmp_path, text, "one", batch_size=2)
    paths = [checkpoints(tmp_path / name)[-1] for name in ("two", "one")]
    for file in ("generator", "discriminator", "ema"):
        shared, alone = (load_file(path / f"{file}.safetensors") for path in paths)
        for name in alone:
            torch.testing.assert_close(shared[name], alone[name], rtol=1e-5, atol=1e-6, msg=f"{file} {name}")
    for ours, theirs in zip(metrics(tmp_path / "two"), metrics(tmp_path / "one"), strict=True):
        assert ours == pytest.approx({**theirs, **{key: ours[key] for key in ("images_per_second", "waiting")}}, rel=1e-4)
    assert read_manifest(paths[0])["processes"] == 2
    assert {path.name for path in paths[0].glob("process-*")} == {"process-0", "process-1"}
    assert two.stderr.count("step 3/3") == 1
    assert len(list((tmp_path / "two" / "samples").iterdir())) == 2


@pytest.mark.slow
def test_all_processes_evaluate_the_model_that_is_saved(tmp_path: Path) -> None:
    """Each has running statistics of its own while it trains; those of the first one are saved."""
    batch = ["--set", "generator={name: unet, width: 4, downs: 3, inference: eval}", "--set", "train.batch_size=2"]
    evaluate = "evaluate={every: 2, metrics: [psnr], dataset: {max_ocean: 0.5}, images: 8, batch_size: 2}"
    rates = ["--set", "train.generator.lr=1e-2", "--set", "train.ema=null", "--set", "train.steps=4"]
    done = ran(command(tmp_path, WITH_OTHERS, "out", "--processes", "2", *batch, "--set", evaluate, *rates))
    assert done.returncode == 0, done.stderr
    (last,) = [line["eval/psnr"] for line in metrics(tmp_path / "out") if line["step"] == 4 and "eval/psnr" in line]
    saved = evaluate_model(tmp_path / "out", default_registry(), overrides=["dataset.max_ocean=0.5"], split="val", images=8)
    assert last == pytest.approx(saved.figures[0].value, rel=1e-5)


@pytest.mark.slow
def test_two_processes_do_what_one_does_and_a_run_goes_on_with_another_number(tmp_path: Path) -> None:
    """With CycleGAN; then one goes on with the run of two, and three with that of one."""
    two_do_what_one_does(tmp_path, CYCLEGAN, ran)
    train_here(tmp_path, CYCLEGAN, "two", resume=True, steps=4, batch_size=1)
    again = ran(command(tmp_path, CYCLEGAN, "two", "--resume", "--set", "train.steps=5", "--processes", "3"))
    assert again.returncode == 0, again.stderr
    assert metrics(tmp_path / "two")[-1]["step"] == 5


@pytest.mark.slow
def test_a_killed_process_ends_the_run_and_resume_goes_on(tmp_path: Path) -> None:
    long = ("--set", "train.steps=100000", "--set", "checkpoint.every=5", "--set", "samples.every=100000")
    line = command(tmp_path, CYCLEGAN, "out", "--processes", "2", *long)
    run = started(line)
    wait_for(lambda: list((tmp_path / "out").glob("checkpoints/step-*")))
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children")
    if not children.exists():
        run.terminate()
        pytest.skip("the children of a process cannot be listed on this system")
    os.kill(int(children.read_text().split()[-1]), signal.SIGKILL)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 1
    assert "process 1 of 2 was killed (SIGKILL)" in said
    assert "--resume" in said
    saved = max(read_manifest(path)["step"] for path in checkpoints(tmp_path / "out"))
    train_here(tmp_path, CYCLEGAN, "out", resume=True, steps=saved + 10)
    assert [line["step"] for line in metrics(tmp_path / "out")] == list(range(1, saved + 11))


@pytest.mark.parametrize(("first", "second", "cause"), [("exit 1", "kill -KILL $$", 1), ("kill -KILL $$", "exit 1", 0)])
def test_who_was_killed_is_named_even_if_another_ended_first(
    first: str, second: str, cause: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that misses a killed process may be quicker to end than that one's memory is to be freed."""
    monkeypatch.setattr(launch, "_GRACE", 0.5)
    processes = [subprocess.Popen(["sh", "-c", line]) for line in (first, f"sleep 0.2; {second}")]
    assert launch._wait(processes, [], 1.0) == (cause, -signal.SIGKILL)


def test_an_error_that_all_processes_find_is_that_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_GRACE", 0.5)
    processes = [subprocess.Popen(["sh", "-c", line]) for line in ("sleep 0.2; exit 2", "exit 3")]
    assert launch._wait(processes, [], 1.0) == (0, 2)


@pytest.mark.slow
def test_processes_listen_on_loopback_only_and_save_when_their_launcher_is_asked_to_stop(tmp_path: Path) -> None:
    long = ("--set", "train.steps=100000", "--set", "samples.every=100000", "--set", "log.every=2")
    line = command(tmp_path, CYCLEGAN, "out", "--processes", "2", *long)
    run = started(line)
    wait_for(lambda: metrics_there(tmp_path / "out"))
    launcher = psutil.Process(run.pid)
    processes = [launcher, *launcher.children(recursive=True)]
    addresses = {c.laddr.ip for process in processes for c in process.net_connections("inet") if c.laddr}
    run.terminate()
    said, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    assert len(processes) == 3
    assert addresses == {"127.0.0.1"}
    assert "stopped after step" in said
    assert f"continue with: i2i {' '.join(line)} --resume" in said
    assert checkpoints(tmp_path / "out")[-1].name == f"step-{int(said.split('after step ')[1].split()[0]):08d}"


@pytest.mark.slow
def test_nodes_without_a_common_folder_are_told_before_training(tmp_path: Path) -> None:
    """Two processes in two places: their run folders have one name, and are two."""
    (tmp_path / "r.yaml").write_text(CYCLEGAN)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    nodes = []
    for rank in ("0", "1"):
        (tmp_path / rank).mkdir()
        place = {"RANK": rank, "LOCAL_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
        settings = {**os.environ, **place, "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"}
        nodes.append(started(["run", str(tmp_path / "r.yaml"), "--out", "out"], tmp_path / rank, settings))
    for node in nodes:
        _, err = node.communicate(timeout=120)
        assert node.returncode == 2, err
        assert "does not see the run folder of the first process" in err
        assert "Traceback" not in err
    assert not (tmp_path / "0" / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("replaced", "note"),
    [
        (("loss: {name: pix2pix}", "loss: [{name: pix2pix}, {name: cyclegan, gan: 0, identity: 0}]"), ""),
        (
            (
                "{name: unet, width: 4, downs: 3, norm: instance, dropout: false}",
                "{name: spade, width: 2, hidden: 2, vae: true}",
            ),
            "sync_batch",
        ),
    ],
    ids=["one judge for two directions", "sync_batch, and an encoder that is left out"],
)
def test_two_processes_train_what_one_does(replaced: tuple[str, str], note: str, tmp_path: Path) -> None:
    """No judge is built for the direction that is not judged; a norm that GPUs share falls back, and one line says so."""
    text = ALONE.replace(*replaced).replace("steps: 3", "steps: 2").replace("crop: 32", "crop: 64")
    done = ran(command(tmp_path, text, "out", "--processes", "2"))
    assert done.returncode == 0, done.stderr
    assert metrics(tmp_path / "out")[-1]["step"] == 2
    assert (tmp_path / "out/log.txt").read_text().count("sync_batch") == bool(note)
    left = json.loads((tmp_path / "out/model/config.json").read_text())["extra"]["left_out"]
    assert left == (["networks.a_b.encoder"] if note else [])
    judges = load_file(checkpoints(tmp_path / "out")[-1] / "discriminator.safetensors")
    assert {name.split(".")[1] for name in judges} == {"b"}


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["1", "2"])
def test_what_never_learns_is_refused_alike_by_one_process_and_by_two(processes: str, tmp_path: Path) -> None:
    """A style is given in one of two directions; the other one's encoder would not learn."""
    losses = "loss: [{name: spade, vae: true, features: 0}, {name: cyclegan, gan: 0, identity: 0}]"
    text = ALONE.replace("loss: {name: pix2pix}", losses).replace("crop: 32", "crop: 64")
    text = text.replace(
        "{name: unet, width: 4, downs: 3, norm: instance, dropout: false}", "{name: spade, width: 2, hidden: 2, vae: true}"
    )
    done = ran(command(tmp_path, text, "out", "--processes", processes))
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("generator 'spade': 'networks.b_a.encoder' gets no gradient from loss 'spade + cyclegan'") == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_mistake_is_said_once(tmp_path: Path) -> None:
    done = ran(command(tmp_path, CYCLEGAN, "out", "--processes", "2", "--set", "dataset.crop=30"))
    assert done.returncode == 2
    assert done.stderr.count("needs multiples of 4") == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_what_was_launched_must_be_found(tmp_path: Path) -> None:
    """Two processes are announced, and this one has no number among them."""
    done = ran(command(tmp_path, CYCLEGAN, "out"), environment={**os.environ, "WORLD_SIZE": "2"})
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_half_precision_that_the_device_cannot_do_is_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU can do it")
    with pytest.raises(UserError, match=r"train\.precision: fp16 needs an accelerator"):
        make_accelerator(Train(precision="fp16"))
