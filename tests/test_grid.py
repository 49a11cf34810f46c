"""Every shipped recipe and mix, and third-party ones, through every command: run, resume, replay, translate, inspect, eval,
compare, export, push and serve. What is refused is listed with its reason.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image

import strangers
import terminal
from forked import ran, ran_python, started, wait_for
from i2i.translation.loading import load

HERE = Path(__file__).parent

NARROW = {
    "unit_day2night": ["generator.width=4", "generator.blocks=1", "discriminator.width=4"],
    "pix2pix_sketch2photo": ["generator.width=4", "discriminator.width=4"],
    "spade_labels2photo": ["generator.width=1", "generator.hidden=4", "discriminator.width=4"],
    "cyclegan_photo2oldmap": ["generator.width=4", "generator.blocks=1", "discriminator.width=4"],
    "cyclegan_noto2flat": ["generator.width=4", "generator.blocks=1", "discriminator.0.width=4", "discriminator.1.width=4"],
    "resnet_spade_loss": ["generator.width=4", "generator.blocks=1", "discriminator.width=4"],
    "spade_cyclegan_day2night": ["generator.width=1", "generator.hidden=4", "discriminator.width=4"],
    "spade_cyclegan_labels2photo": [
        *("generator.ab.width=1", "generator.ab.hidden=4", "generator.ba.width=4", "generator.ba.blocks=1"),
        "discriminator.width=4",
    ],
    "timm_unet_pix2pix": ["generator.width=4", "discriminator.width=4"],
    "two_judges_pix2pix": [
        *(
            "generator.width=4",
            "generator.blocks=1",
            "discriminator.0.width=4",
            "discriminator.1.width=4",
            "discriminator.1.from=1",
        ),
    ],
    "unit_generator_cyclegan": ["generator.width=4", "generator.blocks=1", "discriminator.width=4"],
    "seasons": [],
}
"""Every recipe, with options that make its networks small."""

SAME = {"pix2pix_ink2glossy": "pix2pix_sketch2photo"}
"""Recipes with the components of another, on other data: they are not taken through every command again."""

REFUSED = {
    ("seasons", "eval"): "the data set has no splits",
    ("seasons", "compare"): "the data set has no splits",
}
"""The toy data of the outside package have no held-out part, and figures of pictures that were trained on are not given."""

FORMATS = ("torch-export", "onnx")
"""Recipes take turns; tests/test_export.py has every network in both."""
TRACED_BEFORE = ("spade_labels2photo", "spade_cyclegan_day2night", "unit_generator_cyclegan")
"""SPADE's generator takes long to trace: tests/test_export.py does it with the same options. The last has unit_day2night's."""
SAME_NETWORK = (*TRACED_BEFORE, "resnet_spade_loss", "two_judges_pix2pix", "timm_unet_pix2pix")
"""Further recipes that are not exported here, as another one has their generator, and tests/test_export.py timm's."""
EXPORTED = {"spade_cyclegan_labels2photo": ("b", "a")}
"""The direction that goes out, if it is not the first: the other generator of that recipe."""
STYLED = {"seasons": ["--style-seed", "1"]}
"""What an export is given of a model that draws."""


def place_of(name: str) -> str:
    """The recipe of that name as ``i2i run`` takes it."""
    found = [*HERE.parent.glob(f"recipes/{name}.yaml"), *HERE.parent.glob(f"recipes/mix/{name}.yaml")]
    return str(found[0]) if found else f"{name}:{name}"


def text_of(name: str) -> str:
    place = Path(place_of(name))
    return place.read_text(encoding="utf-8") if place.is_file() else ""


def test_the_grid_has_every_shipped_recipe() -> None:
    shipped = {path.stem for folder in ("recipes", "recipes/mix") for path in (HERE.parent / folder).glob("*.yaml")}
    assert shipped == (set(NARROW) - {"seasons"}) | set(SAME)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Outside packages as pip installs them, for this process and, by an environment, for others."""
    with strangers.installed(tmp_path_factory.mktemp("site"), "cut", "seasons") as paths:
        yield strangers.environment(paths)


@dataclass
class Grid:
    """One recipe's run, and ways to give it to commands. ``printed`` are the last lines of ``i2i run``."""

    name: str
    folder: Path
    call: Callable[..., str]
    printed: str = ""
    seen: list[str] = field(default_factory=list)

    @property
    def run(self) -> str:
        return str(self.folder / "run")

    def __call__(self, command: str, *arguments: str) -> str:
        self.seen.append(command)
        return self.call(REFUSED.get((self.name, command)), command, *arguments)


