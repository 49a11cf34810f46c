"""Exported pages in Chromium: seconds for a picture of 256 px by WebAssembly on one thread, and bytes for each parameter.

The generators of the shipped recipes and a ResNet-9 of the published width, each with random weights, which take as long as
trained ones. ``network`` is the time of the network, ``picture`` that from a PNG file to a PNG file: medians of all but the
first two, for which the browser still compiles. ``processor`` is the processor time of such a picture, a mean, which other
programs on the machine change less. Parameters are those of the network of the direction that is exported.

    python benchmarks/browser.py [--recipes spade_labels2photo …] [--side 256] [--rounds 7] [--weights fp16]

Needs Chromium, playwright, and the npm package onnxruntime-web (``npm ci --ignore-scripts`` in tests/web).
"""

import base64
import functools
import http.server
import io
import json
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
import torch
from machine import arguments, keep, machine_line
from PIL import Image
from rich.console import Console
from rich.table import Table

from i2i.building.parts import build
from i2i.layers import fold_norms
from i2i.pictures.labels import numbers_of_classes
from i2i.protocols import Direction, Domain
from i2i.recipe import load_recipe
from i2i.registry import default_registry
from i2i.translation.translator import Translator
from i2i_export.runtime import runtime
from i2i_export.web import export_web

ROOT = Path(__file__).resolve().parents[1]
RUNTIME = ROOT / "tests/web/node_modules/onnxruntime-web"
RECIPES = sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml"))
RESNET = "resnet-9, width 64"
SECONDS, WIDE_SECONDS, BYTES = 0.5, 6.0, 2.2
"""What is wanted at most: for a recipe's generator, for the wide ResNet, and for each parameter."""

MEASURE = """async (image) => {
  const manifest = await (await fetch("manifest.json")).json(), { open } = await import("./engine-web.js");
  const engine = await open(manifest, { base: document.baseURI });
  const [model] = manifest.models, [direction] = model.directions;
  const file = new Blob([Uint8Array.from(atob(image), (letter) => letter.charCodeAt(0))]);
  window.go = async (rounds) => {
    const network = [], picture = [];
    for (let i = 0; i < rounds; i++) {
      const begun = performance.now(), { seconds } = await engine.translate({ model, direction, image: file });
      network.push(seconds);
      picture.push((performance.now() - begun) / 1000);
    }
    return { network, picture };
  };
  const begun = performance.now();
  await engine.prepare(model, direction);
  const ready = (performance.now() - begun) / 1000, first = await go(2);
  return { ready, first: first.picture[0], note: engine.note };
}"""


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--recipes", nargs="*", default=[*RECIPES, RESNET], help="names of shipped recipes")
    parser.add_argument("--side", type=int, default=256, help="height and width of the picture")
    parser.add_argument("--rounds", type=int, default=7, help="pictures after the first")
    parser.add_argument("--weights", choices=["fp32", "fp16", "int8"], default="fp16", help="how weights are stored")
    parser.add_argument("--runtime", default=str(RUNTIME), help="onnxruntime-web's folder")
    options = parser.parse_args()
    files = runtime(options.runtime)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        for name in options.recipes:
            translator = wide() if name == RESNET else of_recipe(name)
            site = Path(place) / "site"
            source, target = translator.directions[0]
            export_web(translator, Path(name), site, files, target, source, overwrite=True, weights=options.weights)
            figures[name] = measured(site, translator, options)
            print(json.dumps({name: figures[name]}), flush=True)
    show(figures)
    keep(figures, options.json)


def of_recipe(name: str) -> Translator:
    """A recipe's generator with random weights."""
    registry = default_registry()
    recipe = load_recipe(ROOT / "recipes" / f"{name}.yaml", [], registry)
    torch.manual_seed(0)
    parts = build(recipe, registry)
    ways = [way for way in parts.needs.directions if way[0] != way[1]]
    warmed(parts.generator, parts.domains, ways[0])
    fold_norms(parts.generator.eval())
    sizes = {key: list(size) for key, size in parts.sizes.items()}
    return Translator(
        parts.generator, dict(parts.domains), (ways[0],), {"extra": {"sizes": sizes}}, torch.device("cpu"), registry
    )


