"""The page in a browser: painting, drawing, pictures, what it asks for and shows, on a phone and by keyboard alone."""

import gc
import io
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from browsing import Visit, browsing, complaints, visiting
from page_server import KEY, XMP, Place, described, domain, labels, png, serving

HOSTILE = '<img src=x onerror="window.taken=1"><script>window.taken=1</script>'
CLASSES = [("sea", "#0000ff", 7), ("dry_land", "#008000", 20), ("ice", "#ffffff", 255)]
X = "\N{MULTIPLICATION SIGN}"
SEA, LAND, ICE = (value for _, _, value in CLASSES)
CARD = f"""\
# A card

Text with `code`, **strong** and {HOSTILE}. [a link](javascript:window.taken=1)

| figure | value |
|---|---|
| a\\|b | 3 |

- one
- two

```yaml
name: {HOSTILE}
```
![picture](https://example.org/pixel.png)
"""


def models() -> list[dict[str, Any]]:
    maps = labels("maps", CLASSES)
    photo, day, night = domain("photo"), domain("day"), domain("night")
    samples = [{"direction": "a:b", "url": "samples/map.png", "target": "samples/photo.png"}]
    return [
        described("maps", {"a": maps, "b": photo}, draws=True, style=True, mix=True, samples=samples, card=CARD),
        described("ink", {"a": domain("ink", 1, line=True), "b": photo}),
        described("day", {"a": day, "b": night}, [("a", "b"), ("b", "a")], scales=True),
        described("colored", {"a": labels("maps", CLASSES, colored=True), "b": photo}, title=HOSTILE, card=HOSTILE),
        described("other", {"a": labels("maps", [*CLASSES[:2], ("deep", "#123456", 300)]), "b": photo}),
    ]


@pytest.fixture(scope="module")
def served() -> Iterator[Place]:
    drawn = np.full((16, 16), SEA, np.uint8)
    drawn[8:] = LAND
    map_of_classes = Image.fromarray(drawn)
    with serving(models(), {"samples/map.png": png(map_of_classes), "samples/photo.png": png(picture(90))}) as place:
        yield place


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browsing() as found:
        yield found


@pytest.fixture
def place(served: Place) -> Place:
    served.asked.clear()
    served.answers.clear()
    served.refusals.clear()
    served.gate.set()
    return served


@pytest.fixture
def visit(browser: Any, place: Place) -> Iterator[Visit]:
    with opened(browser, place) as found:
        yield found


class opened:  # noqa: N801 - reads as a function
    """The page of a place, ready; at the end nothing may have been wrong, and nothing asked for elsewhere."""

    def __init__(self, browser: Any, place: Place, **options: Any) -> None:
        size = {"width": 1280, "height": 900}
        self.place, self.inner = place, visiting(browser, **{"viewport": size, "accept_downloads": True, **options})

    def __enter__(self) -> Visit:
        self.visit = self.inner.__enter__()
        self.visit.page.goto(self.place.url)
        settled(self.visit.page)
        return self.visit

    def __exit__(self, *error: Any) -> None:
        self.inner.__exit__(*error)
        if error[0] is None:
            assert self.visit.wrong == []
            assert self.visit.elsewhere(self.place.url) == []


def settled(page: Any) -> None:
    """All results have come."""
    page.wait_for_selector("#frame[aria-busy=false]")


def until(page: Any, expression: str, given: Any = None) -> None:
    """Wait until an expression of the page is true. Playwright's own way evaluates text, which the page's policy forbids."""
    deadline = time.monotonic() + 60
    while not page.evaluate(expression, given):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(20)


def picture(value: int, size: tuple[int, int] = (32, 32)) -> Image.Image:
    return Image.new("RGB", size, (value, value, value))


def sent(place: Place) -> np.ndarray:
    image = place.last.image
    assert image.mode == "L"
    return np.asarray(image)


def at(page: Any, x: float, y: float, selector: str = "#paint") -> tuple[float, float]:
    """Where on the page a point of the canvas lies, in the canvas's own pixels."""
    box = page.locator(selector).bounding_box()
    width, height = page.evaluate("[paint.width, paint.height]")
    return box["x"] + x * box["width"] / width, box["y"] + y * box["height"] / height