@pytest.fixture
def grid(
    request: pytest.FixtureRequest,
    installed: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Grid:
    """Two steps, and a third by a resume."""
    monkeypatch.chdir(tmp_path)

    def call(refusal: str | None, *arguments: str) -> str:
        code = terminal.call(monkeypatch, *arguments)
        said = capsys.readouterr()
        assert code == (2 if refusal else 0), f"i2i {shlex.join(arguments)}: {said.err}"
        if refusal:
            assert re.search(refusal, said.err), said.err
        return said.out

    made = Grid(request.param, tmp_path, call)
    images = ["evaluate.images=2"] if "\nevaluate:" in text_of(request.param) else []
    few = [
        *images,
        "train.steps=2",
        "checkpoint.every=1",
        "log.every=1",
        "samples.every=2",
        "samples.count=1",
        "train.batch_size=1",
    ]
    sets = [part for item in [*few, *NARROW[made.name]] for part in ("--set", item)]
    recipe = place_of(made.name)
    made("run", recipe, *sets, "--out", made.run)
    made.printed = made("run", recipe, *sets, "--set", "train.steps=3", "--out", made.run, "--resume")
    return made


def python(installed: dict[str, str], command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A printed command in a shell, as it stands."""
    code = f'{shlex.quote(sys.executable)} -c "from i2i.cli import main; main()"'
    line = re.sub(r"^i2i ", lambda _: f"{code} ", command)
    return subprocess.run(line, shell=True, cwd=folder, env=installed, capture_output=True, text=True, check=False)


def forked(installed: dict[str, str], command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The same without a shell, by a fork."""
    name, *arguments = shlex.split(command)
    assert name == "i2i"
    return ran(arguments, folder, installed)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("grid", NARROW, indirect=True)
def test_every_command_takes_it(grid: Grid) -> None:
    from i2i_serve.limits import Limits
    from i2i_serve.service import Service, samples
    from served_models import running

    model = load(grid.run, "cpu")
    source, target = next(way for way in model.directions if way[0] != way[1])
    way = ["--to", model.label(target), "--source", model.label(source)]
    picture = grid.folder / "x.png"
    labels = model.domains[source].kind == "labels"
    Image.new("L", (40, 52), 1).save(picture) if labels else Image.effect_noise((40, 52), 60).convert("RGB").save(picture)
    assert "step 3" in grid("replay", grid.run, "3")
    made = Path(grid("translate", grid.run, str(picture), *way, "--out", "made").strip())
    with Image.open(made) as opened:
        assert opened.size == (40, 52)
    assert "trained algorithm" in grid("inspect", str(made))
    paired = model.config["extra"]["recipe"]["dataset"].get("paired")
    metrics = {True: ["--metrics", "psnr"], False: ["--metrics", "swd"] if grid.name != "unit_day2night" else []}[bool(paired)]
    grid("eval", grid.run, "--images", "2", *metrics)
    assert "nothing was uploaded" in grid("push", grid.run, "ann/model", "--dry-run", "--out", "ann/model")
    grid("compare", grid.run, "ann/model", "--images", "2", "--pictures", "1", *metrics)
    if grid.name not in SAME_NETWORK:
        form = FORMATS[list(NARROW).index(grid.name) % 2]
        given = EXPORTED.get(grid.name, (source, target))
        words = ["--to", model.label(given[1]), "--source", model.label(given[0]), *STYLED.get(grid.name, [])]
        name = {"onnx": "m.onnx", "torch-export": "m.pt2"}[form]
        assert "largest difference" in grid("export", grid.run, "--format", form, *words, "--out", name)
    limits = Limits(megabytes=1, pixels=10**5, seconds=60, waiting=2)
    service = Service(model, limits, "model", samples=samples(model, Path(grid.run)))
    with running(service, paths={"model": Path(grid.run)}) as place:
        assert place.translate(picture.read_bytes(), to=model.label(target), source=model.label(source)).status_code == 200
        (told,) = place.get("/api/model").json()["models"]
        for sample in told["samples"]:
            assert place.get(f"/api/{sample['url']}").status_code == 200
    everywhere = {"run", "replay", "translate", "inspect", "eval", "compare", "push"}
    assert set(grid.seen) == everywhere | ({"export"} if grid.name not in SAME_NETWORK else set())


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("grid", ["unit_day2night", "seasons"], indirect=True)
def test_printed_commands_run_as_they_stand(grid: Grid, installed: dict[str, str]) -> None:
    """A run's last line, the card's command and its Python, where there are two domains and where there are three."""
    for name in ("IMAGE", "PICTURE.jpg"):
        Image.effect_noise((24, 20), 60).convert("RGB").save(grid.folder / name, "JPEG")
    (line,) = re.findall("^use it: +(.*)$", grid.printed, re.MULTILINE)
    grid("push", grid.run, "ann/model", "--dry-run", "--out", "ann/model")
    card = (grid.folder / "ann/model/README.md").read_text(encoding="utf-8")
    (other,) = re.findall("^    (i2i translate .*)$", card, re.MULTILINE)
    for way, command, result in ((python, line, "translated/IMAGE.png"), (forked, other, "translated/PICTURE.png")):
        done = way(installed, command, grid.folder)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        assert done.stdout.strip() == result
    code = card.split("```python\n")[1].split("```")[0]
    done = ran_python(code, grid.folder, installed)
    assert done.returncode == 0, done.stderr
    with Image.open(grid.folder / "result.png") as made:
        assert made.size == (24, 20)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_commands_in_processes_of_their_own(installed: dict[str, str], tmp_path: Path) -> None:
    """Those that write, and the page; the others read what these do. Translating is in the test above."""
    import httpx

    Image.effect_noise((24, 20), 60).convert("RGB").save(tmp_path / "x.png")
    for command in (
        "i2i run cut:cut --set train.steps=1 --out again",
        "i2i run cut:cut --set train.steps=2 --out again --resume",
        "i2i eval again --images 2 --metrics swd",
        "i2i export again --format torch-export --to night --out m.pt2",
        "i2i push again ann/model --dry-run --out ann/model",
    ):
        done = forked(installed, command, tmp_path)
        assert done.returncode == 0, f"{command}: {done.stderr}"
    process = started(["serve", "again", "--port", "0"], tmp_path, installed)
    try:
        wait_for(lambda: "Ctrl-C" in process.so_far() or process.poll() is not None)
        address = re.search(r"http://\S+", process.so_far())
        assert address is not None
        answer = httpx.post(f"{address[0]}/api/translate?to=night", content=(tmp_path / "x.png").read_bytes(), timeout=60)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    finally:
        process.terminate()
    assert process.wait(60) == 0
