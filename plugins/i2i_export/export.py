"""A trained generator as one file that runs without i2i: ONNX, or a program of ``torch.export``.

The file holds one direction, from (B, C, H, W) to (B, C', H, W), with any B, and any H and W that are multiples of its
divisor and no smaller than its smallest side. Before it is written it has to give what the translator gives, at the size of
the training pictures and at others.
"""

import io
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from i2i.building.needs import accepted
from i2i.errors import UserError, one_of
from i2i.files import new_file
from i2i.protocols import Direction
from i2i.translation.translator import Translator
from i2i_export.checking import Loss, check_equal, check_loss, likenesses, loss_of, prepared_pictures
from i2i_export.drawing import drawn_by, ways_to_style
from i2i_export.facts import facts_of
from i2i_export.onnx_file import onnx_model, onnx_session, save_onnx
from i2i_export.plan import Plan, Size, on_the_cpu, planned
from i2i_export.report import check_report, report_of, report_path
from i2i_export.survey import DRAWS, check_size, missing_packages, obstacle
from i2i_export.tracing import decomposed, reason, style_shape, traced
from i2i_export.weights import Weights, stored

Form = Literal["onnx", "torch-export"]
Pictures = Callable[[Direction], Sequence[Tensor]]
SUFFIX: Mapping[Form, str] = {"onnx": ".onnx", "torch-export": ".pt2"}


@dataclass(frozen=True)
class Exported:
    """The file, the sizes (B, H, W) that were tested, and the largest difference from the model with weights in fp32.

    ``loss`` is what was lost by storing the weights in fewer bits, on inputs that resemble pictures, and on held-out ones if
    there were any; empty for fp32. ``report`` is the file that says all this, ``facts`` the metadata.
    """

    path: Path
    sizes: tuple[Size, ...]
    difference: float
    weights: Weights
    loss: Mapping[str, Loss]
    report: Path
    facts: Mapping[str, Any]


def export(
    translator: Translator,
    format: Form,
    path: str | Path,
    to: str | None = None,
    source: str | None = None,
    *,
    style: str | Path | None = None,
    style_seed: int | None = None,
    style_input: bool = False,
    weights: Weights = "fp32",
    pictures: Pictures = lambda way: (),
    overwrite: bool = False,
) -> Exported:
    """Export the direction from *source* to *to*; the file appears only if it does what the translator does.

    If a generator takes a style, that of the picture *style*, or the one drawn from *style_seed*, is fixed in the file; or with
    *style_input* the file has a second input ``style``, (1, C_target, h, w), for all pictures of a batch. *weights* is how
    weights are stored in an ONNX file (``i2i_export.weights``); what that loses is measured, also on what *pictures* gives for
    the direction: samples of the source domain as the network sees them, (1, C, H, W).

    ``NAME.report.json`` is written beside it.

    Raises:
        UserError: a package is missing, the model cannot be exported, or the exported file gives other results.
    """
    path, way = Path(path), translator.direction(to, source)
    _check_file(path, format, overwrite)
    check_asked(translator, format, weights, style, style_seed, style_input)
    plain = on_the_cpu(translator)
    try:
        check_drawn(plain, way, style is not None, style_seed is not None, style_input)
        if format == "onnx":
            check_size(plain, way)
        plan = planned(plain, way, style, style_seed, style_input)
        with new_file(report_path(path)) as report, new_file(path, SUFFIX[format]) as partial:
            made = (_to_onnx if format == "onnx" else _to_program)(plan, partial, weights, pictures)
            exported = Exported(
                path, plan.sizes(), max(made.differences.values()), weights, made.loss, report_path(path), made.facts
            )
            report.write_text(report_of(exported, plan, made.differences, format, partial), encoding="utf-8")
            report_path(path).unlink(missing_ok=True)  # a report that is there belongs to its file
    except OSError as error:
        raise UserError(f"{path}: it cannot be written ({error.strerror or error}).") from error
    finally:
        translator.module.to(translator.device)
    return exported


