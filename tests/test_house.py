"""The house: which layer of the core a module stands in, and that imports go one way, inside functions and for types too."""

import ast
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path

CORE = Path(__file__).parents[1] / "core" / "i2i"

LAYERS = ("contract", "toolbox", "recipe", "building", "translation", "training", "experiment", "kit", "command line", "face")
"""Each imports only what stands before it, and what is its own."""

FOLDERS = {
    "building": "building",
    "convolutions": "toolbox",
    "experiment": "experiment",
    "objectives": "toolbox",
    "pictures": "toolbox",
    "published": "toolbox",
    "recipe": "recipe",
    "testing": "kit",
    "training": "training",
    "translation": "translation",
}
"""The layer of what lies in a folder."""

FILES = {
    "contract": "data declared errors files hooks labels protocols randomness registry stopping telemetry verdicts",
    "toolbox": "adapters allocator augmentation command_options hub init inspectable layers metrics",
    "command line": "__main__ cli command_groups",
    "face": "__init__",
}
"""The layer of each file directly in the core."""

MOST_FILES = 25
"""Directly in the core."""


def test_imports_go_one_way() -> None:
    up = {
        (module, other)
        for module, others in imports().items()
        for other in others
        if LAYERS.index(layer(other)) > LAYERS.index(layer(module))
    }
    assert up == set()


def test_there_is_no_circle() -> None:
    assert circles(imports()) == []


def test_the_training_step_needs_little() -> None:
    """Counted is what the loop imports when it is imported, and what that does."""
    start = "i2i.training.loop"
    found = {start, *_reached(imports(when_imported=True), start)}
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules().items() if name in found) <= 3000


def test_the_core_imports_no_plugin() -> None:
    plugins = {path.parent.name for path in (CORE.parents[1] / "plugins").glob("*/__init__.py")}
    found = {(path.stem, name) for path in CORE.rglob("*.py") for name in named(path) if name.partition(".")[0] in plugins}
    assert found == set()


def test_few_files_lie_directly_in_the_core() -> None:
    assert len(list(CORE.glob("*.py"))) <= MOST_FILES


def test_every_file_has_a_layer_and_every_name_of_the_table_a_file() -> None:
    assert [module for module in imports() if layer(module) not in LAYERS] == []
    assert sorted(name for names in FILES.values() for name in names.split()) == sorted(path.stem for path in CORE.glob("*.py"))


def test_a_circle_and_an_import_inside_a_function_are_seen(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "def f():\n    from i2i import errors\n    import i2i.data\n    from i2i_unit.loss import x\n"
    )
    assert named(tmp_path / "a.py") == {"i2i.errors", "i2i.data", "i2i_unit.loss.x"}
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}) == [{"b", "c"}]


def layer(module: str) -> str:
    """The layer of ``i2i.NAME`` or ``i2i.FOLDER.NAME``; empty if none is known."""
    name = "__init__" if module == "i2i" else module.split(".")[1]
    if (CORE / name).is_dir():
        return FOLDERS.get(name, "")
    return next((layer for layer, names in FILES.items() if name in names.split()), "")


@cache
def modules() -> Mapping[str, Path]:
    """The file of every module of the core."""
    paths = {".".join(("i2i", *path.relative_to(CORE).with_suffix("").parts)): path for path in CORE.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for name, path in paths.items()}


@cache
def imports(when_imported: bool = False) -> Mapping[str, set[str]]:
    """What every module of the core imports of the core, wherever the import stands; or only *when_imported* itself.

    When a module is imported, so are the packages that it lies in.
    """
    graph = {
        module: {found for name in named(path, when_imported) if (found := _module(name, modules())) and found != module}
        for module, path in modules().items()
    }
    for module in graph if when_imported else ():
        graph[module] |= {name for name in modules() if module.startswith(f"{name}.")}
    return graph


def _module(name: str, modules: Collection[str]) -> str:
    """The module that a dotted name leads to: itself, or the one that holds it; empty outside the core."""
    while name not in modules and name:
        name = name.rpartition(".")[0]
    return name


@cache
def named(path: Path, when_imported: bool = False) -> set[str]:
    """What a file imports, as dotted names: ``from a import b`` gives a.b, which is a module or stands in one."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {name for node in (tree.body if when_imported else ast.walk(tree)) for name in _named(node)}


def _named(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert not node.level, f"line {node.lineno}: imports say the whole path here"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def circles(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """The modules that reach themselves, in groups that reach each other."""
    reached = {start: _reached(graph, start) for start in graph}
    groups = [{other for other in reached[start] if start in reached[other]} for start in graph if start in reached[start]]
    return [group for place, group in enumerate(groups) if group not in groups[:place]]


def _reached(graph: Mapping[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    ahead = list(graph[start])
    while ahead:
        if (name := ahead.pop()) not in found:
            found.add(name)
            ahead += graph[name]
    return found
