"""Lengths in steps, which a recipe may also give in epochs."""

import re
from typing import Annotated, Any, NamedTuple

from pydantic import Field
from pydantic_core import CoreSchema, core_schema

_EPOCHS = r"([0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?) epochs?"


class Epochs(NamedTuple):
    """A length in epochs, written ``2 epochs``. It stands for steps until a run has its data (``building.epochs``)."""

    number: float

    def __str__(self) -> str:
        return f"{self.number:.12g} epoch{'' if self.number == 1 else 's'}"


class InEpochs:
    """Marks an integer type that counts steps: where it stands, a recipe may count epochs."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        written = core_schema.plain_serializer_function_ser_schema(lambda x: str(x) if isinstance(x, Epochs) else x)
        return core_schema.no_info_wrap_validator_function(self._read, handler(source), serialization=written)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        return {"anyOf": [handler(schema), {"type": "string", "pattern": f"^{_EPOCHS}$"}]}

    def _read(self, value: Any, handler: Any) -> Any:
        if not isinstance(value, str):
            return value if isinstance(value, Epochs) else handler(value)
        if (found := re.fullmatch(_EPOCHS, value)) and 0 < float(found[1]) < 10**9:
            return Epochs(float(found[1]))
        raise ValueError(f"must be a whole number, or a length such as '2 epochs', not the text {value[:60]!r}")


Steps = Annotated[int, Field(ge=1), InEpochs()]
"""A number of steps, at least 1; a recipe may write `2 epochs` instead, and a run replaces that by the number."""
