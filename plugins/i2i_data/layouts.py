"""Where public data sets keep their label maps, and what the numbers in them mean."""

from typing import NamedTuple

from i2i_data.ids import Color, Table


class Place(NamedTuple):
    """Globs below the root for maps, images and instances, with the endings in which the names of partners differ."""

    maps: str
    images: str
    instances: str | None
    endings: tuple[str, str, str] = ("", "", "")


class Layout(NamedTuple):
    """A data set: places to look in, its names for train, val and test, its numbers, classes and colours."""

    places: tuple[Place, ...]
    splits: dict[str, str]
    table: Table
    classes: tuple[str, ...] = ()
    colors: tuple[Color, ...] = ()


# Ids, names and colours of the Cityscapes benchmark (Cordts et al. 2016); id -1, the licence plate, is drawn in no map.
_CITYSCAPES: tuple[tuple[str, Color], ...] = (
    ("unlabeled", (0, 0, 0)),
    ("ego vehicle", (0, 0, 0)),
    ("rectification border", (0, 0, 0)),
    ("out of roi", (0, 0, 0)),
    ("static", (0, 0, 0)),
    ("dynamic", (111, 74, 0)),
    ("ground", (81, 0, 81)),
    ("road", (128, 64, 128)),
    ("sidewalk", (244, 35, 232)),
    ("parking", (250, 170, 160)),
    ("rail track", (230, 150, 140)),
    ("building", (70, 70, 70)),
    ("wall", (102, 102, 156)),
    ("fence", (190, 153, 153)),
    ("guard rail", (180, 165, 180)),
    ("bridge", (150, 100, 100)),
    ("tunnel", (150, 120, 90)),
    ("pole", (153, 153, 153)),
    ("polegroup", (153, 153, 153)),
    ("traffic light", (250, 170, 30)),
    ("traffic sign", (220, 220, 0)),
    ("vegetation", (107, 142, 35)),
    ("terrain", (152, 251, 152)),
    ("sky", (70, 130, 180)),
    ("person", (220, 20, 60)),
    ("rider", (255, 0, 0)),
    ("car", (0, 0, 142)),
    ("truck", (0, 0, 70)),
    ("bus", (0, 60, 100)),
    ("caravan", (0, 0, 90)),
    ("trailer", (0, 0, 110)),
    ("train", (0, 80, 100)),
    ("motorcycle", (0, 0, 230)),
    ("bicycle", (119, 11, 32)),
    ("license plate", (0, 0, 142)),
)

LAYOUTS: dict[str, Layout] = {
    "cityscapes": Layout(
        (
            Place(
                "gtFine/{split}/**/*_gtFine_labelIds.png",
                "leftImg8bit/{split}/**/*_leftImg8bit.*",
                "gtFine/{split}/**/*_gtFine_instanceIds.png",
                ("_gtFine_labelIds", "_leftImg8bit", "_gtFine_instanceIds"),
            ),
        ),
        {"train": "train", "val": "val", "test": "test"},
        Table(len(_CITYSCAPES)),
        tuple(name for name, _ in _CITYSCAPES),
        tuple(color for _, color in _CITYSCAPES),
    ),
    # 0 is everything that is none of the 150 classes (Zhou et al. 2017).
    "ade20k": Layout(
        (Place("annotations/{split}/**/*.png", "images/{split}/**/*.jpg", None),),
        {"train": "training", "val": "validation", "test": "testing"},
        Table(150, offset=-1, dont_care=(0,)),
    ),
    # 182 things and stuff, 255 for what is unlabelled (Caesar et al. 2018).
    "coco_stuff": Layout(
        (
            Place("stuffthingmaps/{split}2017/**/*.png", "images/{split}2017/**/*.jpg", "instances/{split}2017/**/*.png"),
            Place("stuffthingmaps/{split}2017/**/*.png", "{split}2017/**/*.jpg", "instances/{split}2017/**/*.png"),
            Place("{split}_label/**/*.png", "{split}_img/**/*.jpg", "{split}_inst/**/*.png"),
        ),
        {"train": "train", "val": "val", "test": "test"},
        Table(182, dont_care=(255,)),
    ),
}
