"""How recipes say what one side's files are."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator


class Read(BaseModel):
    """How one side's files become images."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    channels: Annotated[int, Field(ge=1, le=1024)] = 3
    """The number of channels."""
    alpha: Literal["white", "black", "drop"] = "white"
    """The background behind transparent pixels."""
    range: tuple[FiniteFloat, FiniteFloat] | None = None
    """The values of black and white; others are clipped. Default: all of 8 or 16 bits; floats must lie in [0, 1]."""

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError(f"range must be [black, white] with black below white, not {list(self.range)}")
        return self


READ = Read()

Reading = Annotated[Read, Field(description="How the files become images.")]
Readings = Annotated[dict[str, Read] | None, Field(description="How the files of 'domains' become images, by key.")]
