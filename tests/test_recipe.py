"""Recipes: every bad input with its place, and the round trip of the good ones."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field

import terminal
from i2i.building.nested import changes
from i2i.errors import UserError
from i2i.recipe import Recipe, load_recipe
from i2i.recipe.components import Component
from i2i.registry import Registry, hookimpl
from i2i.testing.schema import recipe_schema

Size = Annotated[int, Field(ge=1, le=512)]


def generator(
    *, domains: Any, directions: Any, channels: Size = 64, norm: Literal["instance", "batch"] = "instance",
    sizes: tuple[float, ...] = (1, 2), note: str | None = None, any_of: int | Literal["auto"] = "auto",
) -> None: ...  # fmt: skip
def discriminator(*, domains: Any, conditions: Any, scales: int = 3) -> None: ...
def loss(*, domains: Any, cycle: float = 10.0) -> None: ...
def dataset(*, a: str, paired: bool = False, split: Literal["train", "test"] = "train") -> None: ...
def untyped(*, width=1): ...  # type: ignore[no-untyped-def]


class Fake:
    """One component of each kind."""

    @hookimpl
    def register_generators(self) -> dict[str, Any]:
        return {"gen": generator, "untyped": untyped, "lost": "no_such_module:x"}

    @hookimpl
    def register_discriminators(self) -> dict[str, Any]:
        return {"disc": discriminator}

    @hookimpl
    def register_losses(self) -> dict[str, Any]:
        return {"los": loss}

    @hookimpl
    def register_datasets(self) -> dict[str, Any]:
        return {"data": dataset}


REGISTRY = Registry(plugins=[Fake()])
GOOD = "dataset: {name: data, a: no}\ngenerator:\n  name: gen\nloss: {name: los}\ntrain:\n  steps: 5\n"


def load(folder: Path, text: str | bytes, *overrides: str) -> Recipe:
    path = folder / "r.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_recipe(path, overrides, REGISTRY)


def refusal(folder: Path, text: str | bytes, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load(folder, text, *overrides)
    return str(caught.value).replace(f"{folder}/", "")


def test_defaults_are_spelled_out_and_yaml_1_2_is_read(tmp_path: Path) -> None:
    recipe = load(tmp_path, GOOD + "  generator: {lr: 1e-4}\n  ema: .999\n")
    assert recipe.dataset.options == {"a": "no", "paired": False, "split": "train"}
    assert recipe.generator.options["channels"] == 64
    assert (recipe.train.generator.lr, recipe.train.ema, recipe.train.steps) == (1e-4, 0.999, 5)
    assert recipe.train.discriminator.betas == (0.5, 0.999)
    assert recipe.discriminator is None


CASES = [
    (GOOD + "  chanels: 3\n  sed: 1\n", "r.yaml:8:3: train.sed: unknown key. Did you mean 'seed'?"),
    (GOOD + "tarin: 1\n", "r.yaml:7:1: tarin: unknown key. Did you mean 'train'?"),
    (GOOD.replace("gen\n", "gen\n  chanels: 3\n"), "r.yaml:4:3: generator.chanels: unknown key. Did you mean 'channels'?"),
    (GOOD.replace("gen\n", "gen\n  options: {channels: 3}\n"), "r.yaml:4:3: generator.options: unknown key."),
    (GOOD + "  steps: 6\n", "r.yaml:7:3: the key 'steps' is already given at r.yaml:6:3"),
    (GOOD + "  generator: {lr: 1, lr: 2}\n", "r.yaml:7:22: the key 'lr' is already given"),
    (GOOD.replace("loss: {name: los}\n", ""), "r.yaml:1:1: loss: this key is missing."),
    (GOOD.replace(", a: no", ""), "r.yaml:1:1: dataset.a: this key is missing."),
    (GOOD.replace("name: gen", "channels: 3"), "r.yaml:2:1: generator.name: this key is missing."),
    (
        GOOD.replace("5", "five"),
        "r.yaml:6:10: train.steps: must be a whole number, or a length such as '2 epochs', not the text",
    ),
    (GOOD.replace("5", "true"), "train.steps: must be a whole number, not true."),
    (GOOD.replace("5", "0"), "r.yaml:6:10: train.steps: must be at least 1, not 0."),
    (GOOD + "  ema: 1\n", "train.ema: must be less than 1.0, not 1."),
    (GOOD + "  generator: {lr: .inf}\n", "r.yaml:7:19: train.generator.lr: must be a finite number"),
    (
        GOOD + "  start: {generator: x, mising: allow}\n",
        "r.yaml:7:25: train.start.mising: unknown key. Did you mean 'missing'?",
    ),
    (GOOD + "  start: 3\n", "train.start: must be text, not 3."),
    (GOOD + "  generator: {betas: [1]}\n", "train.generator.betas.1: this item is missing."),
    (
        GOOD + "  precision: fp61\n",
        "'fp16' or 'auto', not the text 'fp61'. Did you mean 'fp16'?",
    ),
    (GOOD + "  schedule: {name: cosine, every: 3}\n", "train.schedule: the schedule 'cosine' has no option 'every'."),
    (GOOD.replace("no}", "no, paired: no}"), "dataset.paired: must be true or false, not the text 'no'."),
    (GOOD.replace("gen\n", "gen\n  channels: 600\n"), "r.yaml:4:13: generator.channels: must be at most 512, not 600."),
    (GOOD.replace("gen\n", "gen\n  any_of: x\n"), "r.yaml:4:11: generator.any_of: must be a whole number"),
    (GOOD.replace("gen\n", "gen\n  norm: bach\n"), "generator.norm: must be one of 'instance' or 'batch'"),
    (GOOD.replace("gen\n", "gne\n"), "r.yaml:3:9: generator.name: there is no generator 'gne'. Did you mean 'gen'?"),
    (GOOD.replace("gen\n", "los\n"), "r.yaml:3:9: generator.name: there is no generator 'los'. 'los' is a loss."),
    (GOOD.replace("gen\n", "lost\n"), "generator.name: the generator 'lost' of the plugin 'Fake' cannot be imported"),
    (GOOD.replace("gen\n", "untyped\n"), "generator.name: generator 'untyped': the option 'width' has no type"),
    (GOOD.replace("{name: los}", "los"), "loss: must be a mapping, not the text 'los'. Write {name: …}."),
    (GOOD + "samples: {dataset: {split: tset}}\n", "samples.dataset.split: must be one of 'train' or 'test'"),
    (GOOD + "samples: {dataset: {splt: test}}\n", "r.yaml:7:21: samples.dataset.splt: unknown key. Did you mean 'split'?"),
    ("", "r.yaml is empty."),
    ("# only a comment\n", "r.yaml is empty."),
    ("- a\n", "r.yaml:1:1: the top level must be a mapping (key: value), not a list."),
    ("a: [1\nb: 2\n", "r.yaml:2:2: this is not YAML: "),
    ("\ta: 1\n", "r.yaml:1:1: this is not YAML: "),
    ("a: 1\n---\nb: 1\n", "r.yaml:2:1: this is not YAML: expected a single document"),
    ("a: *b\n", "r.yaml:1:4: this is not YAML: found undefined alias"),
    ("a: &b [*b]\n", "r.yaml:1:4: an alias refers to the value that contains it."),
    ("a: !!python/object:os.x {}\n", "r.yaml:1:4: the tag"),
    ("1: a\n", "r.yaml:1:1: a key must be text, not 1."),
    ("[" * 3000, "r.yaml:1:51: values more than 50 levels deep are not read."),
    ("a: \0", "r.yaml: this is not YAML: "),
    (b"a: 1\nb: \xff\n", "r.yaml:2: the file is not UTF-8 text."),
]


@pytest.mark.parametrize(("text", "part"), CASES)
def test_a_bad_recipe(tmp_path: Path, text: str | bytes, part: str) -> None:
    assert part in refusal(tmp_path, text)


def test_aliases_that_multiply_are_stopped(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "more than 20000 values" in refusal(tmp_path, "\n".join(lines))


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    text = refusal(tmp_path, GOOD.replace("5", "x") + "  ema: 2\nlogs: {}\n")
    assert [line.split(": ")[1] for line in text.splitlines()] == ["train.steps", "train.ema", "logs"]
    text = refusal(tmp_path, GOOD.replace("los}", "los, x: 1}").replace("gen\n", "gen\n  y: 1\n"))
    assert [line.split(": ")[1] for line in text.splitlines()] == ["generator.y", "loss.x"]


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    load(tmp_path, GOOD)
    with pytest.raises(UserError, match=r"there is no file .*rr\.yaml\. Did you mean 'r\.yaml'\?"):
        load_recipe(tmp_path / "rr.yaml", [], REGISTRY)
    with pytest.raises(UserError, match="no file"):
        load_recipe(tmp_path / "nowhere" / "r.yaml", [], REGISTRY)
    with pytest.raises(UserError, match="is a folder, not a recipe: give the path of a YAML file"):
        load_recipe(tmp_path, [], REGISTRY)
    (tmp_path / "recipe.yaml").touch()
    with pytest.raises(UserError, match=r"is a folder, not a recipe: give \S*recipe.yaml\.$"):
        load_recipe(tmp_path, [], REGISTRY)


def test_overrides(tmp_path: Path) -> None:
    arguments = ["train.steps=7", "train.generator.betas=[0, 0.9]", "train.generator.betas.0=0.1", "discriminator.name=disc"]
    recipe = load(tmp_path, GOOD, *arguments, "generator.note=a=b", "samples.dataset.split=test")
    assert (recipe.train.steps, recipe.train.generator.betas) == (7, (0.1, 0.9))
    assert recipe.discriminator is not None
    assert recipe.discriminator.options == {"scales": 3}
    assert recipe.generator.options["note"] == "a=b"
    assert recipe.samples.dataset == {"split": "test"}


@pytest.mark.parametrize(
    ("argument", "part"),
    [
        ("train.steps", "--set train.steps: write KEY=VALUE"),
        ("=3", "--set =3: write KEY=VALUE"),
        ("train..steps=3", "--set train..steps=3: write KEY=VALUE"),
        ("train.steps.x=3", "--set train.steps.x=3: 'train.steps' is 5, so there is no 'train.steps.x'."),
        ("train.steps=[1", "--set train.steps=[1: this is not YAML: "),
        (
            "train.steps=x",
            "--set train.steps=x: train.steps: must be a whole number, or a length such as '2 epochs', not the",
        ),
        ("train.stesp=3", "--set train.stesp=3: train.stesp: unknown key. Did you mean 'steps'?"),
        ("trian.steps=3", "--set trian.steps=3: trian: unknown key. Did you mean 'train'?"),
        ("generator.chanels=3", "--set generator.chanels=3: generator.chanels: unknown key. Did you mean 'channels'?"),
        ("loss.name=", "--set loss.name=: loss.name: must be text, not nothing (null)."),
    ],
)
def test_a_bad_override(tmp_path: Path, argument: str, part: str) -> None:
    assert part in refusal(tmp_path, GOOD, argument)


def test_an_override_of_a_missing_list_item(tmp_path: Path) -> None:
    assert "there is no item '5'" in refusal(tmp_path, GOOD + "  generator: {betas: [0, 0]}\n", "train.generator.betas.5=1")


TRICKY = st.one_of(st.text(), st.sampled_from(["no", "on", "1e-4", "1_000", "010", "null", "~", "2020-01-01", "=", "<<"]))
SCHEDULES = st.one_of(
    st.builds(lambda name, warmup: {"name": name, "warmup": warmup}, st.sampled_from(["constant", "cosine"]), st.integers(0)),
    st.builds(lambda every: {"name": "step", "every": every}, st.integers(1)),
    st.builds(lambda share: {"name": "constant_then_linear", "constant": share}, st.floats(0, 1)),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    note=TRICKY,
    sizes=st.lists(st.floats(allow_nan=False)),
    lr=st.floats(0, exclude_min=True, allow_infinity=False),
    schedule=SCHEDULES,
    ema=st.none() | st.floats(0, 1, exclude_max=True),
)
def test_a_resolved_recipe_loads_again_as_itself(
    tmp_path: Path, note: str, sizes: list[float], lr: float, schedule: dict[str, Any], ema: float | None
) -> None:
    data = {
        "dataset": {"name": "data", "a": note},
        "generator": {"name": "gen", "note": note, "sizes": sizes},
        "loss": {"name": "Fake:los"},
        "train": {"generator": {"lr": lr}, "schedule": schedule, "ema": ema},
        "samples": {"dataset": {"a": note}},
    }
    first = load(tmp_path, Recipe.model_validate(data).to_yaml())
    assert first.generator.options["note"] == note
    assert first.generator.options["sizes"] == tuple(sizes)
    assert load(tmp_path, first.to_yaml()) == first
    assert Recipe.model_validate(first.model_dump()) == first


def test_the_schema_tells_components_apart_by_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = recipe_schema(REGISTRY)
    assert found["properties"]["generator"]["anyOf"][0] == {"$ref": "#/$defs/generator"}
    (choice,) = found["$defs"]["generator"]["oneOf"]
    assert choice["properties"]["name"]["const"] == "gen"
    assert choice["properties"]["channels"]["maximum"] == 512
    assert choice["additionalProperties"] is False
    assert found["properties"]["dataset"]["$ref"] == "#/$defs/dataset"
    assert found["$defs"]["dataset"]["oneOf"][0]["required"] == ["name", "a"]
    terminal.install(monkeypatch, REGISTRY)
    assert terminal.call(monkeypatch, "schema") == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(found))


def test_the_schema_describes_every_key_of_every_section_and_component_that_is_shipped() -> None:
    found = recipe_schema()
    described = dict(keys_of(found, found["$defs"]))
    seen = {"/train", "/$defs/Optimizer/lr", "/$defs/dataset.folders.Transform/crop", "/$defs/loss/oneOf/cyclegan/pool"}
    assert seen <= set(described)
    assert [key for key, there in described.items() if not there] == []


def keys_of(schema: Any, definitions: dict[str, Any], place: str = "") -> Iterator[tuple[str, bool]]:
    """Every key by its place in the schema, and whether it, or what it refers to, is described."""
    if isinstance(schema, list):
        schema = {value.get("title", i) if isinstance(value, dict) else i: value for i, value in enumerate(schema)}
    for key, value in schema.get("properties", {}).items() if isinstance(schema, dict) else ():
        parts = [value, *value.get("anyOf", [])]
        referred = [definitions[part["$ref"].rpartition("/")[2]] for part in parts if "$ref" in part]
        yield f"{place}/{key}", any(part.get("description") for part in [value, *referred])
    for key, value in schema.items() if isinstance(schema, dict) else ():
        yield from keys_of(value, definitions, place if key == "properties" else f"{place}/{key}")


def test_a_bad_key_is_refused_without_torch_and_without_plugins(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(GOOD + "  stpes: 3\n")
    code = (
        "import sys\nfrom i2i.recipe import load_recipe\nfrom i2i.errors import UserError\n"
        "try:\n    load_recipe(sys.argv[1])\nexcept UserError as error:\n    print(error)\n"
        "print([name for name in ('torch', 'timm', 'numpy', 'PIL', 'rich') if name in sys.modules])\n"
        "from i2i.registry import default_registry\nprint(default_registry.cache_info().misses)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert "train.stpes: unknown key. Did you mean 'steps'?" in done.stdout
    assert done.stdout.splitlines()[-2:] == ["[]", "0"]


def test_what_differs_is_shown_by_its_path() -> None:
    before = {"loss": [{"name": "a"}, {"name": "b", "weight": 1}], "train": {"clip": None, "betas": [0.5, 0.9]}, "x": 1}
    after = {"loss": [{"name": "a"}, {"name": "b", "weight": 2}], "train": {"clip": 1.0, "betas": [0.5]}, "x": 1}
    assert changes(before, after) == ["loss.1.weight: 1 → 2", "train.clip: null → 1.0", "train.betas: [0.5, 0.9] → [0.5]"]
    one, each = Component(name="a", options={"width": 2}), {"ab": Component(name="a")}
    assert changes(one, each, "generator") == [
        "generator.name: a → null",
        "generator.width: 2 → null",
        'generator.ab: null → {"name": "a"}',
    ]
