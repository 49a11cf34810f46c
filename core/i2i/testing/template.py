"""``i2i plugins new``: a pip package of its own, with one component or command and a test."""

import importlib.util
import keyword
import re
from collections.abc import Collection
from pathlib import Path

from i2i.errors import UserError
from i2i.files import new_folder, write_text
from i2i.registry import KINDS as COMPONENTS
from i2i.registry import Registry
from i2i.testing.kinds import KINDS, TEST
from i2i.testing.networks import network

PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "i2i-{dashed}"
version = "0.1.0"
description = "The {kind} '{name}' for i2i"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["i2i-framework>=0.1"]

[project.optional-dependencies]
test = ["pytest"]

[project.entry-points.{group}]
{name} = "{target}"

[tool.setuptools]
packages = ["{module}"]
package-data = {{"*" = ["py.typed", "recipes/*.yaml"]}}
"""

PLUGIN = '''\
"""The {kind} '{name}'."""

from i2i.registry import hookimpl

I2I_CONTRACT = 1


@hookimpl
def register_{kinds}() -> dict[str, str]:
    return {{"{name}": "{module}.{file}:{name}"}}
'''

README = """\
# i2i-{dashed}

The {kind} `{name}` for i2i, a plugin framework for image-to-image translation.

```
pip install -e '.[test]'
{try_it}
pytest
```

{use}

Before you publish it: put your {own} into `{module}/{file}.py`, choose a licence (LICENSE), say in this file what the
{own} does and which paper it follows, and add `authors` and `license` to `pyproject.toml`.
"""

_MORE = """

Users run the recipe `{module}/recipes/NAME.yaml` with `i2i run {name}:NAME`. A command (`i2i {name}`) or a recipe section
(`{name}:`) of your own is a line in `pyproject.toml`, under `[project.entry-points."i2i.commands"]` or
`[project.entry-points."i2i.sections"]`: `{name} = "{module}.module:object"`."""

_USE = {
    "generator": "In a recipe: `generator: {{name: {name}, width: 32}}`." + _MORE,
    "metric": "In a recipe: `evaluate: {{metrics: [{name}]}}`. On a trained model: `i2i eval RUN --metrics {name}`." + _MORE,
    "objective": "In a recipe, for a loss: `loss: {{name: NAME, objective: {{name: {name}, margin: 2}}}}`." + _MORE,
    "command": "`i2i {name} RUN`",
}

LICENSE = """\
No licence has been chosen yet, so nobody but its authors may use this package. Replace this text with the licence of your
choice, and name it in pyproject.toml, for example: license = "Apache-2.0".
"""


def new_plugin(
    name: str,
    out: Path | None,
    registry: Registry,
    kind: str = "generator",
    *,
    style: bool = False,
    extras: bool = False,
    commands: Collection[str] = (),
) -> Path:
    """Write the package into the folder *out* (default: i2i-NAME) and return the folder.

    A generator takes a *style* and has auxiliary outputs (*extras*) on request. *commands* are the names of existing commands.

    Raises:
        UserError: the name is invalid or taken, the folder exists, or an option does not apply to the kind.
    """
    if kind != "generator" and (style or extras):
        raise UserError(f"{'--style' if style else '--extras'} is for --kind generator, not for --kind {kind}.")
    _check_name(name, kind, registry, commands)
    dashed, module = name.replace("_", "-"), f"i2i_{name}"
    folder = out if out is not None else Path(f"i2i-{dashed}")
    if folder.exists():
        raise UserError(f"{folder} already exists. Choose another folder with --out.")
    component, test = KINDS[kind] if kind in KINDS else (network(style, extras), TEST)
    own = "network" if kind == "generator" else kind
    words = {"name": name, "module": module, "dashed": dashed, "kind": kind, "own": own, "file": own}
    if kind == "command":
        hooks = '"""The command \'{name}\'."""\n'
        words |= {"group": '"i2i.commands"', "target": f"{module}.command:{name}", "try_it": f"i2i {name} --help"}
    else:
        hooks = PLUGIN
        shown = f"i2i plugins            # shows it with its options\ni2i plugins test {name}"
        words |= {"group": "i2i", "target": module, "kinds": COMPONENTS[kind], "try_it": shown}
    words["use"] = _USE.get(kind, "In a recipe: `{kind}: {{name: {name}}}`." + _MORE).format(**words)
    files = {
        "pyproject.toml": PYPROJECT,
        f"{module}/__init__.py": hooks,
        f"{module}/{own}.py": component,
        f"{module}/py.typed": "",
        f"tests/test_{name}.py": test,
        "README.md": README,
        "LICENSE": LICENSE,
    }
    with new_folder(folder) as partial:
        for path, text in files.items():
            (partial / path).parent.mkdir(parents=True, exist_ok=True)
            write_text(partial / path, text.format(**words))
    return folder


def _check_name(name: str, kind: str, registry: Registry, commands: Collection[str]) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise UserError(
            f"'{name}' cannot be a plugin's name: use lower-case letters, digits and single underscores, a letter first."
        )
    plugins = {entry.plugin for entry in registry.entries()} | {plugin.plugin for plugin in registry.broken}
    if name in plugins | set(registry.disabled):
        raise UserError(f"a plugin '{name}' is installed already. Choose another name.")
    if kind == "command" and name in commands:
        raise UserError(f"i2i has a command '{name}' already. Choose another name.")
    if kind != "command" and name in registry.names(kind):
        owner = registry.get(kind, name).plugin
        raise UserError(f"the plugin '{owner}' has a {kind} '{name}' already. Choose another name.")
    if importlib.util.find_spec(f"i2i_{name}") is not None:
        raise UserError(f"a package i2i_{name} is installed already. Choose another name.")
