"""The outside packages of tests/third_party as pip leaves them, for this process and others."""

import os
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from i2i import declared
from i2i.registry import default_registry

HERE = Path(__file__).parent / "third_party"


@contextmanager
def installed(site: Path, *names: str) -> Iterator[list[str]]:
    """Within it these packages are installed; it yields what others need on their path. *site* is an empty folder."""
    for name in names:
        project = tomllib.loads((HERE / name / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        about = site / f"i2i_{name}-{project['version']}.dist-info"
        about.mkdir()
        said = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        (about / "METADATA").write_text(said, encoding="utf-8")
        points = "".join(
            f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items())
            for group, entries in project["entry-points"].items()
        )
        (about / "entry_points.txt").write_text(points, encoding="utf-8")
    paths = [str(site), *(str(HERE / name) for name in names)]
    before, sys.path[:] = list(sys.path), [*paths, *sys.path]
    _forget()
    try:
        yield paths
    finally:
        sys.path[:] = before
        _forget()


def environment(paths: list[str]) -> dict[str, str]:
    """That of another process in which these are installed."""
    path = os.pathsep.join(filter(None, [*paths, os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def _forget() -> None:
    default_registry.cache_clear()
    declared.all_points.cache_clear()
