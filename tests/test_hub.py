"""The data set ``hub``: parquet with the columns of public data, other local sources, and answers where there is no network."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets  # type: ignore[import-untyped]
import numpy as np
import pytest
import torch
from datasets import ClassLabel, Features, Value
from datasets import Image as ImageFeature

from i2i.data import BatchOrder, batches
from i2i.errors import UserError
from i2i_data import hub_source
from i2i_data.hub import hub
from i2i_data.transforms import PUBLISHED, Transform
from pictures_on_disk import noise, png, write

PLAIN = Transform(flip=False)


def cells(start: int, count: int, make: Callable[[int], bytes] = lambda seed: png(noise(seed))) -> list[dict[str, Any]]:
    return [{"bytes": make(start + i), "path": f"{start + i}.png"} for i in range(count)]


def write_table(path: Path, columns: dict[str, Any], **features: Any) -> Path:
    """A parquet file whose columns are pictures unless a feature says otherwise."""
    kinds = Features({name: features.get(name, ImageFeature()) for name in columns})
    path.parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_dict(columns, features=kinds).to_parquet(path)
    return path


def shown(image: torch.Tensor) -> Any:
    return ((image + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()


@pytest.fixture
def call(tmp_path: Path) -> Callable[..., Any]:
    """``hub`` with a cache of its own."""
    return lambda **options: hub(cache=str(tmp_path / "cache"), **{"transform": PLAIN, **options})


@pytest.fixture
def facades(tmp_path: Path) -> Path:
    """A folder with the columns and splits of the paired data sets on the hub."""
    for split, count in (("train", 4), ("test", 2)):
        path = tmp_path / "facades" / f"{split}-00000-of-00001.parquet"
        write_table(path, {"imageA": cells(0, count), "imageB": cells(50, count)})
    return tmp_path / "facades"


def test_a_folder_of_parquet_has_pairs_and_splits(call: Callable[..., Any], facades: Path) -> None:
    data = call(source=str(facades))
    assert (len(data), data.paired, data.train) == (4, True, True)
    for i in range(4):
        assert np.array_equal(shown(data[i]["a"]), noise(i))
        assert np.array_equal(shown(data[i]["b"]), noise(50 + i))
    assert len(call(source=str(facades), split="train[:2]")) == 2
    held_out = call(source=str(facades), split="test")
    assert (len(held_out), held_out.train) == (2, False)
    with pytest.raises(UserError, match=r"no split 'tst'. Did you mean 'test'.* There are: train, test"):
        call(source=str(facades), split="tst")


@pytest.mark.parametrize("kind", ["file", "glob", "saved", "saved_dict", "arrow"])
def test_other_local_sources(call: Callable[..., Any], facades: Path, tmp_path: Path, kind: str) -> None:
    rows = {"imageA": cells(0, 3), "imageB": cells(50, 3)}
    table = datasets.Dataset.from_dict(rows, features=Features({name: ImageFeature() for name in rows}))
    saved = tmp_path / "saved"
    if kind == "saved_dict":
        datasets.DatasetDict({"train": table}).save_to_disk(saved)
    else:
        table.save_to_disk(saved)
    source = {
        "file": facades / "train-00000-of-00001.parquet",
        "glob": facades / "train*.parquet",
        "arrow": saved / "*.arrow",
    }.get(kind, saved)
    data = call(source=str(source))
    assert len(data) == (4 if kind in ("file", "glob") else 3)
    assert np.array_equal(shown(data[2]["b"]), noise(52))


def test_a_folder_of_pictures_with_metadata(call: Callable[..., Any], tmp_path: Path) -> None:
    lines = []
    for i in range(3):
        for side, start in (("A", 0), ("B", 50)):
            write(tmp_path / "pairs" / "train" / f"{side}{i}.png", noise(start + i))
        lines.append(json.dumps({"A_file_name": f"A{i}.png", "B_file_name": f"B{i}.png"}))
    (tmp_path / "pairs" / "train" / "metadata.jsonl").write_text("\n".join(lines))
    data = call(source=str(tmp_path / "pairs"), columns=("A", "B"))
    assert len(data) == 3
    found = {shown(data[i]["a"]).tobytes(): shown(data[i]["b"]).tobytes() for i in range(3)}
    assert found == {noise(i).tobytes(): noise(50 + i).tobytes() for i in range(3)}


def test_two_sources_are_unpaired(call: Callable[..., Any], tmp_path: Path) -> None:
    a = write_table(tmp_path / "a.parquet", {"image": cells(0, 3)})
    b = write_table(tmp_path / "b.parquet", {"photo": cells(50, 5)})
    data = call(source=str(a), source_b=str(b), columns=("image", "photo"), paired=False)
    assert (len(data), data.paired) == (5, False)
    torch.manual_seed(0)
    assert len({shown(data[0]["b"]).tobytes() for _ in range(60)}) == 5
    with pytest.raises(UserError, match="set paired to false"):
        call(source=str(a), source_b=str(b))


def test_one_column_with_labels_gives_two_sides(call: Callable[..., Any], tmp_path: Path) -> None:
    path = write_table(
        tmp_path / "zoo.parquet",
        {"image": cells(0, 6), "kind": [0, 1, 0, 1, 1, 0], "place": list("xyxyyx")},
        kind=ClassLabel(names=["horse", "zebra"]),
        place=Value("string"),
    )
    for by, values in (("kind", ("horse", "zebra")), ("place", ("x", "y"))):
        data = call(source=str(path), columns=("image", "image"), by=by, values=values, paired=False)
        assert {shown(data[i]["a"]).tobytes() for i in range(3)} == {noise(i).tobytes() for i in (0, 2, 5)}
    with pytest.raises(UserError, match=r"no value in the column 'kind' 'zebr'. Did you mean 'zebra'"):
        call(source=str(path), columns=("image", "image"), by="kind", values=("horse", "zebr"), paired=False)


def test_label_maps_in_a_column(call: Callable[..., Any], tmp_path: Path) -> None:
    maps = [np.full((20, 24), value, np.uint8) for value in (0, 3, 255)]
    column = [{"bytes": png(pixels), "path": None} for pixels in maps]
    path = write_table(tmp_path / "x.parquet", {"map": column, "photo": cells(0, 3)})
    data = call(source=str(path), columns=("map", "photo"), labels="a", classes=4, dont_care=[255])
    assert [int(data[i]["a"].unique()) for i in range(3)] == [0, 3, 4]
    assert data.domains["a"].channels == 5
    wrong = call(source=str(path), columns=("map", "photo"), labels="a", classes=4)
    with pytest.raises(UserError, match=r"row 2, column 'map': .* hold 255"):
        wrong[2]


def test_a_column_that_is_not_there_lists_those_that_are(call: Callable[..., Any], tmp_path: Path) -> None:
    path = write_table(tmp_path / "x.parquet", {"imageA": cells(0, 1), "size": [7]}, size=Value("int32"))
    with pytest.raises(UserError, match=r"no column 'imageB'. Did you mean 'imageA'\? There are: imageA, size"):
        call(source=str(path))
    with pytest.raises(UserError, match=r"column 'size' holds .*not pictures.*Columns of pictures: imageA"):
        call(source=str(path), columns=("imageA", "size"))


def test_broken_and_empty_cells_are_named_or_skipped(call: Callable[..., Any], tmp_path: Path) -> None:
    column = [*cells(0, 3), {"bytes": b"junk", "path": None}, None]
    path = write_table(tmp_path / "x.parquet", {"imageA": column, "imageB": cells(50, 5)})
    data = call(source=str(path))
    for row, message in ((3, "not a picture of a known format"), (4, "the cell is empty")):
        with pytest.raises(UserError, match=rf"row {row}, column 'imageA': .*{message}"):
            data[row]
    assert len(call(source=str(path), corrupt="skip")) == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "missing.parquet", "no such file or folder"),
        (lambda folder: folder / "*.parquet", "no such file or folder"),
        (lambda folder: folder, "the folder is empty"),
    ],
)
def test_local_sources_that_are_not_there(call: Callable[..., Any], tmp_path: Path, make: Any, message: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        call(source=str(make(tmp_path / "empty")))


def test_a_broken_parquet_file_is_one_sentence(call: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"no parquet")
    with pytest.raises(UserError, match=r"x\.parquet: the split 'train' cannot be loaded"):
        call(source=str(tmp_path / "x.parquet"))


def test_a_hub_name_offline_says_what_to_do(call: Callable[..., Any]) -> None:
    start = time.perf_counter()
    with pytest.raises(UserError, match=r"huggan/facades: .*cannot be reached.*HF_HUB_OFFLINE=1.*local folder"):
        call(source="huggan/facades")
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("failure", ["refused", "hangs"])
def test_a_missing_network_is_noticed_within_seconds(monkeypatch: pytest.MonkeyPatch, failure: str) -> None:
    from huggingface_hub import constants

    def connect(*_args: Any, **_options: Any) -> None:
        if failure == "refused":
            raise ConnectionRefusedError
        time.sleep(0.6)
        raise TimeoutError

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("i2i.hub.getproxies", dict)
    monkeypatch.setattr("i2i.hub.SECONDS", 0.2)
    monkeypatch.setattr("socket.create_connection", connect)
    start = time.perf_counter()
    with pytest.raises(UserError, match="cannot be reached"):
        hub_source.check_network("huggan/facades")
    assert time.perf_counter() - start < 0.5


def test_workers_give_the_same_batches(call: Callable[..., Any], facades: Path) -> None:
    def take(workers: int) -> list[torch.Tensor]:
        data = call(source=str(facades))
        stream = batches(data, BatchOrder(len(data), 2, 0), device=torch.device("cpu"), workers=workers)
        return [next(stream)[key] for key in "aabb"]

    assert all(torch.equal(x, y) for x, y in zip(take(0), take(2), strict=True))


def test_the_published_transform_is_the_default(tmp_path: Path, facades: Path) -> None:
    assert hub(source=str(facades), cache=str(tmp_path)).transform == PUBLISHED


def test_rows_are_held_out_by_their_numbers(call: Callable[..., Any], tmp_path: Path) -> None:
    write_table(tmp_path / "all.parquet", {"imageA": cells(0, 20), "imageB": cells(50, 20)})
    options = {"source": str(tmp_path / "all.parquet"), "columns": ("imageA", "imageB"), "holdout": 0.3}
    train, val, test = (call(**options, split=split) for split in ("train", "val", "test"))
    names = [set(split.inventory()["a"]) for split in (train, val, test)]
    assert names[1] == names[2]
    assert not names[0] & names[1]
    assert len(names[0]) + len(names[1]) == 20
    assert train.unsplit == (options["source"],)
    for more, message in (({"split": "validation"}, "Leave other splits out"), ({"streaming": True}, "not divided by rows")):
        with pytest.raises(UserError, match=message):
            call(**{**options, **more})
    with pytest.raises(UserError, match=r"holdout: 0.0001 of 20 rows of .* leaves none for 'val'"):
        call(**{**options, "holdout": 0.0001, "split": "val"})


def test_a_csv_file_names_pictures_beside_it(call: Callable[..., Any], tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / "table" / "pictures" / f"{i}.png", noise(i))
    rows = [f"pictures/{i}.png,{tmp_path}/table/pictures/{2 - i}.png,{'a long caption ' * 30}" for i in range(3)]
    lines = ["first,second,caption", *rows]
    (tmp_path / "table" / "pairs.csv").write_text("\n".join(lines))
    data = call(source=str(tmp_path / "table" / "pairs.csv"), columns=("first", "second"))
    assert [torch.equal(data[i]["a"], data[2 - i]["b"]) for i in range(3)] == [True] * 3
    with pytest.raises(UserError, match="not known in streaming"):
        call(source=str(tmp_path / "table" / "pairs.csv"), columns=("first", "second"), streaming=True)
