"""The Earth sample data, as a data set plugin."""

from i2i.registry import hookimpl


@hookimpl
def register_datasets() -> dict[str, str]:
    """Data sets by name."""
    return {"earth": "i2i_earth.dataset:EarthDataset"}
