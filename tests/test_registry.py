"""Plugins: loading, isolation, look-up; and that the core knows none of them."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import i2i.registry
from i2i.errors import UserError
from i2i.registry import CONTRACT, DISABLE, Registry, hookimpl

CORE = Path(i2i.registry.__file__).parent


class Good:
    """A plugin in order."""

    __version__ = "1.2"
    seen: list[Any]

    @hookimpl
    def register_generators(self) -> dict[str, Any]:
        return {"painter": dict, "lost": "no_such_module:Thing", "lazy": "collections:OrderedDict", "odd": "sys:maxsize"}

    @hookimpl
    def register_losses(self) -> dict[str, Any]:
        return {"plain": dict}

    @hookimpl
    def step_ended(self, run: Any) -> None:
        run.append("step")


class Other:
    """A plugin that offers a name that Good has too."""

    @hookimpl
    def register_generators(self) -> dict[str, Any]:
        return {"painter": list}


class Misspelt:
    """A plugin with a misspelt hook, and one event that must not survive it."""

    @hookimpl
    def register_genrators(self) -> dict[str, Any]:
        return {}

    @hookimpl
    def step_ended(self, run: Any) -> None:
        run.append("broken")


def returning(value: object) -> object:
    """A plugin whose hook returns *value*."""

    class Returning:
        @hookimpl
        def register_metrics(self) -> object:
            return value

    return Returning()


def message(registry: Registry, kind: str, name: str) -> str:
    with pytest.raises(UserError) as caught:
        _ = registry.get(kind, name).factory
    return str(caught.value)


def test_names_entries_and_lazy_factories() -> None:
    registry = Registry(plugins=[Good()])
    assert registry.names("generator") == ["lazy", "lost", "odd", "painter"]
    assert registry.names("metric") == []
    assert registry.get("generator", "painter").version == "1.2"
    assert registry.get("generator", "lazy").factory.__name__ == "OrderedDict"
    assert [entry.name for entry in registry.entries("loss")] == ["plain"]


def test_a_factory_that_cannot_be_imported_names_plugin_component_and_cause() -> None:
    registry = Registry(plugins={"good": Good()})
    text = message(registry, "generator", "lost")
    assert "generator 'lost' of the plugin 'good'" in text
    assert "No module named 'no_such_module'" in text
    with pytest.raises(UserError) as caught:
        _ = registry.get("generator", "lost").factory
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    assert "not a class or function" in message(registry, "generator", "odd")


def test_two_plugins_with_one_component_name() -> None:
    registry = Registry(plugins={"good": Good(), "other": Other()})
    text = message(registry, "generator", "painter")
    assert "'good' and 'other'" in text
    assert "'good:painter' or 'other:painter'" in text
    assert registry.get("generator", "other:painter").factory is list
    assert registry.get("loss", "plain").plugin == "good"
    assert "is offered by 'good' and 'other'" in message(registry, "generator", "nobody:painter")


def test_an_unknown_name_gets_the_nearest_the_list_and_the_broken_plugins() -> None:
    registry = Registry(plugins=[Good(), Misspelt()])
    text = message(registry, "generator", "paintr")
    assert "there is no generator 'paintr'. Did you mean 'painter'?" in text
    assert "Generators: lazy, lost, odd, painter." in text
    assert "failed to load: Misspelt (there is no hook" in text
    assert "No plugin offers datasets." in message(registry, "dataset", "x")
    assert "Did you mean 'generator'?" in message(registry, "generater", "x")


def test_a_component_of_another_kind_is_named() -> None:
    assert "'plain' is a loss." in message(Registry(plugins=[Good()]), "generator", "plain")


def test_a_misspelt_hook_breaks_only_its_plugin() -> None:
    registry = Registry(plugins=[Misspelt(), Good()])
    (broken,) = registry.broken
    assert broken.plugin == "Misspelt"
    assert "there is no hook 'register_genrators'. Did you mean 'register_generators'?" in broken.reason
    run: list[str] = []
    registry.hook.step_ended(run=run)
    assert run == ["step"]


@pytest.mark.parametrize(
    ("value", "part"),
    [
        (["a"], "register_metrics returned list, not a dict"),
        (None, None),
        ({1: dict}, "returned 1 as a name"),
        ({"a:b": dict}, "without ':'"),
        ({"a": 3}, "neither a factory nor 'module:object'"),
    ],
)
def test_a_hook_that_returns_nonsense(value: object, part: str | None) -> None:
    (broken,) = Registry(plugins=[returning(value)]).broken
    assert (part or "returned NoneType, not a dict") in broken.reason


def test_a_plugin_without_hooks_and_one_with_a_wrong_argument() -> None:
    class Wrong:
        @hookimpl
        def step_ended(self, rn: Any) -> None: ...

    empty, wrong = Registry(plugins=[SimpleNamespace(), Wrong()]).broken
    assert "mark its functions with @hookimpl" in empty.reason
    assert "'rn'" in wrong.reason


def test_a_plugin_for_another_contract_is_refused() -> None:
    old, new = Good(), Good()
    old.I2I_CONTRACT, new.I2I_CONTRACT = CONTRACT, CONTRACT + 1  # type: ignore[attr-defined]
    assert Registry(plugins={"old": old}).broken == []
    (broken,) = Registry(plugins={"new": new}).broken
    assert f"written for version {CONTRACT + 1} of the contract, newer than this i2i's version {CONTRACT}" in broken.reason


def test_one_module_under_two_names() -> None:
    plugin = Good()
    registry = Registry(plugins={"one": plugin, "two": plugin})
    assert "same module as the plugin 'one'" in registry.broken[0].reason
    assert registry.get("generator", "painter").plugin == "one"


PLUGIN = """
from i2i.registry import hookimpl
@hookimpl
def register_losses():
    return {"from_disk": dict}
