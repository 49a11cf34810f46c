"""An observer that keeps the lowest value of each logged number, and an engine that averages a picture and its mirror image."""

from i2i import hookimpl


@hookimpl
def run_assembled(run):
    from i2i_ledger.observer import Lowest

    return [Lowest(run.recipe.section("ledger"))] if run.recipe.section("ledger") else []


@hookimpl
def register_engines():
    return {"mirrored": "i2i_ledger.observer:Mirrored"}
