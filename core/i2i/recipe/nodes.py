"""YAML as a tree in which every key and value remembers its place.

Plain values follow the core schema of YAML 1.2: ``1e-4`` is a number; only ``true`` and ``false`` are booleans, so that
``no``, ``off``, ``yes`` and ``on`` stay text; there are no dates, no sexagesimal and no leading-zero octal numbers.
Tags other than the standard ones are refused. Anchors and aliases work; merge keys (``<<``) are keys like any other.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from i2i.errors import UserError, one_line
from i2i.recipe.text import text_of

Loc = tuple[str | int, ...]
"""Keys and list indexes from the top to a value."""

_TAG = "tag:yaml.org,2002:"
_RULES: list[tuple[str, str, str]] = [
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
    ("null", r"~|null|Null|NULL|", "~nN"),
]
_MOST_NODES, _DEEPEST = 20_000, 50


class _LimitError(yaml.MarkedYAMLError):
    """A text that is YAML, and more of it than a recipe needs."""


class _Loader(yaml.SafeLoader):
    """Composes nodes with the rules above in place of PyYAML's, until there are too many, or too deep ones."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML copies it on write
    count = depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.count += 1
        self.depth += 1
        if self.depth > _DEEPEST or self.count > _MOST_NODES:
            told = f"values more than {_DEEPEST} levels deep" if self.depth > _DEEPEST else f"more than {_MOST_NODES} values"
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise _LimitError(problem=told, problem_mark=mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """Quotes text that either version of YAML would read as something else."""


for _name, _pattern, _first in _RULES:
    for _class in (_Loader, _Dumper):
        _extra = [""] if _name == "null" else []
        _class.add_implicit_resolver(_TAG + _name, re.compile(f"^(?:{_pattern})$"), [*_first, *_extra])


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Text with control characters or line breaks (PyYAML folds some of them away) is escaped in double quotes."""
    return dumper.represent_scalar(_TAG + "str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _represent_text)


@dataclass(frozen=True)
class Places:
    """Where the values of a recipe are written, if it was read from a file; two recipes that differ in it are equal."""

    top: "Node | None" = field(default=None, compare=False)

    def of(self, *loc: str | int) -> str:
        """``FILE:LINE:COLUMN: dotted.path``, or the path alone."""
        dotted = ".".join(map(str, loc))
        return dotted if self.top is None else f"{self.top.key_place(loc)}: {dotted}"


@dataclass
class Node:
    """A value and its place. ``value`` is a scalar, a list of nodes or a dict of nodes; ``keys`` places the keys."""

    place: str
    value: Any
    keys: dict[str, str]

    def plain(self) -> Any:
        """The value without its places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def child(self, key: str | int) -> "Node | None":
        """The value under a key or list index, if there is one."""
        if isinstance(self.value, dict):
            return self.value.get(key)
        if isinstance(self.value, list) and isinstance(key, int) and 0 <= key < len(self.value):
            found: Node = self.value[key]
            return found
        return None

    def find(self, loc: Loc) -> tuple[Loc, str]:
        """How much of *loc* exists, and the place of what exists: of the value for all of it, of the key otherwise."""
        node, place = self, self.place
        for depth, key in enumerate(loc):
            below = node.child(key)
            if below is None:
                return loc[:depth], place
            place = node.keys.get(str(key), below.place)
            node = below
        return loc, node.place

    def key_place(self, loc: Loc) -> str:
        """The place of the last key of *loc*."""
        node: Node | None = self
        for key in loc[:-1]:
            node = node.child(key) if node else None
        return node.keys.get(str(loc[-1]), node.place) if node and loc else self.place


def read(path: Path, source: str = "") -> Node:
    """The tree of a YAML file, whose top is a mapping; *source* is what messages call it, by default its path.

    Raises:
        UserError: the file cannot be read, is too large, not UTF-8 or empty, or is not YAML.
    """
    text, source = text_of(path), source or str(path)
    node = parse(text, source)
    if node is None:
        raise UserError(f"{source} is empty. A recipe is a mapping with the keys dataset, generator, loss …")
    if not isinstance(node.value, dict):
        raise UserError(f"{node.place}: the top level must be a mapping (key: value), not {kind_of(node.plain())}.")
    return node


def parse(text: str, source: str, *, fixed: bool = False) -> Node | None:
    """The tree of a YAML text, None if it holds nothing. With *fixed* every place is *source* itself.

    Raises:
        UserError: it is not YAML, repeats a key, or needs more than plain data.
    """
    reader = _Reader(source, fixed)
    try:
        top = yaml.compose(text, Loader=_Loader)
        return None if top is None else reader.node(top, ())
    except _LimitError as error:
        raise UserError(f"{reader.place(error.problem_mark)}: {error.problem} are not read. Is this a recipe?") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = ", ".join(part for part in (error.context, error.problem) if part)
        raise UserError(f"{reader.place(mark)}: this is not YAML: {words}.") from error
    except yaml.YAMLError as error:
        raise UserError(f"{source}: this is not YAML: {one_line(error)}.") from error
    except RecursionError as error:
        raise UserError(f"{source}: it is nested too deeply.") from error


def dump(data: Any) -> str:
    """YAML for plain data, in its order; the inner lists and mappings of a section stay on one line."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)


def setting(
    argument: str,
    form: str = "KEY=VALUE with a dotted path",
    example: str = "train.steps=500",
    depth: int | None = None,
    option: str = "--set",
) -> tuple[list[str], Node]:
    """What ``--set`` was given, ``train.lr=1e-4``: the keys of its path (*depth* of them, if that is given) and its value.

    Raises:
        UserError: it does not have the *form* shown by *example*, or the value is not YAML.
    """
    place = f"{option} {argument}"
    path, equals, text = argument.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys) or len(keys) != (depth or len(keys)):
        raise UserError(f"{place}: write {form}, for instance {option} {example}.")
    return keys, parse(text, place, fixed=True) or Node(place, None, {})


def override(top: Node, argument: str) -> None:
    """Set one value in the tree, ``train.lr=1e-4``; mappings on the way are made where they are missing.

    Raises:
        UserError: there is no ``=``, the path leads through a value, or the value is not YAML.
    """
    keys, value = setting(argument)
    node = top
    for depth, key in enumerate(keys):
        last = depth == len(keys) - 1
        node = _step(node, key, value if last else None, value.place, ".".join(keys[:depth]))


def kind_of(value: Any) -> str:
    """A value in words: "the text 'abc'", "a list"."""
    match value:
        case None:
            return "nothing (null)"
        case bool():
            return str(value).lower()
        case str():
            return f"the text {_short(value)!r}"
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
    return _short(str(value))


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "…"


def _step(node: Node, key: str, value: Node | None, place: str, path: str) -> Node:
    """Go down one key of a ``--set`` path, putting *value* there if it is given."""
    if node.value is None:
        node.value, node.place = {}, place
    if isinstance(node.value, list):
        if not key.isdecimal() or int(key) >= len(node.value):
            raise UserError(f"{place}: '{path}' is a list of {len(node.value)}; there is no item '{key}' (counted from 0).")
        if value is not None:
            node.value[int(key)] = value
        found: Node = node.value[int(key)]
        return found
    if not isinstance(node.value, dict):
        raise UserError(f"{place}: '{path}' is {kind_of(node.value)}, so there is no '{path}.{key}'.")
    if value is not None or key not in node.value:
        node.value[key] = value or Node(place, None, {})
        node.keys[key] = place
    below: Node = node.value[key]
    return below


class _Reader:
    """Turns PyYAML's nodes into ours, checking them on the way."""

    def __init__(self, source: str, fixed: bool) -> None:
        self.source, self.fixed, self.count = source, fixed, 0

    def place(self, mark: Any) -> str:
        return self.source if self.fixed or mark is None else f"{self.source}:{mark.line + 1}:{mark.column + 1}"

    def node(self, node: yaml.Node, above: tuple[yaml.Node, ...]) -> Node:
        place = self.place(node.start_mark)
        self.count += 1
        if self.count > _MOST_NODES:
            raise UserError(f"{self.source}: the file holds more than {_MOST_NODES} values, with its aliases.")
        if any(node is other for other in above):
            raise UserError(f"{place}: an alias refers to the value that contains it.")
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self.mapping(node, place, (*above, node))
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return Node(place, [self.node(item, (*above, node)) for item in node.value], {})
        if isinstance(node, yaml.ScalarNode):
            return Node(place, _scalar(node, place), {})
        raise UserError(f"{place}: the tag {node.tag} is not supported: recipes hold plain data.")

    def mapping(self, node: yaml.MappingNode, place: str, above: tuple[yaml.Node, ...]) -> Node:
        found = Node(place, {}, {})
        for key_node, value_node in node.value:
            key, key_place = self.node(key_node, above).value, self.place(key_node.start_mark)
            if not isinstance(key, str):
                raise UserError(f"{key_place}: a key must be text, not {kind_of(key)}. To make it text, put it in quotes.")
            if key in found.value:
                raise UserError(f"{key_place}: the key '{key}' is already given at {found.keys[key]}. Remove one of them.")
            found.value[key], found.keys[key] = self.node(value_node, above), key_place
        return found


def _scalar(node: yaml.ScalarNode, place: str) -> Any:
    """The value of a scalar by its tag."""
    text = str(node.value)
    try:
        match node.tag.removeprefix(_TAG):
            case "str":
                text.encode()
                return text
            case "null":
                return None
            case "bool":
                return {"true": True, "false": False}[text.lower()]
            case "int":
                number = int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
                number.to_bytes(8, signed=True)  # torch has no larger ones: an OverflowError
                return number
            case "float":
                return float(re.sub(r"\.(?=inf|nan)", "", text.lower()))
    except OverflowError as error:
        raise UserError(f"{place}: {_short(text)!r} is too large for a whole number: 18 digits are the most.") from error
    except (ValueError, KeyError) as error:
        raise UserError(f"{place}: {_short(text)!r} cannot be read as {node.tag.removeprefix(_TAG)}.") from error
    raise UserError(f"{place}: the tag {node.tag} is not supported: recipes hold plain data.")
