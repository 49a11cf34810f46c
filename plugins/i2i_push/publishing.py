"""A model folder for the hub: weights, config, card and samples; written to a folder, or uploaded."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from i2i.errors import UserError, first_line
from i2i.files import UNREADABLE, new_folder, present, read_json, sha256, write_text
from i2i.hub import split_name, unreachable
from i2i.metrics import Figure
from i2i.registry import Registry
from i2i.translation.checkpoints import BEST
from i2i.translation.finding import find_model
from i2i.translation.limits import MAX_PARAMETERS
from i2i.translation.loading import load
from i2i.translation.model_config import DISCRIMINATOR
from i2i.translation.model_folder import CONFIG, WEIGHTS
from i2i.translation.translator import Translator
from i2i_evaluate.evaluation import RESULTS, read_result
from i2i_evaluate.kept import FOLDER as BEST_FOLDER
from i2i_evaluate.kept import METRICS, Kept, kept
from i2i_push.card import SAMPLES, Facts, card
from i2i_push.results import RESULTS_ON_HUB, results_on_hub

CARD = "README.md"
MODEL = "model"


def check_name(name: str) -> None:
    """Refuse text that is not a name for a model on the hub.

    Raises:
        UserError: it is not of the form owner/name.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    parts, reason = split_name(name), ""
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        reason = f" ({error})"
    if reason or parts is None or parts[1] is not None:
        raise UserError(
            f"{name}: this is not a name for a model on the hub{reason}. Write OWNER/NAME, for instance ann/day2night."
        )


def prepare(model: str | Path, name: str, out: Path, registry: Registry, max_parameters: int = MAX_PARAMETERS) -> list[str]:
    """Write the folder *out* as it would be published under *name*; returns remarks for the user.

    A README.md next to the model's config.json is kept unchanged. Weights that are not those that config.json records
    are not published.

    Raises:
        UserError: there is no model that can be loaded, *out* holds something already, or a file is a link out of the folder.
    """
    check_name(name)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: it exists already. Choose a new or an empty folder.")
    path = Path(model)
    loaded = load(path, "cpu", registry=registry, max_parameters=max_parameters)  # what cannot be loaded is not published
    folder = present(find_model(path))
    named = (CONFIG, WEIGHTS, DISCRIMINATOR, CARD, SAMPLES, BEST, RESULTS_ON_HUB)
    files = [folder / name for name in named if (folder / name).is_file()]
    if path.is_dir():
        check_inside([folder], path)
    check_inside(files, _root(folder))
    written = folder / CARD in files
    try:
        with new_folder(out) as partial:
            for file in files:
                if file.name in (CONFIG, WEIGHTS, DISCRIMINATOR) or (written and file.name != BEST):
                    there = partial / file.relative_to(folder)
                    there.parent.mkdir(exist_ok=True)
                    shutil.copyfile(file, there)  # with the mode of any new file
            if not written:
                _write_card(partial, loaded, name, folder)
    except OSError as error:
        raise UserError(f"{error.filename or out}: it cannot be written or read ({error.strerror or error}).") from error
    remarks = [f"{CARD} is the one that lies in {folder}."] if written else []
    if places := _local_paths(loaded.config):
        remarks.append(f"{CONFIG} and {CARD} name places on this machine, which everybody can read: {', '.join(places)}.")
    return remarks


def _write_card(out: Path, model: Translator, name: str, folder: Path) -> None:
    """Write the card, the figures as the hub reads them, and the sample grid if *folder*'s run has one of these weights."""
    samples = _samples(folder, model.recorded.get("step"))
    if samples is not None:
        shutil.copyfile(samples, out / SAMPLES)
    figures, why = _figures(folder)
    write_text(out / CARD, card(model, Facts(name, figures, why, samples is not None, _kept(folder))))
    if results := results_on_hub(figures, model.registry):
        (out / RESULTS_ON_HUB).parent.mkdir()
        write_text(out / RESULTS_ON_HUB, results)


