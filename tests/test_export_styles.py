"""Styles in exported files: fixed by a picture or a seed, or an input; and what cannot be, said before anything is traced."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from exports import AB, Sized, Tinted, of, translator
from i2i.errors import UserError
from i2i.translation.translator import Translator
from i2i_export.drawing import drawn_by
from i2i_export.export import export
from i2i_export.plan import on_the_cpu, planned
from i2i_spade.encoder import StyleEncoder


@pytest.fixture
def untraced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be traced."""
    monkeypatch.setattr("i2i_export.export.traced", lambda plan: pytest.fail("it was traced"))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    (tmp_path / "styles").mkdir()
    Image.effect_noise((40, 44), 90).convert("RGB").save(tmp_path / "styles" / "style.png")
    return tmp_path / "styles" / "style.png"


def test_a_style_is_fixed_by_a_picture_or_a_seed(tmp_path: Path, picture: Path) -> None:
    model, file = of(Tinted()), tmp_path / "m.pt2"
    x = torch.rand(3, 3, 96, 64) * 2 - 1
    seen = [model.batch(x, AB[0], {"style": model.style_tensor(picture, "b")}), model.batch(x, AB[0], seed=3)]
    assert not torch.allclose(*seen, atol=1e-3)
    ways: tuple[dict[str, Any], ...] = ({"style": picture}, {"style_seed": 3})
    for chosen, expected in zip(ways, seen, strict=True):
        export(model, "torch-export", file, overwrite=True, **chosen)
        with torch.no_grad():
            torch.testing.assert_close(torch.export.load(file).module()(x), expected, rtol=0, atol=1e-4)


def test_spade_s_style_is_fixed_or_given(picture: Path) -> None:
    """The network that is traced; the trace itself takes long, and is of parts that other tests trace."""
    model = on_the_cpu(translator("spade", vae=True, style_size=4, size=(64, 64), init_gain=1.0, encoder_width=2))
    assert drawn_by(model, AB[0]) == "style"
    x, style = torch.rand(2, 4, 96, 64).softmax(1), model.style_tensor(picture, "b")
    expected = model.batch(x, AB[0], {"style": style})
    for plan, inputs in (
        (planned(model, AB[0], picture), (x,)),
        (planned(model, AB[0], None, 3), (x,)),
        (planned(model, AB[0], style_input=True), (x, style)),
    ):
        with torch.no_grad():
            made = plan.network(*inputs)
        torch.testing.assert_close(made, plan.expected(*inputs), rtol=0, atol=1e-5)
        assert torch.allclose(made, expected, atol=1e-4) == (plan.style != {"seed": 3})
    assert plan.style_sizes == ((256, 256), (320, 288))


def test_spade_s_encoder_has_no_branch_for_its_own_size() -> None:
    side = torch.export.Dim.AUTO
    encoder = StyleEncoder(3, 1, 4).eval()
    program = torch.export.export(encoder, (torch.rand(1, 3, 64, 96),), dynamic_shapes=({2: side, 3: side},)).module()
    for size in ((256, 256), (31, 300)):
        style = torch.rand(1, 3, *size)
        torch.testing.assert_close(program(style), encoder(style))


def ran(path: Path, *inputs: Tensor) -> Tensor:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = {one.name: x.numpy() for one, x in zip(session.get_inputs(), inputs, strict=True)}
    return torch.from_numpy(session.run(None, given)[0])


@pytest.mark.parametrize(("network", "sides"), [(Tinted, ["style_rows", "style_columns"]), (Sized, [64, 64])])
def test_a_style_is_an_input_of_any_size_that_the_network_takes(network: Any, sides: list[Any], tmp_path: Path) -> None:
    """One style for all pictures of a batch."""
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    model = of(network())
    model.config["extra"]["sizes"]["b"] = [64, 64]
    made = export(model, "onnx", tmp_path / "m.onnx", style_input=True)
    image, style = made.facts["i2i.inputs"]
    assert (image["name"], image["shape"]) == ("image", ["batch", 3, "rows", "columns"])
    assert (style["name"], style["domain"], style["shape"]) == ("style", "night", [1, 3, *sides])
    h, w = (30, 47) if network is Tinted else (64, 64)
    x, given = torch.rand(2, 3, 32, 48), torch.rand(1, 3, h, w)
    torch.testing.assert_close(ran(made.path, x, given), model.batch(x, AB[0], {"style": given}), rtol=0, atol=1e-4)
    assert not torch.allclose(ran(made.path, x, given), ran(made.path, x, -given), atol=1e-2)


@pytest.mark.usefixtures("untraced")
def test_what_a_file_cannot_do_is_said_before_it_is_traced(tmp_path: Path, picture: Path) -> None:
    def refused(model: Translator, **chosen: Any) -> str:
        with pytest.raises(UserError) as error:
            export(model, "torch-export", tmp_path / "m.pt2", **chosen)
        assert [path.name for path in tmp_path.iterdir()] == ["styles"]
        return str(error.value)

    plain = translator("resnet")
    assert "this model takes no style image" in refused(plain, style=picture)
    assert "style_input: this model takes no style image" in refused(plain, style_input=True)
    assert "draws no style" in refused(plain, style_seed=0)
    styled = of(Tinted())
    assert "Export it with --style or --style-seed or --style-input." in refused(styled)
    assert "one file holds one style" in refused(styled, style=picture, style_seed=1)
    assert "either an input or fixed" in refused(styled, style=picture, style_input=True)
    assert "no-such.png" in refused(styled, style=tmp_path / "no-such.png")
    noisy, dropping = of(Tinted(noise=1.0)), translator("unet", inference="train_mode")
    for model in (noisy, dropping):
        for chosen in ({}, {"style_seed": 0}):
            assert "draws random numbers for every pixel, or dropout, in inference too" in refused(model, **chosen)
    for chosen in ({"style": picture}, {"style_input": True}):
        assert "draws random numbers for every pixel" in refused(noisy, **chosen)