"""


def install(folder: Path, dist: str, points: dict[str, str]) -> None:
    """A distribution as a folder on sys.path would have it; the keys are plugins, the values their source."""
    info = folder / f"{dist}-3.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 3.1\n")
    modules = {name: f"i2i_test_{dist}_{name}" for name in points}
    lines = [f"{name} = {module}" for name, module in modules.items()]
    (info / "entry_points.txt").write_text("\n".join(["[i2i]", *lines, ""]))
    for name, source in points.items():
        (folder / f"{modules[name]}.py").write_text(source)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for distributions, first on sys.path."""
    monkeypatch.delenv(DISABLE, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("i2i_test_"):
            del sys.modules[name]


def test_entry_points_load_each_on_its_own(site: Path) -> None:
    points = {"disk": PLUGIN, "raises": "1 / 0", "quits": "raise SystemExit(3)", "typo": "import nump_y"}
    install(site, "first", points)
    registry = Registry()
    entry = registry.get("loss", "from_disk")
    assert (entry.plugin, entry.version) == ("disk", "3.1")
    reasons = {broken.plugin: broken.reason for broken in registry.broken}
    assert "ZeroDivisionError" in reasons["raises"]
    assert "SystemExit: 3" in reasons["quits"]
    assert "No module named 'nump_y'" in reasons["typo"]


def test_two_plugins_with_one_name(site: Path) -> None:
    install(site, "first", {"twin": PLUGIN})
    install(site, "second", {"twin": PLUGIN})
    registry = Registry()
    assert "another plugin is already called 'twin'" in [b.reason for b in registry.broken]
    assert registry.get("loss", "from_disk").plugin == "twin"


def test_plugins_can_be_disabled(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "first", {"disk": PLUGIN, "raises": "1 / 0"})
    monkeypatch.setenv(DISABLE, "raises, disk")
    registry = Registry()
    assert {"disk", "raises"} <= set(registry.disabled)
    install(site, "second", {"other": PLUGIN})
    monkeypatch.setenv(DISABLE, "raises, disk, other")
    assert f"Disabled by {DISABLE}: disk, raises (first); other (second)." in message(Registry(), "loss", "from_disk")
    monkeypatch.setenv(DISABLE, "all")
    assert (Registry().entries(), Registry().broken) == ([], [])


ARCHITECTURES = r"(?<![a-z])(m?unit|cyclegan|pix2pix(hd)?|spade|stargan|cut_gan)(?![a-z])"


def test_the_core_imports_no_plugin_and_names_no_architecture() -> None:
    guilty = []
    for path in sorted(CORE.rglob("*.py")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if re.search(r"\bi2i_[a-z]", line) or re.search(ARCHITECTURES, line, re.IGNORECASE):
                guilty.append(f"{path.name}:{number}: {line.strip()}")
    assert guilty == []
