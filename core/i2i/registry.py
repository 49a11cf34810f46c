"""How plugins are loaded, and how their components are found by name.

A plugin is a module with functions marked :data:`hookimpl`, named by an entry point of the group ``i2i``::

    [project.entry-points.i2i]
    mine = "my_package"

    # my_package/__init__.py
    from i2i.registry import hookimpl

    @hookimpl
    def register_generators():
        return {"mine": "my_package.networks:Mine"}  # a factory, or a string that is imported when it is needed
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from importlib.metadata import entry_points
from typing import Any, cast

import pluggy

from i2i.declared import DISABLE, GROUP, distribution_of, imported, is_disabled
from i2i.errors import UserError, nearest
from i2i.hooks import Factory, Hooks
from i2i.hooks import hookimpl as hookimpl  # the name that plugins import

CONTRACT = 1
"""The major version of the contract (protocols and hooks). A plugin's module may say ``I2I_CONTRACT = 1``."""

KINDS: dict[str, str] = {
    "generator": "generators",
    "discriminator": "discriminators",
    "loss": "losses",
    "objective": "objectives",
    "dataset": "datasets",
    "metric": "metrics",
    "converter": "converters",
    "engine": "engines",
}
"""The kinds of things that are registered by name, with their plurals; the hook is ``register_<plural>``."""


@dataclass(frozen=True)
class Entry:
    """One registered component: ``kind`` and ``name``, its ``plugin`` with ``version`` and ``distribution``.

    ``target`` is its factory, or ``"module:object"``, which is imported on first use.
    """

    kind: str
    name: str
    plugin: str
    version: str
    target: Factory | str
    distribution: str = ""

    @cached_property
    def factory(self) -> Factory:
        """The factory itself, imported on first use."""
        if not isinstance(self.target, str):
            return self.target
        label = f"the {self.kind} '{self.name}' of the plugin '{self.plugin}'"
        found = imported(self.target, label)
        if not callable(found):
            raise UserError(f"{label}: '{self.target}' is a {type(found).__name__}, not a class or function.")
        return cast(Factory, found)


@dataclass(frozen=True)
class Broken:
    """A ``plugin`` of a ``version`` that was not loaded, and the ``reason`` why."""

    plugin: str
    version: str
    reason: str


class _DefectError(Exception):
    """What is wrong with a plugin, in words for its author."""


