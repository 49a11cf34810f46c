"""A trained model as a folder of static files, a page that computes in the visitor's browser: ``i2i export --format web``."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from i2i.errors import UserError
from i2i.files import new_folder
from i2i.protocols import Direction
from i2i.translation.model_folder import own_version
from i2i.translation.together import SIDE
from i2i.translation.translator import LARGE, Translator
from i2i_export.export import Exported, export
from i2i_export.plan import UNKNOWN
from i2i_export.runtime import LICENCE, Runtime
from i2i_page import files as page_files
from i2i_page.description import ways
from i2i_serve.limits import Limits
from i2i_serve.models import title
from i2i_serve.service import Service, plain_name, samples

MANIFEST = "manifest.json"
MEGABYTES, PIXELS = 20, 2**24
"""The largest file that the page takes, and the most pixels in it. What a network sees has at most LARGE pixels: above that
`i2i translate` goes through in tiles, which a browser does not."""
CHECKED = 256
"""So many numbers of a result are kept for the browser to compare with."""


@dataclass(frozen=True)
class Site:
    """The folder, its files' bytes in all, what was exported by direction, and for the other directions why not."""

    folder: Path
    size: int
    exported: Mapping[str, Exported]
    left_out: Mapping[str, str] = field(default_factory=dict)


def export_web(
    translator: Translator,
    model: Path,
    folder: Path,
    runtime: Runtime,
    to: str | None = None,
    source: str | None = None,
    *,
    style_input: bool = False,
    overwrite: bool = False,
    **how: Any,
) -> Site:
    """Write the page of a model: all directions, or those that *to* and *source* choose. ``how`` is passed to :func:`export`.

    The run, or the model folder, at *model* gives the name, the card, and a run's data the pictures to begin from.
    With *style_input* the page takes a picture for the style. Each direction then has a second file for that; the first has the
    style that *how* fixes, or that of seed 0.

    Raises:
        UserError: the folder is in use, or no direction can be exported.
    """
    _check_folder(folder, overwrite)
    chosen = _chosen(translator, to, source)
    try:
        with new_folder(folder) as partial:
            made, left_out = _exported(translator, chosen, partial / "models", style_input, how)
            described = _described(translator, model, made, partial)
            manifest = _manifest(described, runtime)
            _write_page(partial, manifest, runtime)
            size = sum(path.stat().st_size for path in partial.rglob("*") if path.is_file())
    except OSError as error:
        raise UserError(f"{folder}: it cannot be written ({error.strerror or error}).") from error
    exported = {label: replace(way.exported, path=folder / way.entry["file"]) for label, way in made.items()}
    return Site(folder, size, exported, left_out)


@dataclass(frozen=True)
class _Way:
    """A direction that is exported, and its entry in the manifest."""

    way: Direction
    exported: Exported
    entry: Mapping[str, Any]


def _check_folder(folder: Path, overwrite: bool) -> None:
    """A folder of something else is never replaced."""
    if not folder.parent.is_dir():
        raise UserError(f"{folder.parent}: there is no such folder.")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    ours = False
    with suppress(OSError, ValueError, AttributeError):
        ours = json.loads((folder / MANIFEST).read_bytes()).get("engine") == "web"
    if not ours:
        raise UserError(f"{folder}: it exists and is not an exported page. Choose another name, or an empty folder.")
    if not overwrite:
        raise UserError(f"{folder}: an exported page is there already. Choose another name, or overwrite it (--overwrite).")


def _chosen(translator: Translator, to: str | None, source: str | None) -> dict[str, Direction]:
    """The directions by what the page calls them."""
    every = ways(translator)
    if to is None and source is None:
        return every
    if to is not None and source is not None:
        way = translator.direction(to, source)
        return {label: other for label, other in every.items() if other == way} or {" → ".join(way): way}
    named = to if to is not None else source
    place = 1 if to is not None else 0
    found = {label: way for label, way in every.items() if named in (way[place], translator.label(way[place]))}
    return found or {" → ".join(way): way for way in [translator.direction(to, source)]}


def _exported(
    translator: Translator, chosen: Mapping[str, Direction], folder: Path, style_input: bool, how: Mapping[str, Any]
) -> tuple[dict[str, _Way], dict[str, str]]:
    """What could be exported, and why the rest could not.

    Raises:
        UserError: nothing could.
    """
    folder.mkdir()
    made: dict[str, _Way] = {}
    refused: dict[str, str] = {}
    for label, way in chosen.items():
        stem = f"{plain_name('-'.join(map(translator.label, way)))}-{'-'.join(way)}"
        try:
            fixed = _with_a_style(translator, way, how) if style_input else how
            exported = export(translator, "onnx", folder / f"{stem}.onnx", way[1], way[0], **fixed)
            entry = _entry(exported)
            if style_input:
                free = {name: value for name, value in how.items() if name not in ("style", "style_seed")}
                styled = folder / f"{stem}-style.onnx"
                entry["styled"] = _entry(export(translator, "onnx", styled, way[1], way[0], style_input=True, **free))
        except UserError as error:
            refused[label] = str(error)
            continue
        made[label] = _Way(way, exported, entry)
    if not made:
        raise UserError(next(iter(refused.values())))
    return made, refused


def _with_a_style(translator: Translator, way: Direction, how: Mapping[str, Any]) -> Mapping[str, Any]:
    """What fixes a style in the file for those who choose no picture: the given one, or what seed 0 draws."""
    given = how.get("style") is not None or how.get("style_seed") is not None
    draws = not given and translator.dependence(way, (SIDE, SIDE)).seed
    return {**how, "style_seed": 0} if draws else how