def click(page: Any, x: float, y: float) -> None:
    page.mouse.click(*at(page, x, y))


def drag(page: Any, *points: tuple[float, float], steps: int = 4) -> None:
    page.mouse.move(*at(page, *points[0]))
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*at(page, *point), steps=steps)
    page.mouse.up()


def radio(page: Any, name: str) -> None:
    page.get_by_role("radio", name=name, exact=True).check()


def size(page: Any, pixels: int) -> None:
    page.fill("#size", str(pixels))


def model(page: Any, title: str) -> None:
    page.select_option("#model", title)
    settled(page)


def give(page: Any, image: bytes, name: str = "town.png", kind: str = "image/png") -> None:
    page.set_input_files("#file", {"name": name, "mimeType": kind, "buffer": image})


def downloaded(page: Any) -> tuple[str, bytes]:
    with page.expect_download() as found:
        page.click("#download")
    return found.value.suggested_filename, Path(found.value.path()).read_bytes()


def test_what_is_painted_is_sent_as_exact_numbers(visit: Visit, place: Place) -> None:
    page = visit.page
    first = sent(place)  # the sample with which the page begins
    assert first.shape == (16, 16)
    assert (first[:8] == SEA).all()
    assert (first[8:] == LAND).all()
    assert place.last.fields == {"model": "maps", "direction": "a:b", "seed": "0"}
    radio(page, "ice")
    size(page, 1)
    click(page, 3.5, 2.5)
    settled(page)
    assert np.argwhere(sent(place) == ICE).tolist() == [[2, 3]]
    size(page, 4)
    drag(page, (4, 12), (12, 12))
    settled(page)
    painted = sent(place)
    assert set(np.unique(painted)) == {SEA, LAND, ICE}  # no edge is blended
    assert (painted[10:14, 4:12] == ICE).all()
    assert (painted[[8, 15]] == LAND).all()
    page.keyboard.press("Control+z")
    page.click("#undo")
    settled(page)
    assert (sent(place) == first).all()
    page.click("#redo")
    page.keyboard.press("Control+y")
    settled(page)
    assert (sent(place) == painted).all()
    assert page.is_disabled("#redo")
    drag(page, (4, 12), (40, 12))  # a stroke may leave the canvas
    settled(page)
    assert (sent(place)[11:13, 4:] == ICE).all()


def test_fill_polygon_all_and_another_size(visit: Visit, place: Place) -> None:
    page = visit.page
    radio(page, "ice")
    radio(page, "Fill")
    click(page, 5, 12)
    settled(page)
    assert (sent(place)[8:] == ICE).all()
    assert (sent(place)[:8] == SEA).all()
    radio(page, "Polygon")
    radio(page, "dry land")
    for corner in ((2, 2), (10, 2), (10, 6)):
        click(page, *corner)
    page.mouse.dblclick(*at(page, 2, 6))
    settled(page)
    assert (sent(place)[2:6, 2:10] == LAND).all()
    assert (sent(place) == LAND).sum() == 4 * 8
    for corner in ((12, 12), (15, 12), (12, 15)):
        click(page, *corner)
    assert page.is_visible("#close-polygon")
    page.keyboard.press("Enter")
    settled(page)
    assert sent(place)[12, 12] == LAND
    assert page.is_hidden("#close-polygon")
    page.click("#clear")
    settled(page)
    assert (sent(place) == LAND).all()
    page.click("#undo")
    page.select_option("#canvas-size", f"64 {X} 32, wide")
    settled(page)
    assert sent(place).shape == (32, 64)
    assert set(np.unique(sent(place))) == {SEA, LAND, ICE}
    page.click("#undo")
    assert page.locator("#canvas-size").evaluate("one => one.selectedOptions[0].label") == f"16 {X} 16, as trained"


