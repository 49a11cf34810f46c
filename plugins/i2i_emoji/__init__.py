"""The emoji sample, as a data set plugin."""

from i2i.registry import hookimpl


@hookimpl
def register_datasets() -> dict[str, str]:
    """Data sets by name."""
    return {"emoji": "i2i_emoji.dataset:EmojiDataset"}
