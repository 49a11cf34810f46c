"""The pictures of docs/page.md: a newcomer's walk over the page of ``i2i serve``, in order, with real models.

    python docs/screenshots.py SPADE STYLED INK DAY

SPADE is a run of recipes/spade_labels2photo.yaml, STYLED one on the same classes that takes styles (`vae: true` in the
generator and in the first loss), INK one of recipes/pix2pix_ink2glossy.yaml, DAY one of recipes/unit_day2night.yaml. It
needs Debian's chromium. Look at every picture afterwards.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).parent / "page"
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@contextmanager
def served(runs: list[str]) -> Iterator[str]:
    """The address of a server of these runs."""
    command = [sys.executable, "-m", "i2i", "serve", *runs, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield next(word for line in server.stdout for word in line.split() if word.startswith("http://"))
        finally:
            server.terminate()


class Walk:
    """One page, of which pictures are taken in order."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def shot(self, name: str) -> None:
        """The result is there, and everything has come to rest."""
        self.page.wait_for_selector("#frame[aria-busy=false]", timeout=90_000)
        self.page.wait_for_timeout(1200)
        place = FOLDER / f"{name}.png"
        self.page.screenshot(path=place)
        with Image.open(place) as picture:
            picture.convert("RGB").save(place.with_suffix(".webp"), quality=82, method=6)
        place.unlink()

    def choose(self, name: str) -> None:
        self.page.get_by_role("radio", name=name, exact=True).check()

    def model(self, place: int) -> None:
        """Another model, whose first result is there."""
        self.page.select_option("#model", index=place)
        self.page.wait_for_selector("#frame[aria-busy=false]", timeout=90_000)
        self.page.wait_for_timeout(500)

    def along(self, *points: tuple[float, float]) -> None:
        """A stroke; points are shares of the canvas."""
        box = self.page.locator("#paint").bounding_box()
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*place, steps=6)
        self.page.mouse.up()


def coast(walk: Walk) -> None:
    """The sea, a shelf along it, and land with a lake and a desert."""
    walk.page.locator("#canvas-size").select_option(label=f"128 {chr(215)} 128")
    walk.choose("ocean basin")
    walk.page.click("#clear")
    walk.page.fill("#size", "26")
    walk.choose("ocean shelf")
    shore = [(0, 0.62), (0.2, 0.55), (0.38, 0.66), (0.6, 0.42), (0.78, 0.4), (1, 0.2)]
    walk.along(*shore)
    walk.choose("Polygon")
    walk.choose("temperate oceanic")
    inland = [(0, 0.7), (0.2, 0.63), (0.4, 0.74), (0.62, 0.5), (0.8, 0.48), (1, 0.28)]
    for corner in (*inland, (1, 0.98), (0.98, 1), (0.02, 1), (0, 0.98)):
        walk.along(corner)
    walk.page.click("#close-polygon")
    walk.choose("Brush")
    walk.choose("savanna")
    walk.along((0.1, 0.97), (0.5, 0.95), (0.95, 0.6))
    walk.page.fill("#size", "16")
    walk.choose("hot desert")
    walk.along((0.55, 0.99), (0.98, 0.8))
    walk.page.fill("#size", "6")
    walk.choose("lake")
    walk.along((0.3, 0.83), (0.36, 0.86), (0.4, 0.84))


def desk(walk: Walk) -> None:
    walk.shot("1_open")
    coast(walk)
    walk.shot("2_paint_a_coast")
    walk.model(1)
    walk.choose("Four seeds")
    walk.shot("3_four_seeds")
    walk.choose("One")
    walk.page.get_by_role("button", name="Style 2").click()
    walk.shot("4_change_the_style")
    walk.choose("Before and after")
    with walk.page.expect_download() as found:
        walk.page.click("#download")
    walk.shot("5_before_and_after")
    print("downloaded:", found.value.suggested_filename)
    walk.choose("One")
    walk.model(0)
    walk.page.click("#about")
    walk.shot("6_what_the_model_is")
    walk.page.keyboard.press("Escape")


def others(walk: Walk) -> None:
    walk.model(2)
    walk.page.click("#clear")
    walk.page.fill("#size", "3")
    walk.along((0.5, 0.12), (0.22, 0.3), (0.2, 0.62), (0.5, 0.88), (0.8, 0.62), (0.78, 0.3), (0.5, 0.12))
    walk.along((0.5, 0.12), (0.55, 0.03))
    walk.along((0.38, 0.42), (0.38, 0.5))
    walk.along((0.62, 0.42), (0.62, 0.5))
    walk.along((0.36, 0.65), (0.5, 0.73), (0.64, 0.65))
    walk.shot("7_draw")
    walk.model(3)
    walk.page.fill("#size", "40")
    walk.along((0.3, 0.35), (0.7, 0.35))
    walk.page.click("#theme")
    walk.shot("8_a_mask_in_the_dark")


def main(runs: list[str]) -> None:
    FOLDER.mkdir(exist_ok=True)
    with served(runs) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=DESK, color_scheme="light")
        page.goto(address)
        desk(Walk(page))
        others(Walk(page))
        phone = browser.new_page(viewport=PHONE, has_touch=True, is_mobile=True, device_scale_factor=2, color_scheme="light")
        phone.goto(address)
        walk = Walk(phone)
        phone.wait_for_selector("#frame[aria-busy=false]", timeout=90_000)
        phone.locator(".thumb").nth(2).click()
        walk.shot("9_on_a_phone")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
