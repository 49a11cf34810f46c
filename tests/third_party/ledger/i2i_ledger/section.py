from i2i.recipe import Section


class Ledger(Section):
    """Keep the lowest values in ledger.json."""

    only: str = ""
    """How the names of the numbers begin."""