def test_label_files_are_read_and_others_refused_with_a_reason(visit: Visit, place: Place) -> None:
    page = visit.page
    painted = np.array([[SEA, LAND], [ICE, SEA]], np.uint8).repeat(8, 0).repeat(8, 1)
    give(page, png(Image.fromarray(painted)))
    settled(page)
    assert (sent(place) == painted).all()
    colored = np.array([[[0, 128, 0], [255, 255, 255]]], np.uint8).repeat(16, 0).repeat(8, 1)
    give(page, png(Image.fromarray(colored)))
    settled(page)
    assert sent(place)[0].tolist() == [LAND] * 8 + [ICE] * 8
    before = len(place.asked)
    for data, kind, reason in (
        (png(Image.fromarray(painted + 1)), "image/png", "outside the 3 classes"),
        (png(picture(3)), "image/png", "colour that no class"),
        (b"no picture", "image/png", "not a picture"),
        (b"\0" * 1_000_001, "image/png", "larger than 1 MB"),
        (png(Image.new("L", (2000, 2000), SEA)), "image/png", "too large"),
    ):
        give(page, data, kind=kind)
        until(page, "reason => trouble.textContent.includes(reason)", reason)
        assert page.is_visible("#trouble")
    assert len(place.asked) == before
    model(page, "other")
    page.get_by_role("radio", name="deep").check()
    page.click("#clear")
    settled(page)
    assert place.last.image.mode.startswith("I")  # 16 bits, for numbers above 255
    assert np.asarray(place.last.image)[0, 0] == 300
    model(page, HOSTILE)
    assert place.last.image.mode == "RGB"  # these files hold colours
    assert np.asarray(place.last.image)[0, 0].tolist() == [0, 128, 0]  # the same painting, as the classes are the same


def test_a_pen_draws_smooth_lines_and_an_eraser_removes_them(visit: Visit, place: Place) -> None:
    page = visit.page
    model(page, "ink")
    assert page.locator("#mode :checked").get_attribute("value") == "drawing"
    assert (sent(place) == 255).all()
    size(page, 4)
    drag(page, (4, 16), (28, 16))
    settled(page)
    line = sent(place)
    assert (line[15:17, 5:27] == 0).all()
    assert (line[[0, 31]] == 255).all()
    assert ((line > 0) & (line < 255)).any()
    pen = """strength => {
        const box = paint.getBoundingClientRect();
        const given = {bubbles: true, pointerId: 9, pointerType: 'pen', pressure: strength, clientX: box.x + box.width / 4,
                       clientY: box.y + box.height / 4};
        paint.dispatchEvent(new PointerEvent('pointerdown', given)); paint.dispatchEvent(new PointerEvent('pointerup', given));
    }"""
    inks = []
    for strength in (0.1, 1):
        page.evaluate(pen, strength)
        settled(page)
        inks.append((sent(place)[:12] < 128).sum())
        page.click("#undo")
    assert inks[1] > 2 * inks[0]
    radio(page, "Eraser")
    size(page, 12)
    drag(page, (16, 10), (16, 22))
    settled(page)
    assert (sent(place)[15:17, 14:18] == 255).all()
    assert (sent(place)[16, 6:8] == 0).all()
    page.click("#clear")
    settled(page)
    assert (sent(place) == 255).all()
    radio(page, "Picture")  # by hand
    assert page.is_visible("#empty")


def test_a_picture_is_sent_as_it_is_and_mask_and_strength_blend_it(visit: Visit, place: Place) -> None:
    page = visit.page
    model(page, "day")
    given = png(picture(40), statement=False)
    give(page, given)
    settled(page)
    assert place.last.files["image"] == given
    assert place.last.fields == {"model": "day", "direction": "a:b"}
    name, plain = downloaded(page)
    assert name == "day-day-to-night.png"
    assert plain == place.answers[-1]  # the server's own bytes
    asked = len(place.asked)
    page.fill("#strength", "50")
    becomes(page, (0, 0), 128)  # 40 + 0.5 * (215 - 40)
    size(page, 8)
    drag(page, (8, 16), (24, 16))
    becomes(page, (2, 2), 40)
    becomes(page, (16, 16), 128)
    page.fill("#strength", "100")
    becomes(page, (16, 16), 215)
    _, data = downloaded(page)
    made = Image.open(io.BytesIO(data))
    made.load()
    assert made.info[KEY] == XMP
    radio(page, "Keep")
    click(page, 16, 16)
    becomes(page, (16, 16), 40)
    page.click("#clear")
    becomes(page, (2, 2), 215)
    assert len(place.asked) == asked  # all that is computed here
    page.check("#own-size")
    settled(page)
    assert place.last.fields["own_size"] == "true"
    radio(page, "night → day")
    settled(page)
    assert place.last.fields["direction"] == "b:a"
    assert place.last.files["image"] == given
    radio(page, "Before and after")
    page.press(".split-range", "ArrowRight")
    assert page.locator(".result").evaluate("one => one.style.getPropertyValue('--split')") == "51%"