class Registry:
    """The loaded plugins, their components by kind and name, and the relay for events.

    ``Registry()`` loads the entry points. ``Registry(plugins=…)`` uses the given objects instead: a mapping of names to
    plugins, or modules and objects, whose names are their ``__name__`` or class. ``broken`` are the plugins that could not be
    loaded, ``disabled`` those of I2I_DISABLE_PLUGINS.
    """

    def __init__(self, plugins: Mapping[str, Any] | Iterable[Any] | None = None) -> None:
        self.broken: list[Broken] = []
        self.disabled: dict[str, str] = {}  # name -> distribution
        self._entries: list[Entry] = []
        self._manager = _manager()
        if plugins is None:
            self._load_entry_points()
        else:
            named = ((str(getattr(plugin, "__name__", type(plugin).__name__)), plugin) for plugin in plugins)
            given = plugins if isinstance(plugins, Mapping) else dict(named)
            for name, plugin in given.items():
                self._load(name, str(getattr(plugin, "__version__", "")), partial(lambda found: found, plugin))

    def extended(self, name: str, plugin: Any) -> "Registry":
        """A registry with one more plugin, which may fail to load like any other; this one stays as it is."""
        made = Registry(())
        made.broken, made.disabled, made._entries = [*self.broken], {**self.disabled}, [*self._entries]
        for known, other in self._manager.list_name_plugin():
            made._manager.register(other, known)
        made._load(name, str(getattr(plugin, "__version__", "")), lambda: plugin)
        return made

    @property
    def hook(self) -> pluggy.HookRelay:
        """Calls an event in every plugin: ``registry.hook.step_ended(run=run)``."""
        return self._manager.hook

    def has_package(self, package: str) -> bool:
        """Whether a plugin was loaded from this top-level package."""
        names = (getattr(plugin, "__name__", type(plugin).__module__) for plugin in self._manager.get_plugins())
        return package in {name.partition(".")[0] for name in names}

    @contextmanager
    def subscribed(self, *subscribers: object) -> Iterator[None]:
        """A context in which events also reach the methods of these objects that are marked :data:`hookimpl`."""
        for subscriber in subscribers:
            self._manager.register(subscriber)
        try:
            yield
        finally:
            for subscriber in subscribers:
                self._manager.unregister(subscriber)

    def hook_of(self, run: Any) -> pluggy.HookRelay:
        """The relay for the events of one run: they reach every plugin, and the observers that ``run_assembled`` returns.

        Raises:
            UserError: a plugin fails in ``run_assembled``, or an observer implements no event.
        """
        manager = _manager()
        for name, plugin in self._manager.list_name_plugin():
            manager.register(plugin, name)
        for implementation in self.hook.run_assembled.get_hookimpls():
            refused = f"the plugin '{implementation.plugin_name}' cannot watch the run"
            try:
                found: Any = implementation.function(*[run for _ in implementation.argnames])
                observers = list(found or ())
            except UserError:
                raise
            except Exception as error:
                raise UserError(f"{refused}: {type(error).__name__}: {error}") from error
            for observer in observers:
                try:
                    _register(manager, observer)
                except _DefectError as error:
                    raise UserError(f"{refused}: {type(observer).__name__}: {error}") from error
        return manager.hook

    def entries(self, kind: str | None = None) -> list[Entry]:
        """Every component (of one kind), sorted by kind, name and plugin."""
        kinds = list(KINDS)
        found = [entry for entry in self._entries if kind in (None, entry.kind)]
        return sorted(found, key=lambda entry: (kinds.index(entry.kind), entry.name, entry.plugin))

    def names(self, kind: str) -> list[str]:
        """The names of a kind's components, sorted."""
        return sorted({entry.name for entry in self._entries if entry.kind == kind})

    def get(self, kind: str, name: str) -> Entry:
        """The component called *name*; use ``plugin:name`` if two plugins have the same name."""
        if kind not in KINDS:
            raise UserError(f"there is no kind '{kind}' of component.{nearest(kind, list(KINDS))}")
        plugin, _, bare = name.rpartition(":")
        found = [e for e in self._entries if (e.kind, e.name) == (kind, bare) and plugin in ("", e.plugin)]
        if not found:
            raise UserError(self._unknown(kind, name, bare))
        if len(found) > 1:
            owners = " and ".join(f"'{entry.plugin}'" for entry in found)
            choices = " or ".join(f"'{entry.plugin}:{bare}'" for entry in found)
            raise UserError(f"the {kind} '{bare}' is offered by the plugins {owners}. Write {choices}.")
        return found[0]

    def _unknown(self, kind: str, name: str, bare: str) -> str:
        """The message for a component that does not exist."""
        names = self.names(kind)
        others = [entry for entry in self._entries if entry.name == bare]
        parts = [f"there is no {kind} '{name}'."]
        if kinds := sorted({entry.kind for entry in others} - {kind}):
            parts.append(f"'{bare}' is a {' and a '.join(kinds)}.")
        if owners := sorted({f"'{entry.plugin}'" for entry in others if entry.kind == kind}):
            parts.append(f"'{bare}' is offered by {' and '.join(owners)}.")
        elif hint := nearest(bare, names):
            parts.append(hint.strip())
        plural = KINDS[kind]
        parts.append(f"{plural.capitalize()}: {', '.join(names)}." if names else f"No plugin offers {plural}.")
        if self.broken:
            failed = "; ".join(f"{plugin.plugin} ({plugin.reason})" for plugin in self.broken)
            parts.append(f"Plugins that failed to load: {failed}.")
        if self.disabled:
            parts.append(self.turned_off)
        return " ".join(parts)

    @property
    def turned_off(self) -> str:
        """A sentence that names the disabled plugins and their distributions; empty if there are none."""
        homes = sorted(set(self.disabled.values()))
        lists = (", ".join(name for name, its in self.disabled.items() if its == home) + f" ({home})" for home in homes)
        return f"Disabled by {DISABLE}: {'; '.join(lists)}." if homes else ""

    def _load_entry_points(self) -> None:
        """Load every entry point that is not disabled, in the order of their names."""
        for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
            if is_disabled(point.name):
                self.disabled[point.name] = distribution_of(point)
            else:
                version = point.dist.version if point.dist else ""
                self._load(point.name, version, point.load, distribution_of(point))

    def _load(self, name: str, version: str, load: Callable[[], Any], distribution: str = "") -> None:
        """Register one plugin, or record why this failed; nothing of a broken plugin stays registered."""
        plugin: Any = None
        try:
            loaded = load()
            self._check_new(loaded, name)
            plugin = loaded
            _register(self._manager, plugin, name)
            self._entries += [replace(entry, distribution=distribution) for entry in self._components(plugin, name, version)]
        except (Exception, SystemExit) as error:
            if plugin is not None and self._manager.get_plugin(name) is plugin:
                self._manager.unregister(plugin, name)
            reason = str(error) if isinstance(error, _DefectError) else f"{type(error).__name__}: {error}"
            self.broken.append(Broken(name, version, " ".join(reason.split())))

    def _check_new(self, plugin: Any, name: str) -> None:
        """Refuse a different version of the contract, and names or modules that are already registered."""
        if (written := getattr(plugin, "I2I_CONTRACT", CONTRACT)) != CONTRACT:
            which = "newer than" if isinstance(written, int) and written > CONTRACT else "other than"
            raise _DefectError(
                f"it was written for version {written} of the contract, {which} this i2i's version {CONTRACT}: install a "
                "release of the plugin for this version, or the i2i-framework that it was written for"
            )
        if self._manager.has_plugin(name):
            raise _DefectError(f"another plugin is already called '{name}'")
        if other := self._manager.get_name(plugin):
            raise _DefectError(f"it is the same module as the plugin '{other}'")

    def _components(self, plugin: Any, name: str, version: str) -> list[Entry]:
        """What the plugin registers, checked."""
        found = []
        for kind, plural in KINDS.items():
            caller: pluggy.HookCaller = getattr(self._manager.hook, f"register_{plural}")
            for implementation in caller.get_hookimpls():
                if implementation.plugin is plugin:
                    offered = _checked(f"register_{plural}", implementation.function())
                    found += [Entry(kind, key, name, version, target) for key, target in offered.items()]
        return found


