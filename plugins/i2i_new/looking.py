"""What lies at the places that a person names."""

from collections.abc import Sequence
from pathlib import Path

from i2i.errors import UserError
from i2i.hub import split_name
from i2i_data.listing import find
from i2i_new.folders import in_one, in_two
from i2i_new.found import Found
from i2i_new.tables import csv_in, in_table, in_two_tables, is_table


def look(places: Sequence[str]) -> Found:
    """Recognise one folder or two, a table, or a data set on the hub.

    Raises:
        UserError: there is nothing, or nothing that makes two sides.
    """
    first, *rest = places
    here = Path(first).expanduser()
    if is_table(here) or _on_the_hub(first, here):
        if len(rest) == 1:
            if not is_table(Path(rest[0]).expanduser()):
                raise UserError(f"{rest[0]}: give two columns of {first}, or a second table.")
            return in_two_tables(first, rest[0])
        if len(rest) > 2:
            raise UserError(f"{first}: give two of its columns, or two labels, not {len(rest)}.")
        return in_table(first, rest)
    if tables := [place for place in rest if is_table(Path(place).expanduser())]:
        raise UserError(f"{tables[0]}: this is a table, and {first} is none. Give two folders, or two tables.")
    folders = [_folder(place) for place in places]
    if len(folders) > 2:
        raise UserError(f"{len(folders)} folders were given. Give two, one for each side.")
    if len(folders) == 2:
        return in_two(*folders)
    if (table := csv_in(folders[0])) is not None:
        return in_table(str(table), ())
    inner = [folders[0] / name for name in ("a", "b")]  # as `i2i data pack` writes unpaired data
    return in_two_tables(*map(str, inner)) if all(map(is_table, inner)) else in_one(folders[0])


def _on_the_hub(text: str, here: Path) -> bool:
    """Whether it can only be the name of a data set on the hub: OWNER/NAME, and no folder OWNER is here."""
    return split_name(text) is not None and not here.exists() and not here.parent.exists()


def _folder(place: str) -> Path:
    path = Path(place).expanduser()
    if not path.is_dir():
        find(place)  # it says what is missing
        raise UserError(f"{place}: this is a file. Give a folder of pictures, a parquet or CSV file, or a data set on the hub.")
    return path
