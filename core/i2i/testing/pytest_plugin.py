"""The kit in pytest: one test for each check of each component of a plugin.

A plugin's test is three lines::

    @pytest.mark.i2i("mine", options={"generator mine": {"width": 4}})
    def test_conformance(i2icheck):
        i2icheck()

Nothing here imports torch before a test asks for it.
"""

from collections.abc import Callable
from typing import Any

import pytest

MARK = "i2i"


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--i2i-slow`` tries torch.compile and torch.export too."""
    parser.getgroup("i2i").addoption("--i2i-slow", action="store_true", help="try torch.compile and torch.export too")


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark."""
    config.addinivalue_line("markers", f"{MARK}(name, options=None, registry=None): the plugin whose components are checked")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each check of each component."""
    if "i2icheck" not in metafunc.fixturenames:
        return
    mark = metafunc.definition.get_closest_marker(MARK)
    if mark is None:
        raise pytest.UsageError(f"{metafunc.definition.nodeid}: name the plugin with @pytest.mark.{MARK}('NAME')")
    from i2i.testing.kit import checks_of, subjects_of

    slow = bool(metafunc.config.getoption("--i2i-slow"))
    cases, names = [], []
    for subject in subjects_of(*mark.args, **mark.kwargs):
        for name, check in checks_of(subject.kind, slow).items():
            cases.append((subject, check))
            names.append(f"{subject.kind}-{subject.name}-{name}")
    metafunc.parametrize("i2icheck", cases, ids=names, indirect=True)


@pytest.fixture
def i2icheck(request: pytest.FixtureRequest) -> Callable[[], None]:
    """Runs one check, and raises its AssertionError or skips."""
    from i2i.testing.kit import outcome

    subject, check = request.param

    def run() -> None:
        found: Any = outcome(subject, check)
        if isinstance(found, AssertionError):
            raise found
        if found is not None:
            pytest.skip(str(found))

    return run