def becomes(page: Any, pixel: tuple[int, int], grey: int) -> None:
    """The result that is shown has this grey at (row, column), at once or soon."""
    deadline = time.monotonic() + 60
    while (found := result(page)[pixel].tolist()) != [grey] * 3:
        assert time.monotonic() < deadline, found
        page.wait_for_timeout(50)


def result(page: Any) -> np.ndarray:
    """The result that is shown now, (H, W, 3)."""
    data, width = page.evaluate("""async () => {
        const image = document.querySelector('#results img');
        await image.decode();
        const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
        const context = canvas.getContext('2d');
        context.drawImage(image, 0, 0);
        return [[...context.getImageData(0, 0, canvas.width, canvas.height).data], canvas.width];
    }""")
    return np.array(data, np.uint8).reshape(-1, width, 4)[:, :, :3]


def test_a_storm_of_strokes_makes_few_requests_and_the_newest_is_shown(visit: Visit, place: Place) -> None:
    page = visit.page
    page.select_option("#canvas-size", f"64 {X} 64")
    settled(page)
    place.gate.clear()
    asked = len(place.asked)
    radio(page, "ice")
    size(page, 3)
    for row in range(2, 60, 6):
        drag(page, (4, row), (60, row), steps=12)
    page.wait_for_selector("#busy:visible")
    assert page.inner_text("#state") == "Translating …"
    assert len(place.asked) == asked + 1
    place.gate.set()
    settled(page)
    assert len(place.asked) == asked + 2
    assert (sent(place)[2:60:6, 8:56] == ICE).all()
    assert (result(page)[:, :, 1] == sent(place)).all()


def test_a_late_answer_is_never_shown_after_a_newer_one(visit: Visit, place: Place) -> None:
    page = visit.page
    radio(page, "ice")
    place.gate.clear()
    click(page, 4, 4)  # in flight
    page.select_option("#model", "ink")  # what it answers no longer matters
    page.wait_for_timeout(100)
    place.gate.set()
    settled(page)
    assert place.last.fields["model"] == "ink"
    assert (result(page)[:, :, 1] == 255).all()
    place.refusals.append((503, "the server is full. Try again in a moment."))
    click(page, 4, 4)
    until(page, "state.textContent.includes('server is full')")
    click(page, 20, 20)
    click(page, 28, 28)
    asked = len(place.asked)
    settled(page)
    assert len(place.asked) == asked + 1  # the newest only
    assert sent(place)[28, 28] < 128
    assert page.is_hidden("#trouble")
    place.refusals.append((400, f"image: {HOSTILE} is nothing"))
    click(page, 8, 8)
    settled(page)
    assert page.inner_text("#trouble") == f"Image: {HOSTILE} is nothing."
    click(page, 9, 9)
    settled(page)
    assert page.is_hidden("#trouble")
    assert page.evaluate("window.taken") is None
    visit.wrong[:] = [said for said in visit.wrong if "status of 503" not in said and "status of 400" not in said]