def _entry(exported: Exported) -> dict[str, Any]:
    data = exported.path.read_bytes()
    session: Any = import_module("onnxruntime").InferenceSession(data, providers=["CPUExecutionProvider"])
    inputs: Sequence[Mapping[str, Any]] = exported.facts["i2i.inputs"]
    return {
        "file": f"models/{exported.path.name}",
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "precision": exported.weights,
        "inputs": [given["name"] for given in inputs],
        "style_size": [side for side in inputs[-1]["shape"][2:] if isinstance(side, int)] or None,
        "check": _check(session, {given["name"]: _dims(given, exported.facts["i2i.smallest"]) for given in inputs}),
    }


def _dims(given: Mapping[str, Any], smallest: int) -> list[int]:
    """The smallest dimensions of an image; those of a style as in training."""
    _, channels, *sides = given["shape"]
    known = [smallest] * 2 if given["name"] == "image" else given["size"] or [UNKNOWN] * 2
    return [1, channels, *(side if isinstance(side, int) else other for side, other in zip(sides, known, strict=True))]


def _check(session: Any, dims: Mapping[str, list[int]]) -> dict[str, Any]:
    """A few numbers of the result for a pattern, which the browser computes too before its first picture."""
    (result,) = session.run(None, {name: pattern(*shape[1:]) for name, shape in dims.items()})
    flat = result.reshape(-1)
    places = np.linspace(0, flat.size - 1, min(CHECKED, flat.size)).astype(int)
    return {"inputs": dims, "places": places.tolist(), "values": [round(float(flat[place]), 5) for place in places]}


def pattern(channels: int, height: int, width: int) -> NDArray[np.float32]:
    """(1, C, H, W) in [-1, 1], from whole numbers: static/engine-worker.js makes the same."""
    c, y, x = np.ogrid[:channels, :height, :width]
    made: NDArray[np.float32] = (((c * 7 + y * 13 + x * 29 + x * y) % 65) / 32 - 1).astype(np.float32)[None]
    return made


def _described(translator: Translator, model: Path, made: Mapping[str, _Way], folder: Path) -> dict[str, Any]:
    """What the page is told of the model and its files; the pictures to begin from are written into the folder."""
    name = title(model)
    service = Service(translator, Limits(), plain_name(name), name, samples=samples(translator, model))
    described = service.described(model)
    files = {":".join(way.way): dict(way.entry) for way in made.values()}
    begun = [one for one in described["samples"] if one["direction"] in files]
    shown = {url for one in begun for key, url in one.items() if key != "direction"}
    for i, picture in enumerate(service.pictures):
        if (url := f"samples/{service.id}/{i}.png") in shown:
            (folder / url).parent.mkdir(parents=True, exist_ok=True)
            (folder / url).write_bytes(picture)
    return described | {
        "directions": [one for one in described["directions"] if one["id"] in files],
        "samples": begun,
        "draws": False,
        "style": any("styled" in entry for entry in files.values()),
        "mix": False,
        "files": files,
    }


def _manifest(described: Mapping[str, Any], runtime: Runtime) -> dict[str, Any]:
    limits = {"megabytes": MEGABYTES, "pixels": PIXELS, "computed": LARGE}
    manifest = {"engine": "web", "version": own_version(), "limits": limits, "token": False, "models": [described]}
    manifest["runtime"] = runtime.manifest()
    told = json.dumps(manifest, sort_keys=True) + "".join(sorted(map(repr, page_files().items())))
    return {**manifest, "build": hashlib.sha256(told.encode()).hexdigest()[:16]}


def _write_page(folder: Path, manifest: Mapping[str, Any], runtime: Runtime) -> None:
    page = {name: data for name, data in page_files().items() if name != "engine-server.js"}
    page["index.html"] = _once(page["index.html"], b'name="i2i-engine" content="server"', b'name="i2i-engine" content="web"')
    begun = sorted(path.relative_to(folder).as_posix() for path in (folder / "samples").rglob("*.png"))
    kept = ["./", MANIFEST, *(name for name in page if name not in ("offline.js", "index.html")), *begun]
    page["offline.js"] = _once(page["offline.js"], b'BUILD = ""', f"BUILD = {json.dumps(manifest['build'])}".encode())
    page["offline.js"] = _once(page["offline.js"], b"FILES = []", f"FILES = {json.dumps(kept)}".encode())
    page[MANIFEST] = json.dumps(manifest, indent=1, ensure_ascii=False).encode()
    page["README.md"] = _readme(manifest).encode()
    for name, data in page.items():
        (folder / name).write_bytes(data)
    if runtime.files:
        (folder / runtime.base).mkdir()
        for name, data in {**runtime.files, "LICENCE.txt": LICENCE.encode()}.items():
            (folder / runtime.base / name).write_bytes(data)


def _once(data: bytes, old: bytes, new: bytes) -> bytes:
    if data.count(old) != 1:
        raise AssertionError(f"a file of the page has changed: {old.decode()} is to be there once")
    return data.replace(old, new)


def _readme(manifest: Mapping[str, Any]) -> str:
    """Also what a static Space of the hub reads at its beginning."""
    model: Mapping[str, Any] = manifest["models"][0]
    listed: Sequence[Mapping[str, str]] = model["directions"]
    title = json.dumps(str(model["title"]), ensure_ascii=False)
    return (
        f"---\ntitle: {title}\nsdk: static\n---\n\n# {model['title']}\n\n"
        f"A page that translates pictures ({', '.join(one['label'] for one in listed)}) in the visitor's browser, made with "
        "i2i. Any host of static files can serve this folder. To open it on this machine:\n\n"
        "    python -m http.server --bind 127.0.0.1\n\nand then http://127.0.0.1:8000 in a browser.\n"
    )
