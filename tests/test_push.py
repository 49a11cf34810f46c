"""``i2i push``: the card that is written, what is uploaded, and what is refused before anything is."""

import json
import os
import shutil
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard, constants, errors, parse_eval_result_entries
from PIL import Image
from typer.testing import CliRunner

import i2i_data
import i2i_metrics
import toy
from i2i import hub
from i2i.cli import app
from i2i.errors import UserError
from i2i.metrics import Figure
from i2i.registry import Registry
from i2i.translation.loading import load
from i2i.translation.model_folder import CONFIG, WEIGHTS
from i2i_evaluate.evaluation import RESULTS, evaluate_model
from i2i_push.publishing import check_name, prepare
from i2i_push.results import results_on_hub

REGISTRY = Registry(plugins={"toys": toy, "metrics": i2i_metrics})
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained and evaluated run."""
    folder = tmp_path_factory.mktemp("run")
    toy.trained(folder, plugins=REGISTRY)
    result = evaluate_model(folder / "out", REGISTRY, metrics=["psnr", "l1"])
    (folder / "out" / RESULTS).write_text(json.dumps(result.to_json()))
    return folder / "out"


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run in an empty working directory; the commands know the toys."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("i2i.registry.default_registry", lambda: REGISTRY)
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def uploads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A hub that takes everything, and somebody who is logged in."""
    taken: list[Any] = []

    def upload(repo_id: str, folder_path: Path, commit_message: str) -> None:
        taken.append((repo_id, sorted(path.name for path in Path(folder_path).iterdir()), commit_message))

    def create(name: str, private: bool, exist_ok: bool) -> str:
        taken.append((name, private))
        return f"https://hub.example/{name}"

    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "connect", lambda url: None)
    monkeypatch.setattr("huggingface_hub.create_repo", create)
    monkeypatch.setattr("huggingface_hub.upload_folder", upload)
    monkeypatch.setattr("huggingface_hub.repo_info", lambda name: SimpleNamespace(private=name != "ann/public"))
    return taken


def call(*arguments: str) -> str:
    outcome = CliRunner().invoke(app, ["push", *arguments])
    if isinstance(outcome.exception, UserError):
        raise outcome.exception
    assert outcome.exception is None, outcome.output
    return outcome.output


def test_a_dry_run_writes_a_model_that_loads_with_its_card(run: Path) -> None:
    assert "written to out; nothing was uploaded" in call("run", "ann/negative", "--dry-run", "--out", "out")
    assert sorted(path.name for path in Path("out").iterdir()) == ["README.md", CONFIG, WEIGHTS, "samples.png"]
    assert load("out", "cpu", registry=REGISTRY).targets == ["negative"]
    assert Path("out/samples.png").read_bytes() == (run / "samples" / "step-00000006.png").read_bytes()
    head, text = Path("out/README.md").read_text().split("---\n")[1:]
    wanted = {"library_name": "i2i", "pipeline_tag": "image-to-image", "tags": ["i2i", "toy"], "license": "unknown"}
    assert yaml.safe_load(head) == wanted
    recipe = text.split("````")[1].removeprefix("yaml\n")
    assert yaml.safe_load(recipe)["train"]["steps"] == 6
    assert "plain → negative. Generator `toy` (plugin toys" in text
    assert "Trained for 6 steps with i2i" in text
    assert "Their licence is not recorded" in text
    assert "| `psnr` | " in text
    assert "All figures: " in text
    assert "from the split test of the data set stripes (" in text
    assert "i2i translate ann/negative PICTURE.jpg --to negative" in text
    assert "Do not use the results as evidence" in text


def test_the_card_says_what_to_install(run: Path) -> None:
    """The distribution that the generator's plugin comes from."""
    config = json.loads((run / "model" / CONFIG).read_text())
    config["generator"] |= {"distribution": "i2i-toys", "version": "1.2"}
    (run / "model" / CONFIG).write_text(json.dumps(config))
    prepare(run / "model", "ann/x", Path("out"), REGISTRY)
    text = Path("out/README.md").read_text()
    assert "With i2i and its plugin toys (`pip install i2i-framework i2i-toys`):" in text
    assert "Generator `toy` (plugin toys 1.2 of i2i-toys)" in text


def test_figures_of_other_weights_and_pictures_of_other_steps_are_left_out(run: Path) -> None:
    result = json.loads((run / RESULTS).read_text())
    (run / RESULTS).write_text(json.dumps({**result, "weights_sha256": "0"}))
    (run / "samples" / "step-00000006.png").unlink()
    prepare(run, "ann/x", Path("out"), REGISTRY)
    text = Path("out/README.md").read_text()
    assert "those of other weights" in text
    assert "psnr" not in text.partition("## Recipe")[0]
    assert "No sample pictures are recorded" in text
    for number, text in enumerate(("{", "[" * 100_000)):
        (run / RESULTS).write_text(text)
        prepare(run / "model", "ann/x", Path(f"bad{number}"), REGISTRY)
        assert "cannot be read" in Path(f"bad{number}/README.md").read_text()


