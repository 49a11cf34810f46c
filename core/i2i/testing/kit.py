"""The kit: runs the checks for a component's kind and says which failed, and why."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from i2i.errors import UserError, nearest
from i2i.hooks import Factory
from i2i.recipe.options import SUPPLIED
from i2i.registry import Entry, Registry, default_registry
from i2i.testing import datasets, discriminators, generators, losses, objectives
from i2i.testing.options import typed
from i2i.testing.subject import Domains, Skipped, Subject

Check = Callable[[Subject], None]

_MODULES: dict[str, Any] = {
    "generator": generators,
    "discriminator": discriminators,
    "loss": losses,
    "objective": objectives,
    "dataset": datasets,
}

Options = Mapping[str, Mapping[str, Any]]
"""``{"generator mine": {"width": 4}}``: the options that components are checked with, by kind and name."""


class Result(NamedTuple):
    """The result of a ``check`` of ``kind`` ``name``: ``error`` is None if it passed, or was ``skipped`` for that reason."""

    kind: str
    name: str
    check: str
    error: AssertionError | None
    skipped: str = ""


def checks_of(kind: str, slow: bool = False) -> dict[str, Check]:
    """The checks for a kind by name; with *slow*, those of torch.compile and torch.export too."""
    module = _MODULES.get(kind)
    found = (*module.CHECKS, *(module.SLOW if slow else ())) if module is not None else ()
    return {check.__name__: check for check in (typed, *found)}


def run_checks(subject: Subject, *, slow: bool = False, only: str | None = None) -> Iterator[Result]:
    """Run all checks of a component, or *only* the one with that name. A failure does not stop the others."""
    for name, check in checks_of(subject.kind, slow).items():
        if only in (None, name):
            found = outcome(subject, check)
            failed = found if isinstance(found, AssertionError) else None
            yield Result(subject.kind, subject.name, name, failed, str(found or "") if failed is None else "")


def outcome(subject: Subject, check: Check) -> AssertionError | Skipped | None:
    """The failure of a check, with the exception as its cause, or the reason why the check was skipped; None if it passed.

    A loss that fails with plain functions may pass with its plugin's networks.
    """
    found = _outcome(subject, check)
    if not isinstance(found, AssertionError) or not any(subject.own):
        return found
    own = replace(subject, generator=subject.own[0], discriminator=subject.own[1], own=(None, None))
    again = _outcome(own, check)
    if not isinstance(again, AssertionError) or str(again) == str(found):
        return again and found
    said = str(again).partition(": ")[2]
    return _failed(f"{found} With the networks of its plugin: {said}", again)


def _outcome(subject: Subject, check: Check) -> AssertionError | Skipped | None:
    label = f"{subject.kind} '{subject.name}', {check.__name__}"
    try:
        with torch.random.fork_rng([]):
            check(subject)
    except Skipped as skipped:
        return skipped
    except AssertionError as error:
        return _failed(f"{label}: {error}", error)
    except UserError as error:
        return _failed(f"{label}: {error}", error)
    except Exception as error:
        return _failed(f"{label}: it raised {type(error).__name__}: {error}", error)
    return None


def _failed(message: str, cause: Exception) -> AssertionError:
    failed = AssertionError(message)
    failed.__cause__ = cause
    return failed


def subjects_of(plugin: str, registry: Registry | None = None, options: Options | None = None) -> list[Subject]:
    """The components of a plugin, each with its options.

    Raises:
        UserError: there is no such plugin, it is broken or has no component, or options name none of its components.
    """
    registry = registry or default_registry()
    entries = [entry for entry in _components(registry) if entry.plugin == plugin]
    if not entries:
        raise UserError(missing(plugin, registry))
    names = [f"{entry.kind} {entry.name}" for entry in entries]
    for given in options or {}:
        if given not in names:
            raise UserError(f"the plugin '{plugin}' has no {given}.{nearest(given, names)} It has: {', '.join(names)}.")
    subjects = [_subject(entry, options or {}) for entry in entries]
    generator, judge = (next((s for s in subjects if s.kind == kind), None) for kind in ("generator", "discriminator"))
    data = tuple(s for s in subjects if s.kind == "dataset")
    return [replace(s, own=(generator, judge), datasets=data) if s.kind == "loss" else s for s in subjects]


def _components(registry: Registry) -> list[Entry]:
    """The components that recipes can name; converters and engines are not checked."""
    return [entry for entry in registry.entries() if entry.kind in SUPPLIED]


def _subject(entry: Entry, options: Options) -> Subject:
    return Subject(entry.kind, entry.name, entry.factory, options.get(f"{entry.kind} {entry.name}", {}))


def missing(plugin: str, registry: Registry) -> str:
    """Why a plugin has no components to check."""
    for broken in registry.broken:
        if broken.plugin == plugin:
            return f"the plugin '{plugin}' failed to load: {broken.reason}"
    names = sorted({entry.plugin for entry in _components(registry)})
    return f"no plugin '{plugin}' with components is installed.{nearest(plugin, names)} Installed: {', '.join(names)}."


def check_plugin(plugin: str, *, options: Options | None = None, registry: Registry | None = None, slow: bool = False) -> None:
    """Check every component of an installed plugin; the AssertionError lists all failures."""
    failures = [
        str(result.error)
        for subject in subjects_of(plugin, registry, options)
        for result in run_checks(subject, slow=slow)
        if result.error is not None
    ]
    if failures:
        raise AssertionError("\n".join(failures))


def check_generator(component: str | Factory, **given: Any) -> None:
    """Check a generator: a factory, or the name of a registered one.

    *given*: ``options`` (a mapping), ``domains`` (by key), ``size`` of the images, ``registry``, and ``slow=True`` to try
    torch.compile and torch.export too.
    """
    _check("generator", component, **given)


def check_discriminator(component: str | Factory, **given: Any) -> None:
    """Check a discriminator; *given* as for ``check_generator``."""
    _check("discriminator", component, **given)


def check_loss(component: str | Factory, **given: Any) -> None:
    """Check a loss; *given* as for ``check_generator``.

    If a loss reads extras with names of its own, pass the ``generator`` and ``discriminator`` that offer them. If it wants
    entries that are not domains, pass a ``dataset`` whose samples have them. Each is a name, a factory or a Subject.
    """
    _check("loss", component, **given)


def check_objective(component: str | Factory, **given: Any) -> None:
    """Check an adversarial objective; *given*: ``options``, ``registry``."""
    _check("objective", component, **given)


def check_dataset(component: str | Factory, **given: Any) -> None:
    """Check a data set; *given*: ``options``, ``registry``."""
    _check("dataset", component, **given)


def _check(
    kind: str,
    component: str | Factory,
    *,
    options: Mapping[str, Any] | None = None,
    domains: Domains | None = None,
    size: int | None = None,
    registry: Registry | None = None,
    generator: str | Factory | Subject | None = None,
    discriminator: str | Factory | Subject | None = None,
    dataset: str | Factory | Subject | None = None,
    slow: bool = False,
) -> None:
    subject = replace(
        _found(kind, component, registry),
        options=options or {},
        domains=domains,
        size=size,
        generator=None if generator is None else _found("generator", generator, registry),
        discriminator=None if discriminator is None else _found("discriminator", discriminator, registry),
        datasets=() if dataset is None else (_found("dataset", dataset, registry),),
    )
    failures = [str(result.error) for result in run_checks(subject, slow=slow) if result.error is not None]
    if failures:
        raise AssertionError("\n".join(failures))


def _found(kind: str, component: str | Factory | Subject, registry: Registry | None) -> Subject:
    if isinstance(component, Subject):
        return component
    if isinstance(component, str):
        return _subject((registry or default_registry()).get(kind, component), {})
    return Subject(kind, getattr(component, "__name__", type(component).__name__), component)
