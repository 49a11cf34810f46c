"""Data in common forms: folders, A|B pictures, label maps, Hugging Face data sets, single pictures."""

from i2i.registry import hookimpl


@hookimpl
def register_datasets() -> dict[str, str]:
    return {
        "folders": "i2i_data.folders:folders",
        "side_by_side": "i2i_data.side_by_side:side_by_side",
        "labels": "i2i_data.label_maps:labels",
        "hub": "i2i_data.hub:hub",
        "single": "i2i_data.single:single",
    }
