"""A browser without a window, and what it asked the network for."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest


def browser() -> tuple[str, str]:
    """Chromium and its driver. Where something is missing, the test is skipped, and with CI=true it fails."""
    found = [shutil.which(name) for name in ("chromium", "chromedriver")]
    there = [*found, find_spec("selenium")]
    names = ("Chromium (chromium)", "Chromium's driver (chromedriver)", "the package selenium")
    if missing := [name for name, place in zip(names, there, strict=True) if place is None]:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"needs {' and '.join(missing)}")
    return str(found[0]), str(found[1])


@contextmanager
def browsing(folder: Path) -> Iterator[Any]:
    """Chromium with a profile of its own in *folder*."""
    chromium, chromedriver = browser()
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    for flag in (
        *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"),
        *("disable-component-update", "disable-sync", f"user-data-dir={folder / 'profile'}"),
    ):
        options.add_argument(f"--{flag}")
    driver = webdriver.Chrome(options, webdriver.ChromeService(chromedriver))
    try:
        yield driver
    finally:
        driver.quit()


def asked(driver: Any) -> list[str]:
    """The addresses that pages asked for since the last call. A new tab's own, chrome:, are part of the browser."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    found = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return [url for url in found if not url.startswith(("data:", "blob:", "chrome:"))]
