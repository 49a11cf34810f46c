"""``i2i plugins new``: a pip package of its own, with one network and a test that runs the conformance kit."""

import importlib.util
import keyword
import re
from pathlib import Path

from i2i.errors import UserError
from i2i.files import new_folder, write_text
from i2i.registry import KINDS as COMPONENTS
from i2i.registry import Registry
from i2i.testing.kinds import KINDS
from i2i.testing.kinds import TEST as TEST_OF_KIND

PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "i2i-{dashed}"
version = "0.1.0"
description = "The generator '{name}' for i2i"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["i2i-framework>=0.1"]

[project.optional-dependencies]
test = ["pytest"]

[project.entry-points.i2i]
{name} = "{module}"

[tool.setuptools]
packages = ["{module}"]
package-data = {{"*" = ["py.typed", "recipes/*.yaml"]}}
"""

PLUGIN = '''\
"""The generator '{name}'."""

from i2i.registry import hookimpl

I2I_CONTRACT = 1


@hookimpl
def register_generators() -> dict[str, str]:
    return {{"{name}": "{module}.network:{name}"}}
'''

NETWORK = '''\
"""The network: replace its layers by yours. The options of a recipe are its keyword-only parameters."""

from typing import Annotated

from i2i.adapters import per_direction
from pydantic import Field
from torch import Tensor, nn


class Network(nn.Module):
    """(B, C_in, H, W) to (B, C_out, H, W); H and W are multiples of ``divisor``. *activation* is the last layer."""

    divisor = 2

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        activation: nn.Module,
        *,
        width: Annotated[int, Field(ge=1, description="Channels between the two layers.")] = 32,
    ) -> None:
        super().__init__()
        down = nn.Conv2d(in_channels, width, 4, 2, 1)
        up = nn.ConvTranspose2d(width, out_channels, 4, 2, 1)
        self.layers = nn.Sequential(down, nn.ReLU(), up, activation)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


{name} = per_direction(Network)
'''

TEST = '''\
"""The conformance kit of i2i, on everything that this plugin registers."""

from i2i.testing import check_plugin


def test_conformance() -> None:
    check_plugin("{name}", options={{"generator {name}": {{"width": 4}}}})
'''

README = """\
# i2i-{dashed}

The generator `{name}` for i2i, image-to-image translation composed from plugins.

```
pip install -e '.[test]'
i2i plugins            # lists it with its options
i2i plugins test {name}
pytest
```

In a recipe: `generator: {{name: {name}, width: 32}}`.

A recipe `{module}/recipes/NAME.yaml` is run by `i2i run {name}:NAME`. A command (`i2i {name}`) or a recipe section
(`{name}:`) of your own is a line in `pyproject.toml`, under `[project.entry-points."i2i.commands"]` or
`[project.entry-points."i2i.sections"]`: `{name} = "{module}.module:object"`.

Before you publish it: put your network into `{module}/network.py`, choose a licence (LICENSE), say in this file what the
network is and which paper it follows, and add `authors` and `license` to `pyproject.toml`.
"""

LICENSE = """\
No licence has been chosen yet, so nobody but its authors may use this package. Replace this text by the licence of your
choice, and name it in pyproject.toml: license = "Apache-2.0", for instance.
"""


def new_plugin(name: str, out: Path | None, registry: Registry, kind: str = "generator") -> Path:
    """Write the package into the folder *out* (default: i2i-NAME) and return the folder.

    Raises:
        UserError: the name is bad or taken, or the folder exists.
    """
    _check_name(name, registry)
    dashed, module = name.replace("_", "-"), f"i2i_{name}"
    folder = out if out is not None else Path(f"i2i-{dashed}")
    if folder.exists():
        raise UserError(f"{folder} exists already. Choose another folder with --out.")
    files = {
        "pyproject.toml": PYPROJECT,
        f"{module}/__init__.py": PLUGIN,
        f"{module}/network.py": NETWORK,
        f"{module}/py.typed": "",
        f"tests/test_{name}.py": TEST,
        "README.md": README,
        "LICENSE": LICENSE,
    }
    if kind != "generator":
        module_file = f"{module}/{kind}.py"
        hook = PLUGIN.replace("register_generators", f"register_{COMPONENTS[kind]}").replace(".network:", f".{kind}:")
        of_kind = {f"{module}/__init__.py": hook, module_file: KINDS[kind], f"tests/test_{name}.py": TEST_OF_KIND}
        files = {path: text for path, text in files.items() if path != f"{module}/network.py"} | of_kind
        files = {path: _named(text, kind) for path, text in files.items()}
    with new_folder(folder) as partial:
        for path, text in files.items():
            (partial / path).parent.mkdir(parents=True, exist_ok=True)
            write_text(partial / path, text.format(name=name, module=module, dashed=dashed))
    return folder


def _named(text: str, kind: str) -> str:
    """A template of the generator's package with another kind's words."""
    words = {
        "The generator": f"The {kind}",
        "generator: {{name: {name}, width: 32}}": f"{kind}: {{{{name: {{name}}}}}}",
        "put your network into `{module}/network.py`": f"put your {kind} into `{{module}}/{kind}.py`",
        "what the\nnetwork is": f"what the\n{kind} is",
    }
    for before, after in words.items():
        text = text.replace(before, after)
    return text


def _check_name(name: str, registry: Registry) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise UserError(
            f"'{name}' cannot be a plugin's name: use small letters, digits and single underscores, a letter first."
        )
    plugins = {entry.plugin for entry in registry.entries()} | {plugin.plugin for plugin in registry.broken}
    if name in plugins | set(registry.disabled):
        raise UserError(f"a plugin '{name}' is installed already. Choose another name.")
    if name in registry.names("generator"):
        owner = registry.get("generator", name).plugin
        raise UserError(f"the plugin '{owner}' has a generator '{name}' already. Choose another name.")
    if importlib.util.find_spec(f"i2i_{name}") is not None:
        raise UserError(f"a package i2i_{name} is installed already. Choose another name.")
