"""How recipes say what one side's files are."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator


class Read(BaseModel):
    """How one side's files become images: their channels, what happens to transparency, and which values are black and white.

    Without ``range``, 8 and 16 bits stand for [0, 255] and [0, 65535], and floats must lie in [0, 1]. Values outside a
    declared range are clipped.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: Annotated[int, Field(ge=1, le=1024)] = 3
    alpha: Literal["white", "black", "drop"] = "white"
    range: tuple[FiniteFloat, FiniteFloat] | None = None

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError(f"range must be [black, white] with black below white, not {list(self.range)}")
        return self


READ = Read()
