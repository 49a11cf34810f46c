"""A few hundred damaged files of every kind; ``python benchmarks/fuzz.py`` tries thousands."""

import importlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import damaged
import fuzzing
import toy
from i2i.errors import UserError
from i2i.recipe import load_recipe
from i2i.translation.loading import load

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | st.dates() | st.sampled_from(damaged.ODD),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=4),
    max_leaves=8,
)
"""What YAML can hold."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # datasets leaves an odd CSV file open
def test_damaged_files_are_handled_or_refused_with_a_sentence(tmp_path: Path) -> None:
    report = fuzzing.fuzz(tmp_path, inputs=420, seed=25)
    assert report.faults == []
    assert report.inputs == 420
    assert len(report.refused) >= 11  # the others are read as far as they go
    assert len(report.handled) >= 11


def test_every_kind_reads_what_is_not_damaged(tmp_path: Path) -> None:
    for kind in fuzzing.kinds(tmp_path).values():
        place = tmp_path / kind.place
        before = place.read_bytes() if place.exists() else b""
        place.write_bytes(kind.goods[0])
        kind.reads(place)
        place.write_bytes(before)


def changed(text: bytes, place: int, value: Any) -> Any:
    """A document, one of whose values is another."""
    document = json.loads(text)
    places = list(damaged.places(document))
    holder, key = places[place % len(places)]
    holder[key] = value
    return document


def wrong(reads: Callable[[], object]) -> str:
    """What is wrong with the message, if there is one."""
    try:
        reads()
    except UserError as error:
        return fuzzing.fault_of(error)
    return ""


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 100), value=VALUES)
@example(place=0, value=10**400)
def test_any_value_at_any_place_of_a_recipe(place: int, value: Any, tmp_path: Path) -> None:
    recipe = changed(json.dumps(yaml.safe_load(toy.RECIPE)).encode(), place, value)
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(recipe, allow_unicode=True), encoding="utf-8", errors="surrogatepass")
    assert wrong(lambda: load_recipe(path, [], toy.registry())) == ""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder."""
    run = toy.trained(tmp_path_factory.mktemp("model"), "train.steps=1", out="run").out
    assert run is not None
    return run / "model"


@settings(max_examples=150)
@given(place=st.integers(0, 200), value=VALUES)
def test_any_value_at_any_place_of_a_model_s_settings(place: int, value: Any, model: Path) -> None:
    good = (model / "config.json").read_bytes()
    document = json.dumps(changed(good, place, value), default=str)
    (model / "config.json").write_text(document, encoding="utf-8", errors="surrogatepass")
    try:
        assert wrong(lambda: load(model, "cpu", registry=toy.registry(), changed=True)) == ""
    finally:
        (model / "config.json").write_bytes(good)


def test_faults_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that is no sentence, a reader that hangs, a file outside, a program, and a module by its name."""

    def reads(path: Path) -> None:
        match path.read_bytes()[:1]:
            case b"e":
                raise KeyError("x")
            case b"h":
                while True:
                    pass
            case b"w":
                path.parent.with_name("outside").write_text("")
            case b"p":
                import subprocess

                subprocess.run(["true"], check=False)
            case b"i":
                importlib.import_module(damaged.UNWANTED)

    goods = [b"e", b"h", b"w", b"p", b"i"]
    monkeypatch.setattr(fuzzing, "SECONDS", 1)
    monkeypatch.setattr(fuzzing, "kinds", lambda folder: {"x": fuzzing.Kind(goods, "x", reads)})
    monkeypatch.setattr(fuzzing, "mutated", lambda good, goods, draw, text: goods.pop())
    faults = fuzzing.fuzz(tmp_path, 5).faults
    assert [fault.split(": ")[1].split(" ")[0] for fault in faults] == [
        "it",
        "subprocess.Popen",
        "open",
        "HangError",
        "KeyError",
    ]


def test_an_input_comes_again_by_its_name() -> None:
    goods = damaged.pictures()
    first, again = (damaged.mutated(goods[0], goods, random.Random("picture 0 7"), False) for _ in range(2))
    assert first == again != goods[0]
