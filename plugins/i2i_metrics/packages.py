"""The optional packages, imported when a metric needs them."""

from importlib import import_module
from importlib.metadata import version
from typing import Any

from i2i.errors import UserError


def needed(module: str, package: str) -> Any:
    """The module; if it is missing, an error says how to install it.

    Raises:
        UserError: the package is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(f"it needs a package: pip install {package}, or 'i2i-framework[metrics]' for all metrics.") from error


def versions(*packages: str) -> dict[str, str]:
    """The packages' versions, for a protocol."""
    return {package: version(package) for package in packages}
