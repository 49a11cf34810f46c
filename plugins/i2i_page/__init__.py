"""The page on which people paint, draw and translate: its static files, and the description of a model that it reads.

``i2i serve`` answers with these files, and ``i2i export --format web`` writes them into a folder. Nothing here is loaded from
elsewhere, and there is no framework and no build step.
"""

from importlib.resources import files as _resources


def files() -> dict[str, bytes]:
    """The page's files: name -> content. All lie in one folder, beside the description that they read."""
    static = _resources(__name__).joinpath("static")
    return {file.name: file.read_bytes() for file in sorted(static.iterdir(), key=lambda file: file.name) if file.is_file()}
