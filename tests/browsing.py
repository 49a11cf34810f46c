"""A browser without a window, what its pages asked the network for, and what was wrong with them."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import pytest

import npm


@dataclass
class Visit:
    """A page of the browser. ``asked`` are the addresses that it asked for, ``wrong`` its errors and what its console said."""

    page: Any
    asked: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def elsewhere(self, address: str) -> list[str]:
        """What was asked for outside *address*."""
        return [url for url in self.asked if not url.startswith((address, "blob:", "data:"))]


def chromium() -> str:
    """Chromium's place. Where it or the package that drives it is missing, the test is skipped, and with CI=true it fails."""
    there = {"Chromium (chromium)": shutil.which("chromium"), "the package playwright": find_spec("playwright")}
    if missing := [name for name, place in there.items() if place is None]:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"needs {' and '.join(missing)}")
    return str(there["Chromium (chromium)"])


@contextmanager
def browsing() -> Iterator[Any]:
    """Chromium. Start it once for a test file: that takes a second."""
    place = chromium()
    from playwright.sync_api import sync_playwright

    flags = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--use-fake-device-for-media-stream",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=place, args=flags)
        yield browser
        browser.close()


@contextmanager
def visiting(browser: Any, **options: Any) -> Iterator[Visit]:
    """A page in a profile of its own; *options* are those of playwright's ``new_context``."""
    context = browser.new_context(**options)
    page = context.new_page()
    page.set_default_timeout(60_000)
    visit = Visit(page)
    page.on("request", lambda request: visit.asked.append(request.url))
    page.on("pageerror", lambda error: visit.wrong.append(str(error)))
    page.on("console", lambda said: visit.wrong.append(said.text) if said.type in ("error", "warning") else None)
    try:
        yield visit
    finally:
        context.close()


def complaints(page: Any) -> list[str]:
    """What axe-core finds serious or critical on a page as it is now: its rule, the element, and why."""
    source = npm.package("axe-core") / "axe.min.js"
    if not page.evaluate("'axe' in window"):
        page.evaluate(source.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        f"{rule['id']}: {node['target']}: {node['failureSummary']}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
