"""The model card: what is known about a model, for those who find it on the hub; it says what is not known."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from i2i.building.naming import as_keywords, as_options, between, named
from i2i.errors import UserError
from i2i.metrics import Figure
from i2i.pictures.preparation import described
from i2i.protocols import Domain
from i2i.recipe.nodes import dump
from i2i.translation.translator import Translator
from i2i_evaluate.comparison import protocols, spread_of
from i2i_evaluate.kept import Kept
from i2i_provenance.metadata import origins
from i2i_push.results import names_on_hub

SAMPLES = "samples.png"


@dataclass(frozen=True)
class Facts:
    """What a card needs in addition to the model: figures or why there are none, whether a picture ``SAMPLES`` exists, and
    the figures of the run's best model beside those of its last.
    """

    name: str
    figures: Sequence[Figure] = ()
    no_figures: str = "No figures are recorded for these weights."
    samples: bool = False
    kept: Kept | None = None


def card(model: Translator, facts: Facts) -> str:
    """README.md of the model ``facts.name``, with the front matter that the hub reads."""
    parts = [
        f"---\n{_front_matter(model)}\n---",
        f"# {facts.name.partition('/')[2]}",
        _about(model),
        f"![samples]({SAMPLES})\n\nHeld-out pictures, the sample grid of these weights."
        if facts.samples
        else "No sample pictures are recorded for these weights.",
        f"## Use\n\n{_use(model, facts.name)}",
        f"## Intended use and misuse\n\n{_INTENDED}",
        f"## Data\n\n{_data(model)}",
        f"## Figures\n\n{_table(facts.figures) if facts.figures else facts.no_figures}",
        *([f"## Best and last\n\n{_best_and_last(facts.kept)}"] if facts.kept is not None else []),
        f"## Licence of the weights\n\n{_licence(model)}",
        f"## Recipe\n\n{_recipe(model)}",
    ]
    return "\n\n".join(parts) + "\n"


_INTENDED = """\
Use the model for pictures like its training data, if you want plausible pictures: studies, drafts, data augmentation, art.

The results are invented. The model makes up details that are not in the input from what is common in its training data, and
any detail can be wrong. Do not use the results as evidence, as measurements, for decisions about people, or as photographs of
real scenes. For other kinds of pictures the results are undefined; what is rare in its training data, the model makes rarely.

