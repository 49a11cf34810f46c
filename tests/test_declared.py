"""Commands and sections that plugins declare: called, listed, refused; nothing is imported before it is needed."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from rich.console import Console

import i2i_metrics
import toy
from i2i import declared
from i2i.errors import UserError
from i2i.recipe import load_recipe, recipe_of
from i2i.recipe.plugin_sections import Absent
from i2i.registry import Registry, hookimpl
from i2i.testing.schema import recipe_schema
from i2i.training.dry_run import dry_run
from terminal import call

REGISTRY = Registry(plugins={"toys": toy, "metrics": i2i_metrics})
COMMANDS = '''
"""What a plugin's author writes."""
import typer
from typing import Annotated

def greet(name: Annotated[str, typer.Argument(help="Who.")], times: int = 1) -> None:
    """Greet somebody. More is said here.

    And here.
    """
    typer.echo(f"hello {name} " * times)

def odd(what: "Missing") -> None:
    """Typer cannot make a command of this."""

tree = typer.Typer(help="A tree of commands.")

@tree.command()
def leaf() -> None:
    print("a leaf")

@tree.command()
def root() -> None:
    print("a root")
'''
SECTION = '''
from typing import Annotated, Literal
from i2i.recipe.sections import Check, Section
from i2i.recipe.components import Component

class Drawn(Section):
    """How it is drawn."""
    ink: Literal["black", "blue"] = "black"
    """The colour."""
    metric: Component = Component(name="l1")
    strokes: list[int] = []

    def resolved(self, check: Check) -> "Drawn":
        return self.model_copy(update={"metric": check("metric", self.metric, "metric")})