def test_seeds_side_by_side_and_styles(visit: Visit, place: Place) -> None:
    page = visit.page
    page.fill("#seed", "2147483646")
    page.press("#seed", "Enter")
    settled(page)
    assert place.last.seed == 2147483646
    radio(page, "Four seeds")
    settled(page)
    assert [one.seed for one in place.asked[-4:]] == [2147483646, 2147483647, 0, 1]
    assert page.locator(".tile .title").all_inner_texts()[3] == "Seed 1"
    page.locator(".tile").nth(3).click()
    assert downloaded(page)[0] == "maps-maps-to-photo-seed1.png"
    radio(page, "One")  # the chosen seed stays
    settled(page)
    assert place.last.seed == 1
    page.click("#dice")
    settled(page)
    assert place.last.seed == int(page.input_value("#seed"))
    page.get_by_role("button", name="Style 1").click()  # a picture of the run
    settled(page)
    assert Image.open(io.BytesIO(place.last.files["style"])).getpixel((0, 0)) == (90, 90, 90)
    assert "mix" not in place.last.fields
    assert page.is_hidden("#seed-field")  # a style that is given is not drawn
    page.locator("input[aria-label='Second style']").set_input_files(
        {"name": "s.png", "mimeType": "image/png", "buffer": png(picture(9))}
    )
    settled(page)
    page.fill("#mix", "25")
    settled(page)
    assert (sorted(place.last.files), place.last.fields["mix"]) == (["image", "style", "style2"], "0.25")
    page.get_by_role("button", name="Remove: Style").click()  # the second becomes the first
    settled(page)
    assert Image.open(io.BytesIO(place.last.files["style"])).getpixel((0, 0)) == (9, 9, 9)


def test_models_are_compared_on_one_input(visit: Visit, place: Place) -> None:
    page = visit.page
    page.click("#compare")
    settled(page)
    assert [one.fields["model"] for one in place.asked[-2:]] == ["maps", "colored"]
    tiles = page.locator(".tile").all_inner_texts()
    assert len(tiles) == 5
    assert "This model takes pictures, not label maps." in tiles[1]
    assert HOSTILE in tiles[3]
    assert "This model takes label maps of other classes." in tiles[4]
    page.locator(".tile").nth(3).click()
    name, _ = downloaded(page)
    assert name == "colored-maps-to-photo.png"
    place.refusals.append((400, "the map is odd."))
    page.click("#clear")
    settled(page)
    assert "The map is odd." in page.locator(".tile").nth(0).inner_text()  # and the other model has answered
    assert (place.last.fields["model"], len(place.refusals)) == ("colored", 0)
    visit.wrong[:] = [said for said in visit.wrong if "status of 400" not in said]
    model(page, "day")
    give(page, png(picture(40)))
    for _ in range(100):  # one after the other: between the two answers the page may look settled
        if place.last.fields["model"] == "day":
            break
        page.wait_for_timeout(100)
    settled(page)
    assert [one.fields["model"] for one in place.asked[-2:]] == ["ink", "day"]
    page.click("#compare")
    settled(page)
    assert page.locator(".tile").count() == 0
    assert page.evaluate("window.taken") is None


def test_the_session_is_remembered_and_brought_back(visit: Visit, place: Place) -> None:
    page = visit.page
    kept = page.locator("#history-list button")
    kept.nth(0).wait_for()
    first = sent(place)
    page.fill("#seed", "5")
    radio(page, "ice")
    page.click("#clear")
    settled(page)
    until(page, "document.querySelectorAll('#history-list li').length === 2")
    assert "result is there" in page.inner_text("#said")
    assert kept.nth(0).get_attribute("title").startswith("maps: maps → photo, seed 5.")
    model(page, "ink")
    until(page, "document.querySelectorAll('#history-list li').length === 3")
    kept.nth(2).click()
    settled(page)
    assert (sent(place) == first).all()
    assert (place.last.fields["model"], place.last.seed) == ("maps", 0)
    assert page.input_value("#seed") == "0"


def test_what_a_model_is_in_text_only(visit: Visit) -> None:
    page = visit.page
    page.click("#about")
    dialog = page.locator("#about-dialog")
    text = dialog.inner_text()
    assert "Trained on" in text
    assert HOSTILE in text
    assert "a link (javascript:window.taken=1)" in text
    assert dialog.locator("td").all_inner_texts() == ["a|b", "3"]
    assert dialog.locator("li").all_inner_texts()[-2:] == ["one", "two"]
    assert (dialog.locator("a").count(), dialog.locator("img").count(), dialog.locator("script").count()) == (0, 0, 0)
    dialog.get_by_text("The statement in its pictures").click()
    assert XMP in dialog.inner_text()
    page.keyboard.press("Escape")
    assert page.is_hidden("#about-dialog")
    model(page, HOSTILE)
    page.click("#about")
    assert page.inner_text("#about-title") == HOSTILE
    assert page.evaluate("window.taken") is None


