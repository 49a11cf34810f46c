"""``labels``: label maps and pictures, in folders of one's own or in the layout of a public data set."""

from glob import has_magic
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from i2i.errors import UserError
from i2i_data.fitting import fits
from i2i_data.holdout import Holdout, check_holdout, without_split
from i2i_data.ids import Color, LabelSide, Table, counted, label_domain
from i2i_data.layouts import LAYOUTS, Layout, Place
from i2i_data.listing import Split, find, keys, match
from i2i_data.sides import Corrupt, FileSide, Names, Side, Sides, image_domain, joined_sides
from i2i_data.sources import READ, Read, Reading
from i2i_data.transforms import PUBLISHED, Transform, Varied

Byte = Annotated[int, Field(ge=0, le=255)]
Classes = Annotated[
    Annotated[int, Field(ge=1, le=65535)] | list[str] | None, Field(description="The number of classes, or their names.")
]
Colors = Annotated[list[tuple[Byte, Byte, Byte]] | None, Field(description="The classes' colours, if the maps are coloured.")]
Offset = Annotated[int, Field(description="A number to add to the numbers in the maps.")]
DontCare = Annotated[list[int] | None, Field(description="Numbers without a class: they become one more class, the last.")]


class Meaning(NamedTuple):
    """What the numbers mean, and how they are shown."""

    table: Table
    classes: list[str]
    colors: list[Color]


@fits
def labels(
    *,
    layout: Annotated[
        Literal["cityscapes", "ade20k", "coco_stuff", "files"],
        Field(description="A public data set, which gives root a meaning; or files of your own."),
    ] = "files",
    root: Annotated[str | None, Field(description="The folder of the data set, for all layouts but files.")] = None,
    maps: Annotated[str | None, Field(description="A folder or glob of label maps; {split} stands for the split.")] = None,
    images: Annotated[str | None, Field(description="A folder or glob of their pictures.")] = None,
    instances: Annotated[str | bool, Field(description="A folder or glob of instance numbers; true: the layout's.")] = False,
    endings: Annotated[
        tuple[str, str, str], Field(description="Endings to remove from the names of maps, pictures, instances.")
    ] = ("", "", ""),
    classes: Classes = None,
    colors: Colors = None,
    offset: Offset = 0,
    dont_care: DontCare = None,
    side: Annotated[Literal["a", "b"], Field(description="The side of the maps.")] = "a",
    split: Split = "train",
    holdout: Holdout = None,
    names: Names = ("labels", "photo"),
    read: Reading = READ,
    transform: Varied = PUBLISHED,
    corrupt: Corrupt = "refuse",
) -> Sides:
    """Label maps with their pictures; ``names`` are those of maps and pictures.

    ``layout: files`` takes ``maps``, ``images`` and what the numbers mean; another layout takes ``root`` and knows the rest.
    """
    if layout == "files":
        if root is not None or maps is None or images is None:
            raise UserError("layout 'files' takes 'maps' and 'images', folders or globs, and no 'root'.")
        if instances is True:
            raise UserError("layout 'files' does not know where the instances are: give their folder or glob.")
        check_holdout(holdout, maps, images, instances or None)
        place = Place(maps, images, instances or None, endings)
        meaning = _declared(classes, colors, offset, dont_care)
        folder: str = split
    else:
        known_by_layout = (maps, images, classes, colors, dont_care, offset or None, "".join(endings) or None)
        if any(option is not None for option in known_by_layout) or isinstance(instances, str):
            raise UserError(
                f"layout '{layout}' knows its files and classes. Leave out maps, images, endings, classes, colors, offset and "
                "dont_care; instances is true or false."
            )
        check_holdout(holdout, "{split}")
        known = LAYOUTS[layout]
        folder = known.splits[split]
        place = _below(root, known, folder, layout, bool(instances))
        meaning = Meaning(known.table, list(known.classes), list(known.colors))
    return _sides(place, folder, meaning, side, split, holdout, names, read, transform, corrupt)


def _declared(classes: int | list[str] | None, colors: list[Color] | None, offset: int, dont_care: list[int] | None) -> Meaning:
    count, named = counted(classes, colors)
    return Meaning(Table(count, offset, tuple(dont_care or ()), tuple(colors or ())), named, colors or [])


def _below(root: str | None, layout: Layout, folder: str, name: str, instances: bool) -> Place:
    """The layout's place whose folders of maps and images exist below the root."""
    if root is None:
        raise UserError(f"layout '{name}' needs 'root', the folder of the data set.")
    base = Path(root).expanduser()
    for place in layout.places:
        parts = [part and str(base / part) for part in place[:3]]
        folders = [_fixed(part, folder) for part in parts[:2] if part]
        if all(path.is_dir() for path in folders):
            if instances and not (parts[2] and _fixed(parts[2], folder).is_dir()):
                raise UserError(f"{root}: layout '{name}' has no instances here. Set instances to false.")
            return Place(str(parts[0]), str(parts[1]), parts[2] if instances else None, place.endings)
    tried = [part.split("/**")[0].replace("{split}", folder) for part in layout.places[0][:2]]
    raise UserError(f"{root}: no folders {' and '.join(tried)} of the layout '{name}'. Check root and split.")


def _fixed(pattern: str, split: str) -> Path:
    """The folder in front of a glob."""
    path = Path(pattern.replace("{split}", split))
    while has_magic(path.as_posix()):
        path = path.parent
    return path


def _sides(
    place: Place,
    folder: str,
    meaning: Meaning,
    side: Literal["a", "b"],
    split: str,
    holdout: float | None,
    names: Names,
    read: Read,
    transform: Transform,
    corrupt: Corrupt,
) -> Sides:
    patterns = [part for part in (place.maps, place.images, place.instances) if part is not None]
    found = [find(pattern, folder, holdout, ending) for pattern, ending in zip(patterns, place.endings, strict=False)]
    named = [keys(one, ending) for one, ending in zip(found, place.endings, strict=False)]
    files, notes = match(named, [str(one.base) for one in found])
    has_instances = len(files) == 3
    domain = label_domain(names[0], meaning.table, meaning.classes, meaning.colors, has_instances)
    maps: Side = LabelSide(domain, files[0], files[2] if has_instances else ())
    pictures: Side = FileSide(image_domain(names[1], read), files[1])
    a, b = (maps, pictures) if side == "a" else (pictures, maps)
    unsplit = without_split(*patterns)
    sides = {"a": a, "b": b}
    return joined_sides(sides, paired=True, transform=transform, split=split, corrupt=corrupt, notes=notes, unsplit=unsplit)
