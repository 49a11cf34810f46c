"""What the metrics say of pictures that nobody has translated: the baseline of every model of a recipe's data.

python benchmarks/untranslated.py [RECIPE] [--split val] [--metrics NAME …] [--network NAME] [--resize N] [--json FILE]
"""

from pathlib import Path

import torch
from machine import arguments, keep
from torch import Tensor, nn

from i2i.protocols import Domain, Translation
from i2i.recipe import load_recipe
from i2i.recipe.components import Component
from i2i.registry import default_registry
from i2i.translation.translator import Translator
from i2i_evaluate.commands import print_figures
from i2i_evaluate.held import held_out
from i2i_evaluate.measuring import Evaluation

RECIPE = Path(__file__).parents[1] / "recipes/cyclegan_noto2flat.yaml"
NETWORKS = {"retrieval": "extractor", "kid": "extractor", "lpips": "network"}
"""Metrics that look through a network, and the option that names it."""


class Untranslated(nn.Module):
    """A generator whose result is its input; grey is repeated where the target has colours."""

    exposes = frozenset[str]()
    divisor = 1

    def __init__(self, domains: dict[str, Domain]) -> None:
        super().__init__()
        self.channels = {key: domain.channels for key, domain in domains.items()}

    def forward(self, x: Tensor, source: str, *targets: str) -> Translation:
        return Translation({key: x.expand(-1, self.channels[key], -1, -1) for key in targets})


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("recipe", type=Path, nargs="?", default=RECIPE)
    parser.add_argument("--split", default="val", help="the split of the data (val)")
    parser.add_argument("--metrics", nargs="+", default=("retrieval", "lpips", "psnr", "swd"))
    parser.add_argument("--network", help=f"the network of {', '.join(NETWORKS)}")
    parser.add_argument("--resize", type=int, help="the side to which pictures are scaled for an extractor (retrieval: 128)")
    chosen = parser.parse_args()
    registry = default_registry()
    recipe = load_recipe(chosen.recipe, [], registry)
    held = held_out(recipe.dataset, registry, chosen.split)
    domains = dict(held.dataset.domains)
    first, second = domains
    model = Translator(Untranslated(domains), domains, ((first, second),), {}, torch.device("cpu"), registry)
    metrics = [Component(name=name, options=_options(name, chosen.network, chosen.resize)) for name in chosen.metrics]
    figures = Evaluation(model, held, metrics, batch_size=16).run()
    print_figures(figures)
    keep({figure.name: figure.value for figure in figures}, chosen.json)


def _options(metric: str, network: str | None, resize: int | None) -> dict[str, object]:
    option = NETWORKS.get(metric, "")
    given = {option: network, **({"resize": resize} if option == "extractor" else {})}
    return {name: value for name, value in given.items() if name and value is not None}


if __name__ == "__main__":
    main()