def test_a_camera_that_is_refused_or_absent_is_explained(visit: Visit) -> None:
    page = visit.page
    model(page, "day")
    page.click("#camera")
    until(page, "document.getElementById('camera-told').textContent !== ''")
    assert re.match(r"The browser (does not let this page use the camera|finds no camera)", page.inner_text("#camera-told"))
    page.keyboard.press("Escape")
    page.evaluate("Object.defineProperty(navigator, 'mediaDevices', {value: undefined})")
    page.click("#camera")
    assert "only to pages that come over https" in page.inner_text("#camera-told")
    assert page.is_disabled("#camera-take")


def test_pictures_come_from_the_camera_the_clipboard_and_by_dropping(browser: Any, place: Place) -> None:
    with opened(browser, place, permissions=["camera"]) as visit:
        page = visit.page
        model(page, "day")
        page.click("#camera")
        page.click("#camera-take")  # once the camera shows something
        page.wait_for_selector("#camera-dialog", state="hidden")
        settled(page)
        assert min(place.last.image.size) > 100
        assert page.evaluate("document.getElementById('camera-video').srcObject") is None
        for name, value in (("paste", 30), ("drop", 60)):
            given = png(picture(value), statement=False)
            page.evaluate(GIVE, [name, list(given)])
            deadline = time.monotonic() + 60
            while place.last.files["image"] != given and time.monotonic() < deadline:
                page.wait_for_timeout(20)
            assert place.last.files["image"] == given


GIVE = """([name, bytes]) => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(bytes)], 'town.png', {type: 'image/png'}));
    const Event = {paste: ClipboardEvent, drop: DragEvent}[name];
    const given = {bubbles: true, cancelable: true, clipboardData: data, dataTransfer: data};
    document.body.dispatchEvent(new Event(name, given));
}"""


def test_on_a_phone(browser: Any, place: Place) -> None:
    size = {"width": 320, "height": 640}
    with opened(browser, place, viewport=size, has_touch=True, is_mobile=True, device_scale_factor=2) as visit:
        page = visit.page
        page.locator("#paint").scroll_into_view_if_needed()
        radio(page, "ice")
        x, y = at(page, 8, 4)
        page.touchscreen.tap(x, y)
        settled(page)
        assert sent(place)[4, 8] == ICE
        assert page.locator("#paint").evaluate("one => getComputedStyle(one).touchAction") == "none"
        for title in ("maps", "ink", "day"):
            model(page, title)
            assert page.evaluate("document.documentElement.scrollWidth") == 320
        page.click("#compare")
        settled(page)
        assert page.evaluate("document.documentElement.scrollWidth") == 320