@cache
def default_registry() -> Registry:
    """The registry of the installed plugins, loaded once."""
    return Registry()


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(Hooks)
    return manager


def _register(manager: pluggy.PluginManager, plugin: Any, name: str | None = None) -> None:
    """Register a plugin or an observer with pluggy and check its hooks."""
    manager.register(plugin, name)
    callers = manager.get_hookcallers(plugin) or []
    if not callers:
        raise _DefectError("it implements no hook: mark its functions with @hookimpl from i2i.registry")
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        known = [hook for hook in vars(Hooks) if not hook.startswith("_")]
        unknown = next(caller.name for caller in callers if not caller.has_spec())
        raise _DefectError(f"there is no hook '{unknown}'.{nearest(unknown, known)}") from error


def _checked(hook: str, offered: object) -> Mapping[str, Factory | str]:
    """What a hook returned, if it is names with factories."""
    if not isinstance(offered, Mapping):
        raise _DefectError(f"{hook} returned {type(offered).__name__}, not a dict of names and factories")
    for name, target in offered.items():
        if not isinstance(name, str) or not name or ":" in name:
            raise _DefectError(f"{hook} returned {name!r} as a name: it must be a string without ':'")
        if not isinstance(target, str) and not callable(target):
            raise _DefectError(f"{hook} returned {target!r} for '{name}': neither a factory nor 'module:object'")
    return offered