`i2i translate` marks its results in their metadata as made by a trained algorithm (IPTC `digitalSourceType`). Keep it."""


def _converted(model: Translator) -> Mapping[str, Any]:
    converted: Mapping[str, Any] = model.recorded.get("converted") or {}
    return converted


def _front_matter(model: Translator) -> str:
    from huggingface_hub import ModelCardData

    tags = list(dict.fromkeys(["i2i", *(str(origin["name"]).rpartition(":")[2] for origin in origins(model.config))]))
    data = ModelCardData(library_name="i2i", pipeline_tag="image-to-image", tags=tags, license="unknown")
    if licence := str(_converted(model).get("licence") or ""):
        name = re.split("[(:;,]", licence)[0]
        data.license, data.license_name = "other", re.sub(r"[^\w.]+", "-", name).strip("-").lower()
    recipe = model.recorded.get("recipe")
    dataset = recipe.get("dataset") if isinstance(recipe, Mapping) else None
    data.datasets = (names_on_hub(dataset, model.registry) if isinstance(dataset, Mapping) else None) or None
    return data.to_yaml()


def _about(model: Translator) -> str:
    ways = "; ".join(f"{model.label(s)} → {model.label(t)}" for s, t in between(model.directions))
    millions = sum(parameter.numel() for parameter in model.module.parameters()) / 1e6
    made = ", ".join(dict.fromkeys(f"`{origin['name']}` ({_plugin(origin)})" for origin in origins(model.config)))
    domains = "\n".join(f"- {model.label(key)}: {_described(domain)}" for key, domain in model.domains.items())
    step = model.recorded.get("step")
    trained = f"Trained for {step} steps with i2i {model.config.get('i2i') or 'of an unknown version'}." if step else ""
    if _converted(model):
        files = ", ".join(f"`{file['name']}` (SHA-256 {file['sha256']})" for file in _converted(model).get("files", []))
        trained = f"Converted from published weights in the format `{_converted(model).get('from')}`: {files}."
    return (
        f"Image-to-image translation: {ways}. Generator {made}, {millions:.3g} million parameters. "
        f"{trained or 'How it was trained is unknown.'}\n\n{domains}"
    )


def _plugin(origin: Mapping[str, Any]) -> str:
    home = f" of {origin['distribution']}" if origin.get("distribution") else ""
    return f"plugin {origin['plugin']} {origin['version'] or 'of an unknown version'}{home}"


def _described(domain: Domain) -> str:
    prepared = f"; {described(domain)}" if described(domain) else ""
    if domain.kind == "image":
        return f"pictures of {domain.channels} channel{'s' if domain.channels > 1 else ''}{prepared}"
    names = f": {', '.join(domain.classes)}" if domain.classes else ""
    return f"label maps of {domain.label_count} classes{names}{prepared}"


def _use(model: Translator, name: str) -> str:
    way = [*between(model.directions), *model.directions][0]
    words = named(model.domains, model.directions, way, model.any_source)
    made = origins(model.config)
    plugins = ", ".join(dict.fromkeys(str(origin["plugin"]) for origin in made))
    homes = " ".join(dict.fromkeys(["i2i-framework", *filter(None, (str(origin.get("distribution", "")) for origin in made))]))
    return (
        f"With i2i and its plugin {plugins} (`pip install {homes}`):\n\n"
        f"    i2i translate {name} PICTURE.jpg {as_options(words)} --out translated\n\n"
        f'```python\nimport i2i\n\ni2i.load("{name}").translate("PICTURE.jpg", {as_keywords(words)}).save("result.png")\n```'
    )


def _data(model: Translator) -> str:
    recipe = model.recorded.get("recipe")
    dataset = recipe.get("dataset") if recipe is not None else None
    if not isinstance(dataset, Mapping):
        return "The model records neither the data nor their licence."
    name = str(dataset.get("name"))
    try:
        entry = model.registry.get("dataset", name)
        licence = getattr(entry.factory, "licence", None)
        called = f"`{name}` (plugin {entry.plugin})"
    except UserError:
        licence, called = None, f"`{name}`"
    told = f"Licence: {licence}." if licence else "Their licence is not recorded: ask the source of the data."
    return f"The data set {called}; its options are in the recipe below, under `dataset`. {told}"


def _licence(model: Translator) -> str:
    if licence := _converted(model).get("licence"):
        return f"{licence}."
    return "Not stated. Ask the publisher before you use them for more than tests."


def _recipe(model: Translator) -> str:
    recipe = model.recorded.get("recipe")
    if recipe is None:
        notes = "".join(f"\n- {note}" for note in _converted(model).get("notes", []))
        return "None: the model was not trained by i2i, or its recipe is not recorded." + (notes and f"\n\nAssumed:\n{notes}")
    return f"````yaml\n{dump(recipe)}````"


def _best_and_last(kept: Kept) -> str:
    """The figures of the run's two models, and which of them this is not told: the step is at the top."""
    rows = [kept.headings, ["---"] * len(kept.headings), *kept.rows]
    table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
    return f"While it was trained, on {kept.chosen}:\n\n{table}"


def _table(figures: Sequence[Figure]) -> str:
    """The figures, then what they were measured on: first what all have in common."""
    common, own = protocols(figures)
    rows = ["| figure | value | 95 % interval or spread | better | how it was measured |", "|---|---|---|---|---|"]
    for figure, protocol in zip(figures, own, strict=True):
        cells = (f"`{figure.name}`", f"{figure.value:.5g}", spread_of(figure), figure.better, protocol)
        rows.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(rows) + f"\n\nAll figures: {common}"
