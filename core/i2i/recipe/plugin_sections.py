"""The keys of a recipe that plugins declare, each with its model: ``declared.py`` has the entry points."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import ConfigDict, ValidationError

from i2i.declared import DISABLE, SECTIONS, Declared, declared, declared_by_two
from i2i.errors import UserError, nearest
from i2i.recipe.options import Problem, explain
from i2i.recipe.sections import Section
from i2i.registry import Registry


class Absent(Section):
    """A section in a saved recipe whose plugin is not here."""

    model_config = ConfigDict(extra="allow")


def checked_section(name: str, value: Any, core: Sequence[str], problems: list[Problem]) -> Section | None:
    """The section under a key that is not one of the *core*'s, with its structure checked.

    What is wrong goes to *problems*, and None comes back; so it does for ``NAME: null``.
    """
    try:
        model = section_model(name, core)
        return None if value is None else model.model_validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        problems += [found._replace(loc=(name, *found.loc)) for found in explain(error, model)]
    except UserError as error:
        if value is not None or not _claims(name):
            problems.append(Problem((name,), True, str(error)))
    return None


def saved_section(name: str, value: Any) -> Section:
    """A section of a recipe that a model was saved with; where its plugin is not here, it stays what it is.

    Raises:
        pydantic.ValidationError: it is not a section of this version.
    """
    try:
        model = section_model(name)
    except UserError:
        model = Absent
    return model.model_validate(value)


def check_heeded(names: Iterable[str], registry: Registry) -> None:
    """Check that the plugins that use these sections are in the registry.

    Raises:
        UserError: a plugin is not, and its section would change nothing.
    """
    claims = [claim for name in names for claim in _claims(name) if claim.hooked and not claim.disabled]
    for claim in claims:
        if not registry.has_package(claim.target.partition(":")[0].partition(".")[0]):
            reasons = [broken.reason for broken in registry.broken if broken.plugin == claim.plugin]
            why = f"failed to load ({reasons[0]})" if reasons else "is not in the registry"
            raise UserError(f"{claim.name}: this section belongs to {claim.owner}, which {why}, so it would have no effect.")


def section_model(name: str, core: Sequence[str] = ()) -> type[Section]:
    """The model of a declared section; *core* are the keys that a message names besides.

    Raises:
        UserError: no plugin declares it, or two do, or its plugin is disabled or broken.
    """
    claims = _claims(name)
    enabled = [claim for claim in claims if not claim.disabled]
    if len(enabled) > 1:
        raise declared_by_two("section", enabled)
    if not claims:
        known = [*core, *section_names()]
        there = nearest(name, known) or f" The keys are: {', '.join(known)}."
        raise UserError(f"unknown key.{there} If a plugin provides this section, install that plugin.")
    claim = (enabled or claims)[0]
    if claim.disabled:
        raise UserError(f"this section belongs to {claim.owner}, which {DISABLE} turns off.")
    found = claim.load("section")
    if not (isinstance(found, type) and issubclass(found, Section)):
        raise UserError(f"the section '{name}' of {claim.owner}: '{claim.target}' is not a Section of i2i.recipe.")
    return found


def _claims(name: str) -> list[Declared]:
    return [claim for claim in declared(SECTIONS) if claim.name == name]


def section_names() -> list[str]:
    """The names of the sections that are not disabled."""
    return sorted({claim.name for claim in declared(SECTIONS) if not claim.disabled})
