"""Programs of ``torch.export`` that a user names: nothing that was put into the file runs."""

import json
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export.pt2_archive._package import PT2ArchiveReader, PT2ArchiveWriter

from i2i.errors import UserError
from i2i.protocols import Domain
from i2i.registry import Registry
from i2i_metrics.segmenters import segmenter

LABELS = Domain("land", "labels", 3)
Records = dict[str, bytes]
MODEL, WEIGHTS = "models/model.json", "data/weights/model_weights_config.json"
CONSTANTS, INPUTS = "data/constants/model_constants_config.json", "data/sample_inputs/model.pt"


class Bomb:
    """Makes the folder ``ran`` when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.place = str(folder / "ran")

    def __reduce__(self) -> Any:
        return os.mkdir, (self.place,)


class Scores(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).reshape(x.shape[0], 3, -1).unflatten(2, x.shape[-2:])


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    """What is in a good file, for images of any size."""
    path = tmp_path_factory.mktemp("program") / "good.pt2"
    rows, columns = (4 * torch.export.Dim(name, min=2) for name in ("rows", "columns"))
    sizes = ({0: torch.export.Dim("batch"), 2: rows, 3: columns},)
    torch.export.save(torch.export.export(Scores(), (torch.rand(2, 3, 16, 12),), dynamic_shapes=sizes), path)
    reader = PT2ArchiveReader(str(path))
    return {name: reader.read_bytes(name) for name in reader.get_file_names() if not name.startswith((".data", "byteorder"))}


def written(path: Path, records: Records) -> Path:
    with PT2ArchiveWriter(str(path)) as archive:
        for name, content in records.items():
            archive.write_bytes(name, content)
    return path


def bomb(folder: Path) -> bytes:
    torch.save(Bomb(folder), folder / "bomb.pt")
    return (folder / "bomb.pt").read_bytes()


def changed(records: Records, name: str, change: Callable[[Any], object]) -> Records:
    value = json.loads(records[name])
    change(value)
    return {**records, name: json.dumps(value).encode()}


def as_pickle(payload: dict[str, Any]) -> None:
    for entry in payload["config"].values():
        entry["use_pickle"] = True


def parts(value: Any) -> list[dict[str, Any]]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return ([value] if isinstance(value, dict) else []) + [part for item in inner for part in parts(item)]


def each(key: str, text: str) -> Callable[[Any], object]:
    return lambda program: [part.update({key: text}) for part in parts(program) if key in part and "inputs" in part]


def sizes(text: str) -> Callable[[Any], object]:
    return lambda program: [part.update(expr_str=text) for part in parts(program) if "expr_str" in part]


def opaque(payload: dict[str, Any], name: str) -> None:
    payload["config"]["c"] = {"path_name": name, "is_param": False, "use_pickle": True, "tensor_meta": None}


RUN = "__import__('os').mkdir({!r})"
TRAPS: dict[str, Callable[[Records, Path], Records]] = {
    "a pickled weight": lambda r, p: {**changed(r, WEIGHTS, as_pickle), "data/weights/weight_0": bomb(p)},
    "sample inputs": lambda r, p: {**r, INPUTS: bomb(p)},
    "weights of the legacy form": lambda r, p: {**r, "data/weights/model.pt": bomb(p)},
    "an opaque object": lambda r, p: {
        **changed(r, CONSTANTS, lambda c: opaque(c, "opaque_obj_0")), "data/constants/opaque_obj_0": pickle.dumps(Bomb(p)),
    },
    "a custom object": lambda r, p: {
        **changed(r, CONSTANTS, lambda c: opaque(c, "custom_obj_0")), "data/constants/custom_obj_0": bomb(p),
    },
    "a constant": lambda r, p: {
        **changed(r, CONSTANTS, lambda c: opaque(c, "tensor_0")), "data/constants/tensor_0": bomb(p),
    },
    "a size": lambda r, p: changed(r, MODEL, sizes(RUN.format(str(p / "ran")))),
    "a call": lambda r, p: changed(r, MODEL, each("target", "torch.os.getcwd")),
    "native code": lambda r, p: {**r, "data/aotinductor/model/x.so": b"\x7fELF"},
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TRAPS)
def test_nothing_in_a_program_runs(records: Records, tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "trap.pt2", TRAPS[name](records, tmp_path))
    with pytest.raises(UserError) as caught:
        segmenter(str(path), LABELS, Registry(plugins={}))
    assert not (tmp_path / "ran").exists()
    assert re.search(r"segmenter: .*trap\.pt2: (its|it calls|'data)", str(caught.value))


@pytest.mark.filterwarnings("ignore")
def test_there_is_no_fallback_to_the_older_form(records: Records, tmp_path: Path) -> None:
    path = tmp_path / "old.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("version", "8.14")
        archive.writestr("serialized_exported_program.json", records[MODEL])
        for name in ("state_dict", "constants", "example_inputs"):
            archive.writestr(f"serialized_{name}.pt", bomb(tmp_path))
    with pytest.raises(UserError, match="not an exported program"):
        segmenter(str(path), LABELS, Registry(plugins={}))
    assert not (tmp_path / "ran").exists()


@pytest.mark.filterwarnings("ignore")
def test_guards_are_not_executed(records: Records, tmp_path: Path) -> None:
    guards = changed(records, MODEL, lambda program: program.update(guards_code=[RUN.format(str(tmp_path / "ran"))]))
    made = segmenter(str(written(tmp_path / "guarded.pt2", guards)), LABELS, Registry(plugins={}))
    assert made(torch.rand(1, 3, 8, 8)).shape == (1, 3, 8, 8)
    assert not (tmp_path / "ran").exists()


def test_a_good_program_of_any_size_is_opened(records: Records, tmp_path: Path) -> None:
    made = segmenter(str(written(tmp_path / "good.pt2", records)), LABELS, Registry(plugins={}))
    assert made(torch.rand(3, 3, 24, 16)).shape == (3, 3, 24, 16)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_what_i2i_exports_is_opened(tmp_path: Path) -> None:
    from i2i.registry import default_registry
    from i2i.translation.translator import Translator
    from i2i_export.export import export

    domains = {"a": Domain("day", "image", 3), "b": LABELS}
    for name, options in {"unit": {"width": 2, "blocks": 1}, "unet": {"width": 2, "downs": 2, "inference": "eval"}}.items():
        module = default_registry().get("generator", name).factory(domains=domains, directions=(("a", "b"),), **options)
        translator = Translator(module.eval(), domains, (("a", "b"),), {}, torch.device("cpu"), Registry(plugins={}))
        export(translator, "torch-export", tmp_path / f"{name}.pt2")
        made = segmenter(str(tmp_path / f"{name}.pt2"), LABELS, Registry(plugins={}))
        assert made(torch.rand(1, 3, 16, 16)).shape == (1, 3, 16, 16)
