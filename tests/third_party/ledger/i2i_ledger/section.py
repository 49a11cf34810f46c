from i2i.recipe import Section


class Ledger(Section):
    """Keep the lowest values in ledger.json."""

    only: str = ""
    """Only numbers whose names begin with this."""
