"""Models by their names on the hub: from a cache made by hand, and what is said where there is no network."""

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants, errors

import toy
from i2i import hub
from i2i.errors import UserError
from i2i.protocols import Domain
from i2i.translation.finding import find_model
from i2i.translation.loading import load
from i2i.translation.model_folder import CONFIG, WEIGHTS, Origin, save_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"
DOMAINS = {"a": Domain("day", "image", 3), "b": Domain("night", "image", 3)}


def save_toy(folder: Path) -> Path:
    module = toy.registry().get("generator", "toy").factory(domains=DOMAINS, directions=(("a", "b"),))
    save_model(folder, module, {"": Origin("toy", "toys", "1", {})}, domains=DOMAINS, directions=(("a", "b"),))
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and the hub's cache beside it with the model ``ann/night``, also called ``v1``."""
    folder = tmp_path / "cache" / "models--ann--night"
    save_toy(folder / "snapshots" / COMMIT)
    for ref in ("main", "v1"):
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / ref).write_text(COMMIT)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A hub that answers; what is asked of it is listed."""
    asked: list[Any] = []
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.example")
    monkeypatch.setattr(hub, "getproxies", dict)
    monkeypatch.setattr("i2i.hub.socket.create_connection", lambda place, timeout: asked.append(place) or open_(place))
    return asked


def open_(_place: Any) -> Any:
    class Connection:
        def close(self) -> None: ...

    return Connection()


@pytest.mark.parametrize("name", ["ann/night", "ann/night@v1", f"ann/night@{COMMIT}"])
def test_a_cached_model_needs_no_network(cache: Path, name: str) -> None:
    model = load(name, "cpu", registry=toy.registry())
    assert model.translate(torch.zeros(3, 8, 8), to="night").shape == (3, 8, 8)


def test_a_hub_that_answers_is_asked_for_our_files_of_one_commit(
    cache: Path, online: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, dict[str, Any]]] = []

    def download(repo: str, **options: Any) -> str:
        calls.append((repo, options))
        return str(cache / "snapshots" / COMMIT)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    load("bob/day@v2", "cpu", registry=toy.registry())
    assert online == [("hub.example", 443)]
    assert calls == [
        ("bob/day", {"revision": "v2", "allow_patterns": [CONFIG, "README.md"], "local_files_only": False}),
        ("bob/day", {"revision": COMMIT, "allow_patterns": [WEIGHTS], "local_files_only": False}),
    ]
    find_model(Path("bob/day"), ("discriminator.safetensors",))  # what a warm start asks for
    assert calls[-1][1]["allow_patterns"] == [WEIGHTS, "discriminator.safetensors"]


def test_a_local_folder_comes_first(cache: Path) -> None:
    save_toy(Path("ann/night"))
    assert load("ann/night", "cpu", registry=toy.registry()).targets == ["night"]
    with pytest.raises(UserError, match=r"ann/nigth: there is no such run folder. Did you mean 'night'"):
        load("ann/nigth")
    with pytest.raises(UserError, match="ann/night@v1: ann/night is a model folder, which holds only one model"):
        load("ann/night@v1")
    shutil.rmtree("ann/night")
    (cache / "snapshots" / COMMIT / CONFIG).unlink()
    with pytest.raises(UserError, match="so it is not an i2i model"):
        load("ann/night@v1")


@pytest.mark.parametrize("name", ["night", "./ann/night", "/ann/night", "a/b/c", "ann/.night", "ann/night@", "ann/", ""])
def test_what_is_no_name(name: str) -> None:
    assert hub.split_name(name) is None


def test_offline_it_says_what_to_do(cache: Path) -> None:
    with pytest.raises(UserError, match=r"bob/day: there is no such folder here.* HF_HUB_OFFLINE forbids.*Check the path"):
        load("bob/day")


@pytest.mark.usefixtures("online")
@pytest.mark.parametrize("failure", ["refused", "hangs"])
def test_a_missing_network_is_noticed_within_seconds(cache: Path, monkeypatch: pytest.MonkeyPatch, failure: str) -> None:
    def fail(*_: Any, **__: Any) -> None:
        if failure == "refused":
            raise ConnectionRefusedError("refused")
        time.sleep(0.6)
        raise TimeoutError

    monkeypatch.setattr("i2i.hub.socket.create_connection", fail)
    monkeypatch.setattr(hub, "SECONDS", 0.2)
    start = time.perf_counter()
    with pytest.raises(UserError, match=r"bob/day: there is no such folder.*cannot be reached.*(refused|no answer within 0.2)"):
        load("bob/day")
    assert load("ann/night", "cpu", registry=toy.registry()).targets == ["night"]
    assert time.perf_counter() - start < 3


@pytest.mark.usefixtures("online")
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (errors.RepositoryNotFoundError, "no such model on the hub that you may read.*hf auth login"),
        (errors.RevisionNotFoundError, "not this revision"),
        (ConnectionResetError("connection reset"), r"cannot be downloaded \(connection reset\)"),
    ],
)
def test_what_the_hub_refuses(cache: Path, monkeypatch: pytest.MonkeyPatch, error: Any, message: str) -> None:
    def download(*_: Any, **__: Any) -> None:
        raise error if isinstance(error, Exception) else error.__new__(error)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with pytest.raises(UserError, match=f"bob/day@v9: .*{message}"):
        load("bob/day@v9")
