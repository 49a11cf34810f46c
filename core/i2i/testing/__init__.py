"""The conformance kit: checks that every generator, discriminator, loss, objective and data set must pass.

>>> from i2i.testing import check_plugin
>>> check_plugin("mine", options={"generator mine": {"width": 4}})  # doctest: +SKIP

Every function raises an AssertionError that says what is wrong and what the author must do. Names are imported when they
are first used, so that pytest can load this package's plugin without torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from i2i.testing.kit import (
        Result,
        check_dataset,
        check_discriminator,
        check_generator,
        check_loss,
        check_objective,
        check_plugin,
        checks_of,
        run_checks,
        subjects_of,
    )
    from i2i.testing.subject import Subject

_HOMES = {
    "Result": "i2i.testing.kit",
    "Subject": "i2i.testing.subject",
    "check_dataset": "i2i.testing.kit",
    "check_discriminator": "i2i.testing.kit",
    "check_generator": "i2i.testing.kit",
    "check_loss": "i2i.testing.kit",
    "check_objective": "i2i.testing.kit",
    "check_plugin": "i2i.testing.kit",
    "checks_of": "i2i.testing.kit",
    "run_checks": "i2i.testing.kit",
    "subjects_of": "i2i.testing.kit",
}

__all__ = [
    "Result",
    "Subject",
    "check_dataset",
    "check_discriminator",
    "check_generator",
    "check_loss",
    "check_objective",
    "check_plugin",
    "checks_of",
    "run_checks",
    "subjects_of",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'i2i.testing' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
