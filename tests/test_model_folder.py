"""A model folder is checked before anything is built at size: hash, finite weights, shapes, limits; format 1 is still read."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from typer.testing import CliRunner

import i2i
from i2i.cli import app
from i2i.errors import UserError
from i2i.files import sha256
from i2i.protocols import Domain, Translation
from i2i.recipe.options import taken
from i2i.registry import Registry, default_registry, hookimpl
from i2i.translation import model_check
from i2i.translation.model_folder import CONFIG, WEIGHTS, Origin, load_model, save_model

DOMAINS = {"a": Domain("day", "image", 3), "b": Domain("night", "image", 3)}
AB = (("a", "b"),)
RESNET = {"width": 2, "blocks": 1, "downs": 1}
SMALL: dict[str, dict[str, Any]] = {
    "resnet": RESNET,
    "unet": {"width": 2, "downs": 3},
    "unit": {"width": 2, "blocks": 1},
    "spade": {"width": 1, "hidden": 2, "vae": True, "style_size": 2},
    "timm_unet": {"width": 2},
}


def save_resnet(folder: Path, name: str = "resnet", **options: Any) -> Path:
    entry, options = default_registry().get("generator", name), options or RESNET
    supplied = {"domains": DOMAINS, "directions": AB, "rebuilt": True, "size": (64, 64)}
    module = entry.factory(**taken("generator", entry.factory, supplied), **options)
    origin, sizes = Origin(name, entry.plugin, "1", options), {"sizes": dict.fromkeys(DOMAINS, (64, 64))}
    save_model(folder, module, {"": origin}, domains=DOMAINS, directions=AB, extra=sizes)
    return folder


def change_config(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    config = json.loads((folder / CONFIG).read_text())
    change(config)
    (folder / CONFIG).write_text(json.dumps(config))


def change_weights(folder: Path, change: Callable[[dict[str, Tensor]], object], *, recorded: bool = True) -> None:
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS)
    if recorded:
        change_config(folder, lambda config: config.update(weights_sha256=sha256(folder / WEIGHTS)))


def test_format_1_is_still_read() -> None:
    """A model and its translation, written by the last version that wrote format 1."""
    folder = Path(__file__).parent / "format1"
    expected = load_file(folder / "expected.safetensors")
    model = i2i.load(folder, "cpu")
    assert model.config["format"] == 1
    assert model.domains["a"] == Domain(
        "map", "labels", 4, ("sea", "land", "ice"), ((0, 0, 255), (0, 128, 0), (255, 255, 255)), True
    )
    torch.testing.assert_close(model.translate(expected["x"]), expected["y"], rtol=0, atol=1e-5)


def test_one_flipped_bit_is_noticed(tmp_path: Path) -> None:
    folder = save_resnet(tmp_path / "m")
    config = json.loads((folder / CONFIG).read_text())
    assert config["weights_sha256"] == sha256(folder / WEIGHTS)
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(UserError, match=r"not the weights that config\.json records.*--changed.*changed=True"):
        i2i.load(folder, "cpu")
    i2i.load(folder, "cpu", changed=True)
    picture = tmp_path / "p.png"
    i2i.load(folder, "cpu", changed=True).translate(torch.zeros(3, 16, 16))
    from PIL import Image

    Image.new("RGB", (16, 16)).save(picture)
    arguments = ["translate", str(folder), str(picture), "--out", str(tmp_path / "out")]
    assert isinstance(CliRunner().invoke(app, arguments).exception, UserError)
    assert CliRunner().invoke(app, [*arguments, "--changed"]).exit_code == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("number", [1, 2])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float, number: int) -> None:
    folder = save_resnet(tmp_path / "m")
    change_weights(folder, lambda weights: next(iter(weights.values())).view(-1)[:1].fill_(value))
    if number == 1:
        change_config(folder, lambda config: (config.update(format=1), config.pop("weights_sha256")))
    with pytest.raises(UserError, match=r"model\.safetensors: the weights '.*' are NaN or infinite"):
        i2i.load(folder, "cpu", changed=True)


def grow(options: dict[str, Any]) -> Callable[[dict[str, Any]], object]:
    return lambda config: config["generator"].update(options={**config["generator"]["options"], **options})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (grow({"blocks": 10_000}), "far larger network"),
        (grow({"blocks": 2}), "do not fit"),
        (grow({"width": 10**6}), "do not fit"),
        (grow({"width": 10**15}), "cannot be rebuilt"),
        (grow({"downs": 10**12}), "cannot be rebuilt.*downs: must be at most 12"),
        (lambda c: c["domains"]["b"].update(channels=10**5), "do not fit"),
        (lambda c: c["domains"]["b"].update(channels=10**9), "does not describe a model.*channels"),
        (lambda c: c["domains"]["b"].update(kind="video"), "does not describe a model"),
        (lambda c: c["domains"]["b"].update(name="\x1b[2J"), "printable"),
        (lambda c: c["domains"]["b"].update(more=1), "has the fields"),
        (lambda c: c["domains"]["b"].pop("instances"), "has the fields"),
        (lambda c: c["domains"]["b"].update(colors=[[0, 0, 999]]), "does not describe a model"),
        (lambda c: c.update(directions=[["a", "c"]]), "no domain c"),
        (lambda c: c.update(directions=[]), "does not describe a model"),
        (lambda c: c.update(extra=[1]), "extra must be a mapping"),
        (lambda c: c.update(extra={"step": "x"}), r"extra\.step"),
        (lambda c: c.update(extra={"converted": {"files": ["x"]}}), "converted"),
        (lambda c: c.update(extra={"converted": {"files": [{"name": "x"}]}}), "converted"),
        (lambda c: c.pop("weights_sha256"), "does not describe a model"),
        (lambda c: c.update(weights_sha256="x"), "not a SHA-256"),
        (lambda c: c.update(format=True), "reads 1 to 2"),
        (lambda c: c.update(generator={**c["generator"], "name": "x" * 10_000}), "printable text of at most"),
    ],
)
def test_what_config_json_claims_is_checked_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    folder = save_resnet(tmp_path / "m")
    change_config(folder, change)
    made = counted_modules(monkeypatch)
    with pytest.raises(UserError, match=message) as caught:
        i2i.load(folder, "cpu")
    assert len(str(caught.value)) < 1500
    assert len(made) < 5_000
    assert not any(large for large in made)


def counted_modules(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """An entry for each convolution from now on: whether it has many weights that are not on the meta device."""
    made: list[bool] = []
    before = nn.Conv2d.__init__

    def count(self: nn.Conv2d, *args: Any, **kwargs: Any) -> None:
        before(self, *args, **kwargs)
        made.append(not self.weight.is_meta and self.weight.numel() > 10**5)

    monkeypatch.setattr(nn.Conv2d, "__init__", count)
    return made


def test_files_that_are_too_large_are_not_read(tmp_path: Path) -> None:
    folder = save_resnet(tmp_path / "m")
    weights = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes((2**40).to_bytes(8, "little") + weights[8:])
    with pytest.raises(UserError, match=r"weights cannot be read \(its header would have 1,099,511,627,776 bytes"):
        i2i.load(folder, "cpu")
    save_file({f"x{i}": torch.zeros(0) for i in range(2**16 + 1)}, folder / WEIGHTS)
    with pytest.raises(UserError, match="65,537 tensors; the limit is 65,536"):
        i2i.load(folder, "cpu")
    save_file({"x": torch.zeros(4, dtype=torch.complex64)}, folder / WEIGHTS)
    with pytest.raises(UserError, match="of the type C64"):
        i2i.load(folder, "cpu")
    with (folder / CONFIG).open("ab") as file:
        file.write(b" " * 8 * 2**20)
    with pytest.raises(UserError, match="larger than 8 MiB"):
        i2i.load(folder, "cpu")
    (folder / CONFIG).write_text("[" * 100_000)
    with pytest.raises(UserError, match="cannot be read"):
        i2i.load(folder, "cpu")


def test_a_model_may_have_so_many_numbers(tmp_path: Path) -> None:
    folder = save_resnet(tmp_path / "m")
    numbers = sum(tensor.numel() for tensor in load_file(folder / WEIGHTS).values())
    i2i.load(folder, "cpu", max_parameters=numbers)
    with pytest.raises(UserError, match=f"the model has {numbers:,} numbers.*--max-parameters {numbers}"):
        i2i.load(folder, "cpu", max_parameters=numbers - 1)
    with (folder / WEIGHTS).open("r+b") as file:  # a sparse file of 8 GiB, which takes no room
        header = b'{"x":{"dtype":"F32","shape":[2147483648],"data_offsets":[0,8589934592]}}'
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 2**33)
    with pytest.raises(UserError, match="the model has 2,147,483,648 numbers"):
        i2i.load(folder, "cpu")


def test_whole_numbers_are_no_weights(tmp_path: Path) -> None:
    folder = save_resnet(tmp_path / "m")
    change_weights(folder, lambda weights: weights.update({n: w.to(torch.uint8) for n, w in weights.items()}))
    with pytest.raises(UserError, match=r"uint8 and should be torch\.float32"):
        i2i.load(folder, "cpu")


class Odd(nn.Module):
    """What third-party constructors do: look at values, draw numbers, keep arrays of numpy and tensors outside the state."""

    exposes: frozenset[str] = frozenset()
    divisor = 1

    def __init__(self, *, domains: Any, directions: Any, looks: bool = False, catches: bool = False, width: int = 2) -> None:
        super().__init__()
        if looks:
            torch.linspace(0, 1, 3)[1].item()
        self.mix = nn.Parameter(torch.rand(width))
        self.register_buffer("filter", torch.from_numpy(__import__("numpy").ones(3, "float32")))
        self.drawn = torch.rand(3)  # no part of the state: the same again from the same seed
        try:
            self.layers = nn.ModuleList(nn.Linear(1, 1) for _ in range(width if catches else 0))
        except ValueError as error:
            raise RuntimeError("cannot be built") from error

    def forward(self, x: Tensor, source: str, *targets: str) -> Translation:
        return Translation({target: (x * self.mix.sum() * self.drawn.sum()).tanh() for target in targets})


class Renamed(Odd):
    """Takes weights under the names of an earlier version."""

    def _load_from_state_dict(self, state: Any, prefix: str, *rest: Any) -> None:
        if f"{prefix}mixture" in state:
            state[f"{prefix}mix"] = state.pop(f"{prefix}mixture")
        super()._load_from_state_dict(state, prefix, *rest)


class Plugin:
    @hookimpl
    def register_generators(self) -> dict[str, Any]:
        return {"odd": Odd, "renamed": Renamed}


ODD = Registry(plugins={"mine": Plugin()})


@pytest.mark.parametrize("looks", [False, True])
def test_any_constructor_is_rebuilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looks: bool) -> None:
    """One that looks at values cannot be built without them: then its parameters are counted while it is built."""
    options = {"looks": looks}
    with i2i_seed():
        module = Odd(domains=DOMAINS, directions=AB, **options)
    save_model(tmp_path / "m", module, {"": Origin("odd", "mine", "1", options)}, domains=DOMAINS, directions=AB)
    random = torch.get_rng_state()
    again = load_model(tmp_path / "m", registry=ODD).module
    assert torch.equal(random, torch.get_rng_state())
    x = torch.rand(1, 3, 2, 2)
    assert torch.equal(again(x, "a", "b").image, module(x, "a", "b").image)
    for width, message in ((3, "do not fit"), (2**23, "far larger network" if looks else "do not fit")):
        change_config(tmp_path / "m", grow({"width": width}))
        with pytest.raises(UserError, match=message):
            load_model(tmp_path / "m", registry=ODD)
    change_config(tmp_path / "m", grow({"width": 2**21, "catches": True}))
    with pytest.raises(UserError, match="far larger network"):
        load_model(tmp_path / "m", registry=ODD)


def i2i_seed() -> Any:
    from i2i.randomness import seeded

    return seeded(0)


def test_a_module_may_rename_what_it_takes(tmp_path: Path) -> None:
    module = Renamed(domains=DOMAINS, directions=AB)
    save_model(tmp_path / "m", module, {"": Origin("renamed", "mine", "1", {})}, domains=DOMAINS, directions=AB)
    change_weights(tmp_path / "m", lambda weights: weights.update(mixture=weights.pop("mix")))
    assert torch.equal(load_model(tmp_path / "m", registry=ODD).module.get_parameter("mix"), module.mix)


def test_every_shipped_generator_is_checked_without_being_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(SMALL) == set(default_registry().names("generator"))
    fits = []
    before = model_check.take
    monkeypatch.setattr(model_check, "take", lambda module, header: (fits.append(1), before(module, header)))
    for count, (name, options) in enumerate(SMALL.items(), 1):
        save_resnet(tmp_path / name, name, **options)
        i2i.load(tmp_path / name, "cpu")
        assert len(fits) == count


def test_a_trained_model_needs_no_file_of_the_weights_that_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import timm

    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "w.pth")
    folder = save_resnet(tmp_path / "m", "timm_unet", backbone="resnet10t", weights=str(tmp_path / "w.pth"), width=2)
    x = torch.rand(3, 64, 64)
    before = i2i.load(folder, "cpu").translate(x)
    (tmp_path / "w.pth").unlink()
    assert torch.equal(i2i.load(folder, "cpu").translate(x), before)
    change_config(folder, grow({"weights": "hub"}))  # and nothing is fetched
    assert torch.equal(i2i.load(folder, "cpu").translate(x), before)


def test_files_have_the_mode_of_any_new_file(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        folder = save_resnet(tmp_path / "m")
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o644}
        os.umask(0o077)
        folder = save_resnet(tmp_path / "n")
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    finally:
        os.umask(before)


def test_the_check_computes_no_values(tmp_path: Path) -> None:
    """On the meta device torch computes some of them in Python, and imports a thousand modules for that."""
    own = {name: options for name, options in SMALL.items() if name != "timm_unet"}  # timm imports them anyway
    for name, options in own.items():
        save_resnet(tmp_path / name, name, **options)
    script = "import sys, i2i; [i2i.load(m, 'cpu') for m in sys.argv[1:]]; print('torch._dynamo.convert_frame' in sys.modules)"
    models = [str(tmp_path / name) for name in own]
    done = subprocess.run([sys.executable, "-c", script, *models], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