def check_asked(
    translator: Translator,
    format: Form,
    weights: Weights,
    style: str | Path | None = None,
    style_seed: int | None = None,
    style_input: bool = False,
) -> None:
    """Raises UserError if that cannot be, as far as it is known without computing anything."""
    one_of(weights, ("fp32", "fp16", "int8"), "weights")
    if weights != "fp32" and format != "onnx":
        raise UserError(f"weights: {weights} is for ONNX; the format {format} holds fp32.")
    if style_input and (style is not None or style_seed is not None):
        raise UserError("style_input: a style is either an input or fixed by style or style_seed. Give one of them.")
    if "style" not in accepted(translator.module) and (style_input or style is not None):
        option = "--style-input" if style_input else "--style"
        raise UserError(f"{option[2:].replace('-', '_')}: this model takes no style image. Leave it out ({option}).")
    if said := obstacle(translator.module):
        raise UserError(said)
    if format == "onnx" and (missing := missing_packages()):
        raise UserError(
            f"the export to ONNX needs {', '.join(missing)}. Install the extra: pip install 'i2i-framework[export]'."
        )


def check_drawn(model: Translator, way: Direction, picture: bool, seed: bool, style_input: bool) -> None:
    """Raises UserError if the model draws random numbers that are not replaced by a style that is fixed or given."""
    drawn = drawn_by(model, way)
    if seed and drawn == "nothing":
        raise UserError("style_seed: this model draws no style. Leave it out (--style-seed).")
    ways = ways_to_style(model, way, drawn)
    chosen = [name for name, is_it in (("--style", picture), ("--style-seed", seed), ("--style-input", style_input)) if is_it]
    if drawn == "nothing" or set(chosen) & set(ways):
        return
    if ways:
        raise UserError(
            f"this model {DRAWS[drawn]}, but a file would always give the same one. Export it with {' or '.join(ways)}."
        )
    raise UserError(
        f"this model {DRAWS[drawn]}, in inference too, so it cannot be exported: a file would always give the same ones."
    )


def _check_file(path: Path, format: Form, overwrite: bool) -> None:
    if path.suffix != SUFFIX[format]:
        raise UserError(f"{path}: the file's name must end in {SUFFIX[format]}.")
    if path.exists() and not overwrite:
        raise UserError(f"{path}: it exists already. Choose another name, or overwrite it (--overwrite).")
    if not path.parent.is_dir():
        raise UserError(f"{path.parent}: there is no such folder.")
    check_report(path, overwrite)


@dataclass(frozen=True)
class _Made:
    """What was found while a file was made."""

    differences: Mapping[Size, float]
    loss: Mapping[str, Loss]
    facts: Mapping[str, Any]


def _to_program(plan: Plan, path: Path, weights: Weights, pictures: Pictures) -> _Made:
    program = decomposed(traced(plan))
    facts = facts_of(plan, style_shape(program), weights)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on tensors that are parts of larger ones
            written = io.BytesIO()  # as torch, writing into a file itself, ends the process where the disk is full
            torch.export.save(program, written, extra_files={"i2i.json": json.dumps(facts)})
            path.write_bytes(written.getbuffer())
            run = torch.export.load(path).module()
    except OSError:
        raise
    except Exception as error:  # torch raises a dozen kinds here
        raise UserError(f"this model cannot be saved as a program: {reason(error)}.") from error
    return _Made(check_equal(plan, run), {}, facts)


def _to_onnx(plan: Plan, path: Path, weights: Weights, pictures: Pictures) -> _Made:
    """With weights in fp32 first, which must do exactly what the model does; so what is lost then is lost by storing them."""
    program = traced(plan)
    facts = facts_of(plan, style_shape(program), weights)
    model = onnx_model(plan, program)
    save_onnx(model, facts, path)
    differences = check_equal(plan, onnx_session(path))
    if weights == "fp32":
        return _Made(differences, {}, facts)
    stored(model, weights)
    save_onnx(model, facts, path)
    run = onnx_session(path)
    loss = {"like_pictures": loss_of(plan, run, likenesses(plan))}
    if held_out := list(prepared_pictures(plan, pictures(plan.way))):
        loss["held_out"] = loss_of(plan, run, held_out)
    for one in loss.values():
        check_loss(one, weights, plan.target)
    return _Made(differences, loss, facts)