def publish(folder: Path, name: str, private: bool = False) -> str:
    """Upload a folder that :func:`prepare` wrote; returns the address of its page.

    Raises:
        UserError: the user is not logged in, there is no network, or the hub refuses.
    """
    from huggingface_hub import create_repo, repo_info, upload_folder

    with _in_words(name):
        address = create_repo(name, private=private, exist_ok=True)
        if private and not repo_info(name).private:
            raise UserError(
                f"{name}: it is on the hub already, and public. Choose another name, or make it private there first."
            )
        upload_folder(repo_id=name, folder_path=folder, commit_message="i2i push")
    return str(address)


def check_ready(name: str) -> None:
    """Check everything that an upload needs before it begins.

    Raises:
        UserError: the name is not valid, the user is not logged in, or there is no network.
    """
    from huggingface_hub import get_token

    check_name(name)
    if get_token() is None:
        raise UserError("you are not logged in to the hub. Run hf auth login, or set HF_TOKEN to a token that may write.")
    if why := unreachable():
        raise UserError(f"{name} cannot be uploaded: {why}. To see what would be uploaded: --dry-run --out FOLDER.")


def _samples(folder: Path, step: int | None) -> Path | None:
    """The sample grid of the run that the model folder lies in, if there is one of the same step."""
    grid = folder.parent / "samples" / f"step-{step or 0:08d}.png"
    if not step or not grid.is_file():
        return None
    check_inside([grid], folder.parent)
    return grid


def check_inside(files: Sequence[Path], root: Path) -> None:
    """Refuse links that lead out of the folder *root*: what they point to could be anything on this machine.

    Raises:
        UserError: naming the first of them.
    """
    for file in files:
        if not file.resolve().is_relative_to(root.resolve()):
            raise UserError(
                f"{file}: this is a link to {file.resolve()}, outside of the folder, and is not published. "
                "If it is meant, put a copy in its place."
            )


def _root(folder: Path) -> Path:
    """Where a model's files may lie: in its folder, or in the hub's cache in that of its repository."""
    from huggingface_hub import constants

    folder = folder.resolve()
    repository = folder.parent.parent
    cached = folder.is_relative_to(Path(constants.HF_HUB_CACHE).resolve()) and repository.name.startswith("models--")
    return repository if cached else folder


def _figures(folder: Path) -> tuple[list[Figure], str]:
    """The figures that were measured with exactly these weights, or why there are none: those of an evaluation come first."""
    none = "No figures are recorded for these weights."
    try:
        result, best = None, folder / BEST
        if (folder.parent / RESULTS).is_file():
            check_inside([folder.parent / RESULTS], folder.parent)
            result = read_result(folder.parent / RESULTS)
            if result.weights == sha256(folder / WEIGHTS):
                return list(result.figures), ""
        if best.is_file():
            return [Figure.from_json(figure) for figure in read_json(best)["figures"]], ""
    except UNREADABLE as error:
        return [], f"{none} There is a file of figures that cannot be read ({error})."
    return [], none if result is None else f"{none} The figures that are recorded are those of other weights of this run."


def _kept(folder: Path) -> Kept | None:
    """The best and the last figures of the run whose folder holds this model."""
    run = folder.parent
    if folder.name not in (MODEL, BEST_FOLDER) or not (run / METRICS).is_file() or not (run / BEST_FOLDER).is_dir():
        return None
    check_inside([run / METRICS, run / BEST_FOLDER / BEST], run)
    return kept(run)


def _local_paths(config: Any) -> list[str]:
    """Absolute paths among the values of a config."""
    if isinstance(config, Mapping):
        return list(dict.fromkeys(path for value in config.values() for path in _local_paths(value)))
    if isinstance(config, list | tuple):
        return list(dict.fromkeys(path for value in config for path in _local_paths(value)))
    return [config] if isinstance(config, str) and (config.startswith("~") or Path(config).is_absolute()) else []


@contextmanager
def _in_words(name: str) -> Iterator[None]:
    """The reason why the hub refused, as one sentence."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except (OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        code = error.response.status_code if isinstance(error, HfHubHTTPError) else 0
        if code in (401, 403):
            reason = "your token may not write there. Make one that may on the hub's page of access tokens, then hf auth login."
        else:
            told = first_line(error)
            reason = f"the upload failed ({told}). Run the command again; it continues where it stopped."
        raise UserError(f"{name}: {reason}") from error
