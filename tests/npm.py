"""What tests take from npm: the packages that tests/web/package-lock.json pins, none of whose scripts are run."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from filelock import FileLock

WEB = Path(__file__).parent / "web"


def package(name: str) -> Path:
    """The folder of a package. Where npm or its registry cannot be reached the test is skipped, and with CI=true it fails."""
    modules = WEB / "node_modules"
    with FileLock(Path(tempfile.gettempdir()) / "i2i-tests-npm.lock"):
        if not (modules / name / "package.json").is_file():
            _install()
    return modules / name


def _install() -> None:
    lacking = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
    npm = shutil.which("npm")
    if npm is None:
        lacking("needs npm")
    done = subprocess.run(
        [str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=WEB, capture_output=True, text=True
    )
    if done.returncode:
        lacking(f"npm ci failed: {done.stderr[-500:]}")
