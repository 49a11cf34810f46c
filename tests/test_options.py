"""A factory's signature as the schema of its options."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError

from i2i.errors import UserError
from i2i.recipe.options import check_options, options_model
from i2i.registry import Registry, hookimpl
from i2i.testing.described import describe
from i2i.testing.listing import overview, plugins


class Network:
    """A component as a class."""

    def __init__(
        self,
        *,
        domains: Any,
        directions: Any,
        width: Annotated[int, Field(ge=1, le=512, description="filters")] = 64,
        norm: Literal["instance", "batch"] = "instance",
        sizes: list[int] = (1, 2),  # type: ignore[assignment]
        rate: float | None = None,
        seed: int,
    ) -> None: ...


def adapted() -> Callable[..., Any]:
    """What an adapter makes: a signature by hand."""

    def factory(**given: Any) -> None: ...

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter("domains", keyword), inspect.Parameter("width", keyword, annotation=int, default=3)]
    factory.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return factory


def test_supplied_parameters_are_no_options_and_defaults_become_what_yaml_would_give() -> None:
    model = options_model("generator", Network)
    assert list(model.model_fields) == ["width", "norm", "sizes", "rate", "seed"]
    expected = {"width": 64, "norm": "instance", "sizes": [1, 2], "rate": None, "seed": 3}
    assert check_options(model, {"seed": 3}) == expected


@pytest.mark.parametrize(
    "given",
    [{}, {"seed": "3"}, {"seed": True}, {"seed": 1, "width": 0}, {"seed": 1, "width": 513}, {"seed": 1, "x": 1}],
)
def test_bad_options_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        check_options(options_model("generator", Network), given)


def test_an_adapters_signature_and_text_annotations_work() -> None:
    assert check_options(options_model("generator", adapted()), {}) == {"width": 3}

    def late(*, domains: "Unknown", size: "int" = 2) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(UserError, match=r"signature cannot be read.*Unknown"):
        options_model("loss", late)
    late.__annotations__.pop("domains")
    assert check_options(options_model("loss", late), {}) == {"size": 2}


def untyped(*, width=3): ...  # type: ignore[no-untyped-def]
def open_ended(**rest: int) -> None: ...
def positional(width: int = 3) -> None: ...
def reserved(*, name: str = "") -> None: ...
def shadowing(*, copy: int = 1) -> None: ...
def strange(*, thing: Registry) -> None: ...


@pytest.mark.parametrize(
    ("factory", "part"),
    [
        (untyped, "loss 'untyped': the option 'width' has no type"),
        (open_ended, r"loss 'open_ended' takes \*\*rest"),
        (positional, "'width' must be keyword-only"),
        (reserved, "cannot be called 'name'"),
        (shadowing, "cannot be called 'copy'"),
        (strange, "loss 'strange': its options cannot be checked"),
    ],
)
def test_a_signature_that_is_no_schema(factory: Callable[..., Any], part: str) -> None:
    with pytest.raises(UserError, match=part):
        options_model("loss", factory)


def test_describe() -> None:
    found = {option.name: option for option in describe("generator", Network)}
    assert found["width"] == ("width", "int >= 1 <= 512", "64", "filters")
    assert found["norm"].type == "instance | batch"
    assert found["sizes"].type == "list[int]"
    assert found["rate"][1:3] == ("float | null", "null")
    assert found["seed"].default == "required"


class Listed:
    """A plugin to list."""

    __version__ = "9.9"

    @hookimpl
    def register_generators(self) -> dict[str, Any]:
        return {"network": Network, "lost": "no_such_module:x"}


def test_the_listing_shows_options_plugin_version_and_what_is_broken(capsys: pytest.CaptureFixture[str]) -> None:
    registry = Registry(plugins=[Listed(), object()])
    plugins(registry=registry)
    text = capsys.readouterr().out
    for part in ("network  Listed 9.9", "int >= 1 <= 512", "broken: object", "No module named 'no_such_module'"):
        assert part in text
    plugins(json=True, registry=registry)
    assert '"name": "network"' in capsys.readouterr().out
    assert overview(registry)["broken"][0]["plugin"] == "object"


def test_nothing_installed_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    plugins(registry=Registry(plugins=[]))
    assert "No plugin offers a component." in capsys.readouterr().out
