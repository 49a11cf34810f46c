from i2i.recipe.sections import Section


class Ledger(Section):
    """Keep the lowest values in ledger.json."""

    only: str = ""
    """How the names of the numbers begin."""