def warmed(module: torch.nn.Module, domains: Mapping[str, Domain], way: Direction) -> None:
    """Some passes, after which running statistics and spectral norms are those of pictures."""
    channels = domains[way[0]].channels
    with torch.no_grad():
        for _ in range(20):
            x = torch.rand(2, channels, 64, 64) * 2 - 1
            one_hot = torch.nn.functional.one_hot(x.argmax(1), channels).permute(0, 3, 1, 2).float()
            module.train()(one_hot if domains[way[0]].kind == "labels" else x, *way)


def wide() -> Translator:
    """CycleGAN's generator for pictures of 256 px, as published."""
    registry = default_registry()
    domains = {"a": Domain("day", "image", 3), "b": Domain("night", "image", 3)}
    torch.manual_seed(0)
    module = registry.get("generator", "resnet").factory(domains=domains, directions=(("a", "b"),), width=64, blocks=9)
    sizes = {"a": [64, 64], "b": [64, 64]}  # at which the export is checked
    return Translator(module.eval(), domains, (("a", "b"),), {"extra": {"sizes": sizes}}, torch.device("cpu"), registry)


def measured(site: Path, translator: Translator, options: Any) -> dict[str, Any]:
    """Medians in seconds, and the file's bytes for each parameter of its network."""
    from playwright.sync_api import sync_playwright

    (listed,) = json.loads((site / "manifest.json").read_bytes())["models"][0]["files"].values()
    with served(site) as address, sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{address}icon.svg")  # a document that does nothing itself
        source = translator.domains[translator.directions[0][0]]
        found = page.evaluate(MEASURE, base64.b64encode(picture(source, options.side)).decode())
        begun = processor_time()
        found |= page.evaluate("go", options.rounds)
        used = processor_time() - begun
        browser.close()
    count = parameters(translator)
    return {
        "network": median(found["network"]),
        "picture": median(found["picture"]),
        "processor": used / options.rounds,
        "first": found["first"],
        "ready": found["ready"],
        "parameters": count,
        "bytes": listed["bytes"],
        "bytes a parameter": listed["bytes"] / count,
        "note": found["note"],
    }


def processor_time() -> float:
    """Seconds of the browser's processes that compute pages."""
    found = 0.0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "--type=renderer" in " ".join(process.cmdline()):
                times = process.cpu_times()
                found += times.user + times.system
    return found


def parameters(translator: Translator) -> int:
    """Those that the direction uses: that get a gradient."""
    (source, target), domains = translator.directions[0], translator.domains
    module = translator.module.requires_grad_(True)
    side = 4 * int(getattr(module, "divisor", 1)) + 32
    side -= side % int(getattr(module, "divisor", 1))
    x = torch.rand(1, domains[source].channels, side, side)
    module(x, source, target).images[target].sum().backward()
    return sum(one.numel() for one in module.parameters() if one.grad is not None)


def picture(domain: Domain, side: int) -> bytes:
    """A PNG of noise, or of a label map."""
    random, stream = np.random.default_rng(0), io.BytesIO()
    if domain.kind == "labels":
        numbers = numbers_of_classes(domain)[random.integers(0, domain.label_count, (side, side))]
        Image.fromarray(numbers.astype(np.uint8)).save(stream, "PNG")
    else:
        Image.fromarray(random.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server of static files."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def show(figures: dict[str, Any]) -> None:
    """One line for each network."""
    table = Table(
        "network", "network s", "picture s", "processor s", "wanted", "first s", "parameters", "MB", "bytes each", "wanted"
    )
    for name, row in figures.items():
        seconds = [f"{row[key]:.2f}" for key in ("network", "picture", "processor")]
        wanted = f"{WIDE_SECONDS if name == RESNET else SECONDS:g}"
        size = [f"{row['parameters']:,}", f"{row['bytes'] / 1e6:.2f}", f"{row['bytes a parameter']:.3f}", f"{BYTES}"]
        table.add_row(name, *seconds, wanted, f"{row['first']:.2f}", *size)
    console = Console(width=128)
    console.print(machine_line(), table)
    console.print(next(iter(figures.values()))["note"])


if __name__ == "__main__":
    main()