def test_the_card_has_the_best_beside_the_last(run: Path) -> None:
    toy.with_best(run)
    prepare(run / "model", "ann/x", Path("out"), REGISTRY)
    text = Path("out/README.md").read_text()
    assert "on 4 pictures of the split val, best by psnr" in text
    assert "| figure | better | best, step 3 | last, step 6 |" in text
    assert "| psnr | higher | 20 | 12.5 |\n| l1 | lower | 0.1 | - |" in text
    (run / "metrics.jsonl").rename(run.parent / "elsewhere")
    (run / "metrics.jsonl").symlink_to(run.parent / "elsewhere")
    with pytest.raises(UserError, match="outside of the folder"):
        prepare(run / "model", "ann/x", Path("linked"), REGISTRY)


def test_what_is_unknown_is_said_to_be_unknown(run: Path) -> None:
    config = json.loads((run / "model" / CONFIG).read_text())
    config["extra"] = {}
    (run / "model" / CONFIG).write_text(json.dumps(config))
    prepare(run / "model", "ann/x", Path("out"), REGISTRY)
    text = Path("out/README.md").read_text()
    for part in ("How it was trained is unknown.", "The model records neither", "Not stated.", "recipe is not recorded"):
        assert part in text


def test_converted_weights_carry_their_licence(run: Path) -> None:
    config = json.loads((run / "model" / CONFIG).read_text())
    files = [{"name": "net.pth", "sha256": "abc"}]
    facts = {"from": "junk", "files": files, "licence": "CC BY 9.0", "left_out": [], "notes": ["dropout true"]}
    config["extra"] = {"converted": facts}
    (run / "model" / CONFIG).write_text(json.dumps(config))
    prepare(run / "model", "ann/x", Path("out"), REGISTRY)
    text = Path("out/README.md").read_text()
    for part in ("license: other\nlicense_name: cc-by-9.0\n", "CC BY 9.0.", "`net.pth` (SHA-256 abc)", "- dropout true"):
        assert part in text


def test_a_data_set_states_its_licence(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy.Stripes, "licence", "public domain", raising=False)
    prepare(run, "ann/x", Path("out"), REGISTRY)
    assert "Licence: public domain." in Path("out/README.md").read_text()


def test_figures_on_data_of_the_hub_are_written_as_the_hub_reads_them(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy.Stripes, "on_hub", staticmethod(lambda options: [f"ann/stripes{options['size']}"]), raising=False)
    prepare(run, "ann/x", Path("out"), REGISTRY)
    entries = parse_eval_result_entries(yaml.safe_load(Path("out/.eval_results/i2i.yaml").read_text()))
    figures = {figure["name"]: figure for figure in json.loads((run / RESULTS).read_text())["figures"]}
    assert [(entry.dataset_id, entry.task_id) for entry in entries] == [("ann/stripes16", name) for name in figures]
    assert [entry.value for entry in entries] == [figure["value"] for figure in figures.values()]
    assert "Higher is better. 95 % interval or spread: " in str(entries[0].notes)
    assert "from the split test" in str(entries[0].notes)
    assert "data: " not in str(entries[0].notes)
    assert ModelCard(Path("out/README.md").read_text()).data.datasets == ["ann/stripes16"]
    prepare("out", "ann/y", Path("again"), REGISTRY)  # a folder that was prepared and looked at
    assert Path("again/.eval_results/i2i.yaml").read_bytes() == Path("out/.eval_results/i2i.yaml").read_bytes()


def test_tasks_of_several_directions_and_what_is_no_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    (tmp_path / "datasets--ann--pairs").mkdir()  # as when it has been read from there
    hub_data = {"name": "hub", "source": "ann/pairs", "cache": "/home/ann"}
    protocols = [{"direction": way, "data": hub_data} for way in ("day → night", "night → day")]
    kinds = [Figure("fid[efficientnet_lite0]", float(i), "lower", protocol) for i, protocol in enumerate(protocols)]
    registry = Registry(plugins={"data": i2i_data})
    text = results_on_hub([*kinds, Figure("psnr", float("inf"), "higher", protocols[0])], registry)
    tasks = [entry.task_id for entry in parse_eval_result_entries(yaml.safe_load(text))]
    assert tasks == ["fid-efficientnet_lite0-day-to-night", "fid-efficientnet_lite0-night-to-day"]
    assert "/home" not in text
    for source in ("data/pairs", "pairs/*.parquet", "./pairs", "a/b/c", str(Path.cwd())):
        local = {"data": {"name": "hub", "source": source}}
        assert results_on_hub([Figure("psnr", 1.0, "higher", local)], registry) == ""
    assert results_on_hub([Figure("psnr", 1.0, "higher", {"data": {"name": "unheard_of"}})], registry) == ""


