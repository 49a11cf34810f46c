"""More than two domains: data sets with any number of them, and entries of a batch beside them."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import yaml
from datasets import Value  # type: ignore[import-untyped]
from torch import Tensor, nn

import i2i_data
import terminal
import toy
from i2i.building.held_out import complete
from i2i.building.parts import build_dataset, build_generator
from i2i.data import BatchOrder, SeededDataset, batches
from i2i.errors import UserError
from i2i.hooks import hookimpl
from i2i.protocols import Batch, Generator, Images
from i2i.recipe.components import Component
from i2i.registry import Registry
from i2i.translation.model_folder import Origin, load_model, save_model
from i2i_data.folders import folders
from i2i_data.hub import Part, hub
from i2i_data.sources import Read
from i2i_data.transforms import Transform
from pictures_on_disk import noise, write
from test_hub import cells, write_table

PLAIN = Transform(flip=False)
KEYS = ("ink", "flat", "half2")


@pytest.fixture
def three(tmp_path: Path) -> dict[str, str]:
    """Folders of 4, 5 and 6 pictures, of which 0 … 3 have partners."""
    for i, key in enumerate(KEYS):
        for n in range(4 + i):
            write(tmp_path / key / f"{n}.png", noise(10 * i + n))
    return {key: str(tmp_path / key) for key in KEYS}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"flat": None, "half2": None}, "domains: there is only 'ink'. Give two or more"),
        ({"ink": None, "flat": None, "half2": None}, "domains: there is none. Give two or more"),
        ({"flat": "{}/flt"}, r"domains.flat: .*/flt: there is no such file or folder. Did you mean 'flat'\?"),
        ({"flat": "{}/empty"}, r"domains.flat: .*/empty: no pictures in this folder \(it is empty\)"),
        ({"flat": "{}/ink"}, "domains: 'ink' and 'flat' have the same pictures. Give each domain its own pictures"),
        ({"my ink": "{}/flat"}, "a domain cannot have the key 'my ink'.*a letter, then letters and digits"),
        ({"a_b": "{}/flat"}, "a domain cannot have the key 'a_b'"),
        ({"train": "{}/flat"}, "a domain cannot have the key 'train'.*not a name that torch's modules use"),
        ({"": "{}/flat"}, "a domain cannot have the key ''"),
    ],
)
def test_what_does_not_fit_is_said(three: dict[str, str], tmp_path: Path, change: dict[str, str | None], says: str) -> None:
    (tmp_path / "empty").mkdir()
    given = {**three, **change} if "half2" in change else {"ink": three["ink"], **change}
    domains = {key: place.replace("{}", str(tmp_path)) for key, place in given.items() if place is not None}
    with pytest.raises(UserError, match=says):
        build_dataset(Component(name="folders", options={"domains": domains}), Registry({"data": i2i_data}))


@pytest.mark.parametrize(
    ("beside", "says"),
    [
        ({"a": "x"}, "give either 'domains' or 'a', not both"),
        ({"root": "x", "names": ("x", "y")}, "give either 'domains' or 'root' and 'names', not both"),
        ({"read_b": Read(channels=1)}, "give either 'domains' or 'read_b', not both"),
        ({"read": {"ikn": Read(channels=1)}}, "read: there is no domain 'ikn'. Did you mean 'ink'?"),
        ({"endings": ("_a", "_b")}, "endings: there are 2, and 3 domains"),
    ],
)
def test_options_for_two_sides_do_not_go_with_domains(three: dict[str, str], beside: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        folders(domains=three, **beside)


def test_read_belongs_to_domains(three: dict[str, str]) -> None:
    for made in (folders, hub):
        with pytest.raises(UserError, match=r"'read' goes with 'domains'.*read_a and read_b"):
            made(**{"a": "x", "b": "y"} if made is folders else {"source": "x"}, read={"a": Read(channels=1)})


def test_unpaired_every_domain_but_the_first_is_drawn(three: dict[str, str]) -> None:
    data = folders(domains=three, transform=PLAIN, read={"flat": Read(channels=1)})
    assert [(key, domain.name, domain.channels) for key, domain in data.domains.items()] == [
        ("ink", "ink", 3), ("flat", "flat", 1), ("half2", "half2", 3)
    ]  # fmt: skip
    assert (len(data), data.paired) == (6, False)
    seeded = SeededDataset(data, 0)
    chosen = []
    for epoch in range(20):
        with seeded._seeded((epoch, 5)) as index:
            chosen.append(data.choose(index))
    assert {c["ink"] for c in chosen} == {1}  # 5 of 4
    assert {c["flat"] for c in chosen} == set(range(5))
    assert {c["half2"] for c in chosen} == set(range(6))
    held = folders(domains=three, transform=PLAIN, split="test")
    assert held.choose(5) == {"ink": 1, "flat": 0, "half2": 5}


def test_pairs_have_one_name_in_every_domain(three: dict[str, str], tmp_path: Path) -> None:
    data = folders(domains=three, transform=PLAIN, paired=True)
    assert (len(data), set(data[0])) == (4, set(KEYS))
    assert data.notes == [
        f"{tmp_path}/flat: 1 of 5 files have no partner and are left out: 4.png",
        f"{tmp_path}/half2: 2 of 6 files have no partner and are left out: 4.png, 5.png",
    ]
    write(tmp_path / "half2" / "2.png", noise(0, h=8))
    with pytest.raises(UserError, match=r"but its partner .*half2/2.png is 24 x 8"):
        data[2]
    (tmp_path / "flat" / "1.png").write_bytes(b"nothing")
    left = folders(domains=three, transform=PLAIN, paired=True, corrupt="skip")
    assert [Path(name).name for name in left.inventory()["half2"]] == ["0.png", "2.png", "3.png"]
    with pytest.raises(UserError, match="no name occurs on all sides"):
        folders(domains=three, paired=True, endings=("", "", "4"))


def test_endings_are_taken_off_in_their_order(tmp_path: Path) -> None:
    for ending in ("x", "y", "z"):
        write(tmp_path / f"1_{ending}.png", noise(1))
    places = {key: f"{tmp_path}/*_{key}.png" for key in "xyz"}
    assert len(folders(domains=places, paired=True, endings=("_x", "_y", "_z"))) == 1


def test_data_check_and_pack_know_them(
    three: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    terminal.install(monkeypatch, Registry({"toys": toy, "data": i2i_data}))
    given = f"name: folders, domains: {{{', '.join(f'{key}: {key}' for key in KEYS)}}}, read: {{flat: {{channels: 1}}}}"
    assert terminal.call(monkeypatch, "data", "check", recipe_of(given)) == 0
    assert "dataset: half2 (half2): 6 pictures, all 24 x 20" in capsys.readouterr().out
    back = {}
    for paired in (False, True):
        out = f"packed{paired}"
        path = recipe_of(f"{given}, paired: {str(paired).lower()}")
        assert terminal.call(monkeypatch, "data", "pack", path, "--out", out) == 0
        line = capsys.readouterr().out.splitlines()[-1]
        dataset = recipe_line(line, cache=str(tmp_path / "cache"))
        data = Registry({"data": i2i_data})
        packed = build_dataset(Component(name="hub", options=complete("dataset", dataset, data)), data)
        back[paired] = line
        before = folders(domains=three, transform=PLAIN, paired=paired, read={"flat": Read(channels=1)})
        assert packed.domains == before.domains
        assert packed.paired == paired
        for key in KEYS:
            assert all(torch.equal(packed.raw(key, i)[0], before.raw(key, i)[0]) for i in range(4))  # type: ignore[attr-defined]
    read = "split: train, read: {flat: {channels: 1}}}"
    assert back[True] == f"dataset: {{name: hub, source: packedTrue, domains: {{ink: ink, flat: flat, half2: half2}}, {read}"
    places = ", ".join(f"{key}: {{source: packedFalse/{key}}}" for key in KEYS)
    assert back[False] == f"dataset: {{name: hub, source: packedFalse, domains: {{{places}}}, paired: false, {read}"


def recipe_of(dataset: str) -> str:
    """A file with a recipe of this data set."""
    rest = "generator: {name: toy}\ndiscriminator: {name: judge}\nloss: {name: toy}\n"
    Path("r.yaml").write_text(f"dataset: {{{dataset}}}\n{rest}")
    return "r.yaml"


def recipe_line(line: str, **over: str) -> Component:
    """The component of a line ``dataset: {…}``."""
    given = yaml.safe_load(line)["dataset"]
    return Component(name=given.pop("name"), options={**given, "transform": {"flip": False}, **over})


def test_rows_of_one_column_are_told_apart_by_their_labels(tmp_path: Path) -> None:
    path = tmp_path / "zoo.parquet"
    kinds = ["cat", "dog", "cow", "cat", "dog", "cat"]
    write_table(path, {"image": cells(0, 6), "kind": kinds}, kind=Value("string"))
    options: dict[str, Any] = {"source": str(path), "cache": str(tmp_path / "cache"), "transform": PLAIN}
    three: dict[str, str | Part] = {word: Part(value=word) for word in ("cat", "dog", "cow")}
    data = hub(domains=three, by="kind", paired=False, **options)
    assert {key: len(names) for key, names in data.inventory().items()} == {"cat": 3, "dog": 2, "cow": 1}  # type: ignore[union-attr]
    streamed = hub(domains=three, by="kind", paired=False, streaming=True, samples=4, **options)
    assert torch.equal(streamed[0]["cow"], data[0]["cow"])
    bad: list[tuple[dict[str, Any], str]] = [
        ({"domains": {"cat": Part(value="cat")}}, "there is only 'cat'"),
        ({"domains": three, "by": "kind"}, "hold no pairs: set paired to false"),
        ({"domains": three, "paired": False}, "'value' of each domain"),
        ({"domains": {**three, "cow": "image"}, "by": "kind", "paired": False}, "'value' of each domain"),
        ({"domains": three, "values": ("cat", "dog")}, "give either 'domains' or 'values', not both"),
        ({"domains": {**three, "cow": Part(value="cwo")}, "by": "kind", "paired": False}, "Did you mean 'cow'"),
        ({"domains": {"x": "imge", "y": "image"}}, "no column 'imge'. Did you mean 'image'"),
        ({"domains": {"x": "image", "y": "image"}}, "'x' and 'y' have the same pictures"),
        (
            {"domains": three, "by": "kind", "paired": False, "labels": "dgo"},
            "labels: there is no domain 'dgo'. Did",
        ),
    ]
    for given, says in bad:
        with pytest.raises(UserError, match=says):
            hub(**options, **given)


class Seen:
    """Stripes with a class id and a map of instance numbers beside them."""

    def __init__(self) -> None:
        self.stripes = toy.Stripes()
        self.domains, self.paired = self.stripes.domains, True

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        beside = {"id": torch.tensor(index), "instances": torch.full((1, 16, 16), index), "boxes": torch.rand(index, 4)}
        return {"id": beside.pop("id"), **self.stripes[index], **beside}


class Wanting(toy.ToyLoss):
    """Toy's loss that wants entries, and keeps the keys of what it gets."""

    got: ClassVar[list[set[str]]] = []

    def __init__(self, *, wants: list[str] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.needs = replace(self.needs, wants=frozenset(wants or ()))

    def translate(self, G: Generator, batch: Batch) -> Images:
        self.got.append(set(batch))
        if "id" in batch:
            assert batch["id"].shape == (2,)
        if "instances" in batch:
            assert torch.equal(batch["instances"][:, 0, 0, 0], batch["id"])
        return super().translate(G, batch)


@hookimpl
def register_datasets() -> dict[str, Any]:
    return {"seen": Seen}


@hookimpl
def register_losses() -> dict[str, Any]:
    def factory(*, domains: Any, wants: list[str] | None = None) -> nn.Module:
        return Wanting(domains=domains, wants=wants)

    return {"wanting": factory}


@pytest.fixture
def plugins() -> Registry:
    Wanting.got.clear()
    return toy.registry(here=sys.modules[__name__])


def test_entries_reach_the_loss_that_wants_them_and_no_other(plugins: Registry, tmp_path: Path) -> None:
    text = toy.RECIPE.replace("{name: stripes}", "{name: seen}").replace("loss: {name: toy}", "loss: LOSS")
    with pytest.raises(
        UserError, match=r"a sample of dataset 'seen' has no 'ids', which loss 'wanting' wants. It has: id, a, b."
    ):
        toy.trained(tmp_path, text=text.replace("LOSS", "{name: wanting, wants: [ids, id]}"), plugins=plugins)
    both = "[{name: wanting, wants: [instances, id]}, {name: wanting}, {name: toy}]"
    run = toy.trained(tmp_path, "train.steps=2", "train.channels_last=true", text=text.replace("LOSS", both), plugins=plugins)
    assert run.step == 2
    assert Wanting.got == [{"a", "b", "id", "instances"}, {"a", "b"}] * 3  # rehearsed, and two steps


def test_pictures_of_other_keys_are_not_missing_in_silence(plugins: Registry) -> None:
    data = SeededDataset(Seen(), 0, frozenset({"id"}))
    assert list(data[0, 3]) == ["id", "a", "b"]
    batch = next(batches(Seen(), BatchOrder(10, 2, 0), device=torch.device("cpu"), wants=frozenset({"id"})))
    assert {key: tuple(value.shape) for key, value in batch.items()} == {"id": (2,), "a": (2, 3, 16, 16), "b": (2, 3, 16, 16)}
    with pytest.raises(UserError, match="those of 'boxes' are"):
        next(batches(Seen(), BatchOrder(10, 2, 0), device=torch.device("cpu"), wants=frozenset({"boxes"})))


def test_generators_by_direction_are_named_by_longer_keys_too(plugins: Registry, tmp_path: Path) -> None:
    text = toy.RECIPE.replace("generator: {name: toy}", "generator: {ink_flat: {name: toy}, flat_ink: {name: toy}}")
    recipe = toy.recipe(tmp_path, text=text, plugins=plugins)
    stripes = toy.Stripes().domains
    domains = {"ink": stripes["a"], "flat": stripes["b"]}
    made = build_generator(recipe, plugins, domains, (("ink", "flat"), ("flat", "ink")), dict.fromkeys(domains, (8, 8)))
    assert made(torch.zeros(1, 3, 8, 8), "flat", "ink").image.shape == (1, 3, 8, 8)
    origins = {key: Origin("toy", "toys", "", {}) for key in ("ink_flat", "flat_ink")}
    save_model(tmp_path / "m", made, origins, domains=domains, directions=(("ink", "flat"), ("flat", "ink")))
    again = load_model(tmp_path / "m", registry=plugins).module
    assert list(again.state_dict()) == list(made.state_dict())
    with pytest.raises(UserError, match=r"generator.ink_flat: the loss needs the directions ab, ba"):
        build_generator(recipe, plugins, stripes, (("a", "b"), ("b", "a")), {})
