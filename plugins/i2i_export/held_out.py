"""Pictures that a run has held out, on which the loss of an exported file is measured too."""

from pathlib import Path

from torch import Tensor

from i2i.data import SeededDataset, spread
from i2i.errors import UserError
from i2i.labels import to_network
from i2i.protocols import Direction
from i2i.translation.translator import Translator
from i2i_evaluate.evaluation import own_recipe
from i2i_evaluate.foreign import check_data
from i2i_evaluate.held import held_out

MOST = 16
"""So many pictures, evenly spread over the split ``val``."""


def held_out_samples(translator: Translator, path: Path, way: Direction) -> tuple[list[Tensor], str]:
    """Samples of the source domain, (1, C, H, W), of the data that the model at *path* was trained on; or none, and why.

    Data that a stranger's model names are not read (``i2i_evaluate.foreign``).
    """
    try:
        recipe = own_recipe(translator, path)
        if recipe is None:
            return [], "the model does not say which data it was trained on"
        check_data(recipe, translator.registry, path)
        dataset = held_out(recipe.dataset, translator.registry, "val", trained=recipe.dataset).dataset
        domain = dataset.domains.get(way[0])
        if domain != translator.domains[way[0]]:
            return [], f"the data have no domain '{translator.label(way[0])}' like the model's"
        seeded = SeededDataset(dataset, 0)
        samples = [seeded[0, index][way[0]][None] for index in spread(len(dataset), MOST)]
        return [to_network(sample, domain) for sample in samples], ""
    except (UserError, OSError) as error:
        return [], str(error)
