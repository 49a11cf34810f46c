"""Translates files with a trained model: ``i2i translate``; and large pictures in tiles, everywhere."""

from typing import Any

from i2i.registry import hookimpl


@hookimpl(trylast=True)  # who does it in another way comes first
def translate_large(model: Any, image: Any, way: Any, given: Any, seed: int, tile: int | None, files: bool) -> Any:
    from i2i_translate.large import tiled
    from i2i_translate.tiling import CannotTileError

    try:
        return tiled(model, image, way, given, seed, tile, files)
    except CannotTileError:
        if tile:
            raise
        return None  # nobody has asked for tiles
