"""Many files through one model: every input and every result's place is checked before anything is written."""

from collections.abc import Sequence
from pathlib import Path

from i2i.errors import UserError
from i2i.inference import Translator
from i2i.pictures import read_picture, save_picture, to_tensor
from i2i.protocols import Domain


def translate_files(
    translator: Translator,
    inputs: Sequence[str | Path],
    to: str | None,
    out: str | Path,
    overwrite: bool = False,
    source: str | None = None,
    style: str | Path | None = None,
    style_seed: int = 0,
) -> list[Path]:
    """Translate files into the folder *out*, as PNGs under the inputs' names; returns the paths in their order.

    Two inputs of one name get distinct names (``x.png``, ``x-2.png``). If any cannot be read, nothing is written.

    Raises:
        UserError: a domain does not exist, inputs cannot be read (all are named), or a result would replace a file.
    """
    here, there = translator.direction(to, source)
    files, out = [Path(path) for path in inputs], Path(out)
    if not files:
        raise UserError("no images were given. Name at least one.")
    results = _results(files, out)
    _check_results(files, results, out, overwrite)
    _check_inputs(files, translator.domains[here])
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out}: the folder cannot be made ({error.strerror}). Choose another.") from error
    for file, result in zip(files, results, strict=True):
        names = {"to": translator.label(there), "source": translator.label(here)}
        image = translator.translate(file, **names, style=style, style_seed=style_seed)
        event = {"source": translator.domains[here], "target": translator.domains[there], "image": image}
        translator.registry.hook.image_translated(**event)
        save_picture(image, result)
    return results


def _results(files: Sequence[Path], out: Path) -> list[Path]:
    """A path for each result; names that differ in case only count as equal, as some file systems see them so."""
    taken: set[str] = set()
    results = []
    for file in files:
        name, number = file.stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{file.stem}-{number}"
        taken.add(name.casefold())
        results.append(out / f"{name}.png")
    return results


def _check_results(files: Sequence[Path], results: Sequence[Path], out: Path, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: this is a file, not a folder. Choose another output folder.")
    inputs = {file.resolve() for file in files}
    if lost := [result for result in results if result.resolve() in inputs]:
        raise UserError(f"{lost[0]}: the result would replace an input. Choose another output folder.")
    existing = [str(result) for result in results if result.exists()]
    if existing and not overwrite:
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise UserError(f"{existing[0]}{more}: already there. Choose another output folder, or ask to overwrite.")


def _check_inputs(files: Sequence[Path], domain: Domain) -> None:
    """Read every input once, before anything is written, and name all that are bad."""
    bad = []
    for file in files:
        try:
            to_tensor(read_picture(file), domain, str(file))
        except UserError as error:
            bad.append(str(error))
    if bad:
        raise UserError("\n".join(bad))