def test_by_keyboard_alone(visit: Visit, place: Place) -> None:
    page = visit.page

    def tab_to(selector: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.locator(selector).evaluate_all("all => all.some((one) => one.matches(':focus'))"):
                return
        raise AssertionError(f"Tab does not reach {selector}")

    tab_to("#palette input")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    tab_to("#paint")
    assert page.locator("#paint").evaluate("one => getComputedStyle(one).outlineStyle") == "solid"
    for _ in range(8):
        page.keyboard.press("[")
    for _ in range(3):
        page.keyboard.press("Shift+ArrowUp")
    assert page.inner_text("#said") == "Column 8, row 5: sea"
    page.keyboard.press("Space")
    settled(page)
    assert np.argwhere(sent(place) == ICE).tolist() == [[5, 8]]
    page.keyboard.down("Space")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.up("Space")
    settled(page)
    assert np.argwhere(sent(place) == ICE).tolist() == [[5, 8], [5, 9], [5, 10]]
    page.keyboard.press("Control+z")
    settled(page)
    assert (sent(place) == ICE).sum() == 1
    tab_to("#download")
    with page.expect_download():
        page.keyboard.press("Enter")


VIEWS = ["labels", "split", "seeds", "style", "about", "pen", "picture", "camera", "compare", "refused"]


def show(page: Any, place: Place, view: str) -> None:
    """Each view follows from the one before."""
    if view in ("split", "seeds"):
        radio(page, {"split": "Before and after", "seeds": "Four seeds"}[view])
    elif view == "style":
        radio(page, "One")
        page.get_by_role("button", name="Style 1").click()
    elif view in ("about", "camera", "compare"):
        page.click(f"#{view}")
    elif view == "pen":
        page.keyboard.press("Escape")
        model(page, "ink")
    elif view == "picture":
        model(page, "day")
        give(page, png(picture(40)))
        size(page, 8)
        drag(page, (8, 16), (24, 16))
    elif view == "refused":
        place.refusals.append((400, "the picture is odd."))
        page.click("#clear")
        page.check("#own-size")
    if view == "compare":
        page.keyboard.press("Escape")
    settled(page)


def test_axe_finds_nothing_serious_in_any_view_light_and_dark(visit: Visit, place: Place) -> None:
    page = visit.page
    page.emulate_media(reduced_motion="reduce")
    found: dict[str, list[str]] = {}
    for view in VIEWS:
        if view == "compare":
            page.keyboard.press("Escape")
        show(page, place, view)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found[f"{view}, {scheme}"] = complaints(page)
    assert {view: said for view, said in found.items() if said} == {}
    visit.wrong[:] = [said for said in visit.wrong if "status of 400" not in said]


def test_dark_and_light_are_chosen_and_kept(visit: Visit) -> None:
    page = visit.page
    back = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(back)
    page.click("#theme")
    dark = page.evaluate(back)
    assert dark != light
    page.reload()
    settled(page)
    assert page.evaluate(back) == dark
    page.click("#theme")
    assert page.evaluate(back) == light


def test_a_token_is_taken_from_the_address(browser: Any, place: Place) -> None:
    with visiting(browser) as visit:
        page = visit.page
        given: list[str | None] = []
        page.on("request", lambda one: given.append(one.headers.get("authorization")) if "/api/" in one.url else None)
        page.goto(f"{place.url}#token=s3cret")
        settled(page)
        assert set(given) == {"Bearer s3cret"}
        assert "s3cret" not in page.url


def test_with_the_server_of_i2i_serve(browser: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Its policy, its token, and what it computes; a request that the page gives up leaves no word in its log."""
    pytest.importorskip("starlette")
    import served_models
    from i2i_serve.limits import Limits
    from i2i_serve.service import Service

    service = Service(served_models.model(tmp_path, layers=6), Limits(), "town")
    with served_models.running(service, token="s3cret") as there, visiting(browser, accept_downloads=True) as visit:
        page = visit.page
        page.goto(f"{there.url}/#token=wrong")
        page.get_by_text("This server wants its token").wait_for()
        visit.wrong.clear()
        page.goto(f"{there.url}/#token=s3cret")
        page.reload()  # only the part after # is another
        page.wait_for_selector("html[data-ready=true]")
        give(page, png(picture(40)))
        page.wait_for_selector("#results img[src^=blob]")
        becomes(page, (1, 1), 215)
        _, data = downloaded(page)
        assert "trainedAlgorithmicMedia" in Image.open(io.BytesIO(data)).info[KEY]
        give(page, b"no picture")
        page.locator("#trouble").wait_for()
        asked = len(visit.asked)
        give(page, png(picture(60)))
        until(page, "document.getElementById('frame').getAttribute('aria-busy') === 'true'")
        while len(visit.asked) == asked:
            page.wait_for_timeout(10)
        page.wait_for_timeout(100)
        radio(page, "night → day")
        page.wait_for_selector("#results img[src^=blob]")
        becomes(page, (1, 1), 195)
        gc.collect()
        assert "never retrieved" not in capfd.readouterr().err
        assert visit.wrong == []
        assert visit.elsewhere(there.url) == []
