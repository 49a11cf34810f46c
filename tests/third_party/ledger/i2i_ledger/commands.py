import json
from pathlib import Path

from i2i.errors import UserError


def ledger(run: Path) -> None:
    """Print the lowest values of a run."""
    if not (run / "ledger.json").is_file():
        raise UserError(f"{run}: no ledger was kept here. Train with a section 'ledger' in the recipe.")
    print(*(f"{name} {value:.4g}" for name, value in json.loads((run / "ledger.json").read_text()).items()), sep="\n")