def test_a_card_of_ones_own_is_kept_and_local_paths_are_told(run: Path) -> None:
    config = json.loads((run / "model" / CONFIG).read_text())
    config["extra"]["recipe"]["dataset"]["root"] = "/home/ann/pictures"
    (run / "model" / CONFIG).write_text(json.dumps(config))
    (run / "model" / "README.md").write_text("mine")
    remarks = call("run", "ann/x", "--dry-run", "--out", "out")
    assert Path("out/README.md").read_text() == "mine"
    assert "README.md is the one that lies in run/model" in remarks
    assert "everybody can read: /home/ann/pictures." in remarks


@pytest.mark.parametrize("place", ["model/README.md", "model/model.safetensors", "model", "samples/step-00000006.png"])
def test_links_out_of_the_folder_are_not_published(run: Path, tmp_path: Path, place: str) -> None:
    secret = tmp_path / "secret"
    if (run / place).exists():
        (run / place).rename(secret)
    else:
        secret.write_text("password")
    (run / place).symlink_to(secret)
    with pytest.raises(UserError, match=rf"{place}: this is a link to .*secret, outside of the folder, and is not published"):
        call("run", "ann/x", "--dry-run", "--out", "out")
    assert not Path("out").exists()


def test_links_within_the_folder_and_the_hubs_cache_are_followed(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run / "model" / "card.md").write_text("mine")
    (run / "model" / "README.md").symlink_to("card.md")
    prepare(run, "ann/x", Path("out"), REGISTRY)
    assert (Path("out/README.md").is_symlink(), Path("out/README.md").read_text()) == (False, "mine")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(run.parent / "cache"))
    repository = run.parent / "cache" / "models--bob--night"
    snapshot = repository / "snapshots" / COMMIT
    shutil.copytree("out", repository / "blobs")
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    for file in (repository / "blobs").iterdir():
        (snapshot / file.name).symlink_to(Path("../../blobs") / file.name)
    prepare("bob/night", "ann/x", Path("again"), REGISTRY)
    assert Path("again/README.md").read_text() == "mine"


def test_published_files_have_the_mode_of_any_new_file(run: Path) -> None:
    (run / "model" / WEIGHTS).chmod(0o600)
    before = os.umask(0o022)
    try:
        prepare(run, "ann/x", Path("out"), REGISTRY)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in Path("out").iterdir()} == {0o644}


def test_uploading(run: Path, uploads: list[Any]) -> None:
    assert "published: https://hub.example/ann/x" in call("run", "ann/x", "--private")
    assert uploads == [("ann/x", True), ("ann/x", ["README.md", CONFIG, WEIGHTS, "samples.png"], "i2i push")]
    with pytest.raises(UserError, match="on the hub already, and public"):
        call("run", "ann/public", "--private")
    assert len(uploads) == 3


@pytest.mark.parametrize("name", ["x", "ann/", "ann/x/y", "ann/x@main", "ann/a b", "ann/a--b", "ann/x.git", "./x"])
def test_names(name: str) -> None:
    with pytest.raises(UserError, match=r"not a name for a model on the hub.*Write OWNER/NAME"):
        check_name(name)


def test_what_is_refused_before_anything_is_uploaded(run: Path, uploads: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="there is no such run folder"):
        call("rum", "ann/x", "--dry-run", "--out", "out")
    with pytest.raises(UserError, match=r"--max-parameters \d+"):
        call("run", "ann/x", "--dry-run", "--out", "out", "--max-parameters", "1")
    with pytest.raises(UserError, match="go together"):
        call("run", "ann/x", "--dry-run")
    Image.new("L", (1, 1)).save("taken.png")
    for place in ("run", "taken.png"):
        with pytest.raises(UserError, match="it exists already"):
            call("run", "ann/x", "--dry-run", "--out", place)

    def refuse(_url: str) -> None:
        raise OSError("no route")

    with monkeypatch.context() as patch:
        patch.setattr(hub, "connect", refuse)
        with pytest.raises(UserError, match=r"ann/x cannot be uploaded: the hub cannot be reached \(no route\).*--dry-run"):
            call("run", "ann/x")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(UserError, match=r"you are not logged in to the hub. Run hf auth login"):
        call("run", "ann/x")
    assert uploads == []


@pytest.mark.parametrize(("status", "message"), [(403, "token may not write"), (500, "the upload failed")])
def test_what_the_hub_refuses(
    run: Path, uploads: list[Any], monkeypatch: pytest.MonkeyPatch, status: int, message: str
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        error = errors.HfHubHTTPError.__new__(errors.HfHubHTTPError)
        error.response = SimpleNamespace(status_code=status)  # type: ignore[assignment]
        raise error

    monkeypatch.setattr("huggingface_hub.create_repo", refuse)
    with pytest.raises(UserError, match=f"ann/x: .*{message}"):
        call("run", "ann/x")
    assert uploads == []
