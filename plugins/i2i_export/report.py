"""The report beside an exported file: what was compared with the model, at which sizes, and how far it is apart."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from i2i.errors import UserError
from i2i.files import sha256
from i2i_export.checking import LIMITS, TOLERANCE, Loss
from i2i_export.plan import Plan, Size
from i2i_provenance.metadata import origins

if TYPE_CHECKING:
    from i2i_export.export import Exported

FORMAT = 1
"""The version of reports."""


def report_path(path: Path) -> Path:
    """``NAME.report.json`` for ``NAME.onnx``, and ``NAME.pt2.report.json`` for ``NAME.pt2``, which may lie beside it."""
    return path.with_suffix(".report.json") if path.suffix == ".onnx" else path.with_name(f"{path.name}.report.json")


def check_report(path: Path, overwrite: bool) -> None:
    """Raises UserError if the report of *path* would replace another file."""
    report = report_path(path)
    if report.is_dir() or (report.exists() and not overwrite):
        raise UserError(f"{report}: it exists already. Choose another name, or overwrite it (--overwrite).")


def report_of(made: "Exported", plan: Plan, differences: Mapping[Size, float], format: str, partial: Path) -> str:
    """The report as JSON; the file's bytes are still at *partial*."""
    config = plan.translator.config
    told: dict[str, Any] = {
        "format": FORMAT,
        "file": {"name": made.path.name, "format": format, "bytes": partial.stat().st_size, "sha256": sha256(partial)},
        "model": {
            "provenance": made.facts["i2i.provenance"],
            "weights_sha256": config.get("weights_sha256"),
            "networks": [f"{one.get('plugin', '')}:{one.get('name', '')} {one.get('version', '')}" for one in origins(config)],
        },
        "direction": {"source": plan.source.name, "target": plan.target.name},
        "style": dict(plan.style),
        "equal": {
            "allowed": TOLERANCE,
            "sizes": [{"batch": b, "height": h, "width": w, "difference": apart} for (b, h, w), apart in differences.items()],
        },
        "weights": made.weights,
        "loss": {name: _loss(loss) for name, loss in made.loss.items()},
        "allowed_loss": asdict(LIMITS[made.weights]) if made.weights in LIMITS else None,
        "metadata": dict(made.facts),
        "versions": {name: _version(name) for name in ("i2i-framework", "torch", "onnx", "onnxscript", "onnxruntime")},
    }
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def _loss(loss: Loss) -> dict[str, Any]:
    return {**asdict(loss), "psnr": loss.psnr if math.isfinite(loss.psnr) else None}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