number = 3
'''


def install(
    folder: Path, distribution: str, sources: dict[str, str], commands: str = "", sections: str = "", hooks: str = ""
) -> None:
    """A distribution in *folder* as pip leaves it, with these modules in a package of its name."""
    info = folder / f"{distribution}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    groups = {"i2i": hooks, "i2i.commands": commands, "i2i.sections": sections}
    (info / "entry_points.txt").write_text("".join(f"[{group}]\n{lines}\n" for group, lines in groups.items()))
    package = folder / distribution
    package.mkdir()
    (package / "__init__.py").write_text("")
    for name, source in sources.items():
        (package / f"{name}.py").write_text(source)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for distributions, first on sys.path."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.delenv(declared.DISABLE, raising=False)
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    declared.all_points.cache_clear()
    yield folder
    declared.all_points.cache_clear()
    for name in set(sys.modules) - before:
        if name.startswith("drawer"):
            del sys.modules[name]


def test_a_command_is_listed_by_its_docstring_and_called(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = "greet = drawer.commands:greet\ntree = drawer.commands:tree\ndata greet = drawer.commands:greet\n"
    install(site, "drawer", {"commands": COMMANDS}, lines)
    assert call(monkeypatch, "--help") == 0
    shown = capsys.readouterr().out
    assert "  greet      Greet somebody." in shown
    assert "  tree       A tree of commands." in shown
    assert "check, greet, pack" in shown
    assert "drawer.commands" not in sys.modules
    assert call(monkeypatch, "greet", "ann", "--times", "2") == 0
    assert capsys.readouterr().out == "hello ann hello ann \n"
    assert call(monkeypatch, "data", "greet", "ben") == 0
    assert call(monkeypatch, "tree", "leaf") == 0
    assert capsys.readouterr().out == "hello ben \na leaf\n"
    assert call(monkeypatch, "greet", "--help") == 0
    assert "[default: 1]" in capsys.readouterr().out
    assert call(monkeypatch, "gret") == 2
    assert "Did you mean 'greet'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("lines", "arguments", "message"),
    [
        ("greet = drawer.nowhere:greet", ["greet"], "the command 'greet' of the plugin 'drawer' (drawer) cannot be imported"),
        ("greet = drawer.broken:greet", ["greet"], "ZeroDivisionError"),
        ("greet = drawer.commands:missing", ["greet"], "has no attribute 'missing'"),
        ("greet = drawer.commands:odd", ["greet", "x"], "must be a function with typer's annotations"),
        ("greet = drawer.commands", ["greet", "x"], "must be a function with typer's annotations"),
    ],
)
def test_only_a_broken_command_fails(
    lines: str,
    arguments: list[str],
    message: str,
    site: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install(site, "drawer", {"commands": COMMANDS, "broken": "1 / 0"}, lines)
    assert call(monkeypatch, "--help") == 0
    assert "  greet" in capsys.readouterr().out
    assert call(monkeypatch, *arguments) == 2
    assert message in capsys.readouterr().err
    assert call(monkeypatch, "schema") == 0


def test_two_plugins_with_one_command(site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    install(site, "drawer", {"commands": COMMANDS}, "greet = drawer.commands:greet\nrun = drawer.commands:greet")
    install(site, "drawer2", {"commands": COMMANDS}, "greet = drawer2.commands:greet")
    assert call(monkeypatch, "--help") == 0
    shown = capsys.readouterr().out
    assert "Declared by the plugins 'drawer' and 'drawer2'." in shown
    assert "  run        Train a recipe." in shown  # the core's own commands win
    assert call(monkeypatch, "greet", "ann") == 2
    said = capsys.readouterr().err
    assert "by the plugin 'drawer' (drawer) and the plugin 'drawer2' (drawer2)" in said
    monkeypatch.setenv(declared.DISABLE, "drawer2")
    assert call(monkeypatch, "greet", "ann") == 0


def test_what_is_disabled_is_named(site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    install(site, "drawer", {"commands": COMMANDS}, "greet = drawer.commands:greet")
    monkeypatch.setenv(declared.DISABLE, "all")
    assert call(monkeypatch, "--help") == 0
    shown = capsys.readouterr().out
    assert ("greet" in shown, "  translate" in shown, "  plugins" in shown) == (False, False, True)
    assert call(monkeypatch, "greet", "ann") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "the command 'greet' belongs to the plugin 'drawer' (drawer), which I2I_DISABLE_PLUGINS turns off" in said
    assert call(monkeypatch, "translate", "x", "y") == 2
    assert "the plugin 'translate' (i2i-framework)" in " ".join(capsys.readouterr().err.split())


def recipe(folder: Path, section: str) -> Path:
    """A recipe of toys with one more section."""
    text = "dataset: {name: stripes}\ngenerator: {name: toy}\nloss: {name: toy}\n"
    path = folder / "recipe.yaml"
    path.write_text(text + section + "\n")
    return path


def test_a_section_is_checked_kept_and_described(site: Path, tmp_path: Path) -> None:
    install(site, "drawer", {"section": SECTION}, sections="drawn = drawer.section:Drawn")
    registry = REGISTRY
    found = load_recipe(recipe(tmp_path, "drawn: {ink: blue, metric: {name: psnr}}"), ["drawn.strokes=[1, 2]"], registry)
    assert (found.section("drawn").ink, found.section("drawn").strokes) == ("blue", [1, 2])
    assert yaml.safe_load(found.to_yaml())["drawn"] == {"ink": "blue", "metric": {"name": "psnr"}, "strokes": [1, 2]}
    again = tmp_path / "again.yaml"
    again.write_text(found.to_yaml())
    assert load_recipe(again, [], registry) == found
    assert load_recipe(recipe(tmp_path, "drawn: null"), [], registry).section("drawn") is None
    assert load_recipe(recipe(tmp_path, "drawn: {}"), [], registry).section("drawn").ink == "black"
    described = recipe_schema(registry)["properties"]["drawn"]["anyOf"][0]
    assert described["properties"]["ink"]["description"] == "The colour."
    json.dumps(described)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("drawn: {inc: blue}", "recipe.yaml:4:9: drawn.inc: unknown key. Did you mean 'ink'?"),
        ("drawn: {ink: blu}", "recipe.yaml:4:14: drawn.ink: must be one of 'black' or 'blue'"),
        ("drawn: 3", "recipe.yaml:4:8: drawn: must be a mapping"),
        ("drawn: {metric: {name: psnrr}}", "recipe.yaml:4:24: drawn.metric.name: there is no metric 'psnrr'"),
        ("drwn: {ink: blue}", "recipe.yaml:4:1: drwn: unknown key. Did you mean 'drawn'?"),
        (
            "xyz: 1",
            "xyz: unknown key. The keys are: dataset, generator, discriminator, loss, train, samples, checkpoint, log, drawn",
        ),
        ("sections: {}", "recipe.yaml:4:1: sections: unknown key."),
        (
            "number: {}",
            "number: the section 'number' of the plugin 'drawer' (drawer): 'drawer.section:number' is not a Section",
        ),
        ("lost: {}", "lost: the section 'lost' of the plugin 'drawer' (drawer) cannot be imported"),
        (
            "twice: {}",
            "twice: the section 'twice' is declared by the plugin 'drawer' (drawer) and the plugin 'drawer2' (drawer2)",
        ),
    ],
)
def test_a_mistake_in_a_section_has_its_place(section: str, message: str, site: Path, tmp_path: Path) -> None:
    names = {"drawn": "Drawn", "number": "number", "lost": "Lost", "twice": "Drawn"}
    lines = "\n".join(f"{name} = drawer.section:{target}" for name, target in names.items())
    install(site, "drawer", {"section": SECTION}, sections=lines)
    install(site, "drawer2", {"section": SECTION}, sections="twice = drawer2.section:Drawn")
    with pytest.raises(UserError) as refused:
        load_recipe(recipe(tmp_path, section), [], REGISTRY)
    assert message in str(refused.value)


def test_a_section_without_its_plugin(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe that names it is refused; a model that was trained with it still says what it was trained with."""
    install(site, "drawer", {"section": SECTION}, sections="drawn = drawer.section:Drawn")
    found = load_recipe(recipe(tmp_path, "drawn: {ink: blue}"), [], REGISTRY)
    saved = found.model_dump(mode="json")
    assert recipe_of(saved) == found
    monkeypatch.setenv(declared.DISABLE, "drawer")
    with pytest.raises(UserError, match=r"drawn: this section belongs to the plugin 'drawer' \(drawer\), which I2I_DISABLE"):
        load_recipe(tmp_path / "recipe.yaml", [], REGISTRY)
    kept = recipe_of(saved)
    assert isinstance(kept.section("drawn"), Absent)
    assert kept.model_dump(mode="json") == saved
    monkeypatch.syspath_prepend(tmp_path)  # uninstalled
    sys.path.remove(str(site))
    declared.all_points.cache_clear()
    with pytest.raises(UserError, match=r"drawn: unknown key\. .* install that plugin"):
        load_recipe(tmp_path / "recipe.yaml", [], REGISTRY)
    assert recipe_of(saved).model_dump(mode="json") == saved


def test_a_section_whose_plugin_would_not_see_it_is_refused(site: Path, tmp_path: Path) -> None:
    install(site, "drawer", {"section": SECTION}, sections="drawn = drawer.section:Drawn", hooks="ink = drawer")
    found = load_recipe(recipe(tmp_path, "drawn: {}"), ["loss.adversarial=false", "train.steps=9"], REGISTRY)
    broken = Registry(plugins={"toys": toy, "metrics": i2i_metrics, "ink": object()})
    loaded = Registry(plugins={"toys": toy, "metrics": i2i_metrics, "any name": hooked("drawer")})
    for registry, why in ((REGISTRY, "is not in the registry"), (broken, r"failed to load \(it implements no hook: .*\)")):
        with pytest.raises(UserError, match=rf"^drawn: this section belongs to the plugin 'ink' \(drawer\), which {why}, so"):
            dry_run(found, tmp_path / "run", registry, False, Console(quiet=True))
    dry_run(found, tmp_path / "run", loaded, False, Console(quiet=True))


def hooked(name: str) -> ModuleType:
    """A plugin that is a module of that name, with one hook."""
    module = ModuleType(name)
    vars(module)["run_started"] = hookimpl(lambda run: None)
    return module


def test_a_misspelt_key_of_a_section_needs_no_torch(tmp_path: Path) -> None:
    path = recipe(tmp_path, "evaluate: {metrix: [psnr]}")
    code = f"""
import sys
from i2i.cli import main
sys.argv = ["i2i", "run", {str(path)!r}]
try:
    main()
except SystemExit as ended:
    assert ended.code == 2
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "recipe.yaml:4:12: evaluate.metrix: unknown key. Did you mean 'metrics'?" in done.stderr
