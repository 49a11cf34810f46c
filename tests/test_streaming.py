"""Streaming: every row once in an epoch, one order for one seed whatever the workers, exact resume, and honest refusals."""

import itertools
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets  # type: ignore[import-untyped]
import numpy as np
import pytest
import torch
from datasets import ClassLabel, Features
from datasets import Image as ImageFeature

from i2i.data import BatchOrder, SeededDataset, batches, loader_processes
from i2i.errors import UserError
from i2i.protocols import Stream
from i2i.recipe.options import complete_options
from i2i_data.hub import hub
from i2i_data.hub_stream import epoch_length
from i2i_data.transforms import Transform
from pictures_on_disk import png

CPU = torch.device("cpu")
PLAIN = Transform(flip=False)


def grey(value: int) -> dict[str, Any]:
    return {"bytes": png(np.full((8, 8, 3), value, np.uint8)), "path": f"{value}.png"}


def write_table(path: Path, columns: dict[str, Any], **features: Any) -> None:
    kinds = Features({name: features.get(name, ImageFeature()) for name in columns})
    path.parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_dict(columns, features=kinds).to_parquet(path)


def value(image: torch.Tensor) -> int:
    return round((float(image[0, 0, 0]) + 1) * 127.5)


@pytest.fixture
def stream(tmp_path: Path) -> Callable[..., Any]:
    """Twelve pairs (i, 100 + i) in three files, streamed."""
    for shard in range(3):
        rows = range(4 * shard, 4 * shard + 4)
        columns = {"imageA": [grey(i) for i in rows], "imageB": [grey(100 + i) for i in rows], "kind": [i % 2 for i in rows]}
        write_table(tmp_path / "pairs" / f"train-{shard:05d}-of-00003.parquet", columns, kind=ClassLabel(names=["even", "odd"]))
    return lambda **options: hub(
        **{
            "source": str(tmp_path / "pairs"),
            "streaming": True,
            "samples": 12,
            "shuffle_buffer": 5,
            "transform": PLAIN,
            **options,
        }
    )


def epoch_of(data: Any, seed: int, epoch: int, key: str = "a") -> list[int]:
    return [value(data.at(seed, epoch, i)[key]) for i in range(len(data))]


def test_an_epoch_has_every_row_once_in_an_order_of_its_own(stream: Callable[..., Any]) -> None:
    data = stream()
    assert isinstance(data, Stream)
    orders = [epoch_of(data, seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert all(sorted(order) == list(range(12)) for order in orders)
    assert len({*map(tuple, orders), tuple(range(12))}) == 4
    assert orders[0] == epoch_of(stream(), 0, 0)
    assert epoch_of(stream(shuffle_buffer=1), 3, 4) == list(range(12))


def test_pairs_stay_together_and_held_out_rows_keep_their_order(stream: Callable[..., Any], tmp_path: Path) -> None:
    data = stream()
    assert all(value(s["b"]) == value(s["a"]) + 100 for s in (data.at(0, 2, i) for i in range(12)))
    write_table(
        tmp_path / "pairs" / "test-00000-of-00001.parquet", {"imageA": [grey(7), grey(8)], "imageB": [grey(9), grey(9)]}
    )
    held_out = stream(split="test", samples=2)
    assert [value(held_out[i]["a"]) for i in (1, 0, 1)] == [8, 7, 8]


def test_workers_and_a_resume_give_the_same_batches(stream: Callable[..., Any]) -> None:
    def take(workers: int, start: int) -> list[torch.Tensor]:
        data = stream(paired=False, transform=Transform(crop=4))
        data[0]  # as the checks before training do: its place in the stream must not be shared with the workers
        order = BatchOrder(len(data), 2, 3, start=start, shuffled=False)
        return [batch[key] for batch in itertools.islice(batches(data, order, device=CPU, workers=workers), 9) for key in "ab"]

    alone = take(0, 0)
    for workers, start in ((0, 5), (2, 5)):  # a worker is a new process, which takes seconds
        assert all(torch.equal(x, y) for x, y in zip(alone[2 * start :], take(workers, start), strict=False))


def test_two_sources_are_drawn_independently_and_the_shorter_starts_again(stream: Callable[..., Any], tmp_path: Path) -> None:
    write_table(tmp_path / "b.parquet", {"photo": [grey(200 + i) for i in range(4)]})
    data = stream(source_b=str(tmp_path / "b.parquet"), columns=("imageA", "photo"), paired=False)
    met = [list(zip(epoch_of(data, 0, epoch), epoch_of(data, 0, epoch, "b"), strict=True)) for epoch in range(2)]
    for pairs in met:
        assert sorted(a for a, _ in pairs) == list(range(12))
        assert sorted(b for _, b in pairs) == sorted(list(range(200, 204)) * 3)
    assert set(met[0]) != set(met[1])
    same = stream(paired=False)
    assert any(value(s["b"]) != value(s["a"]) + 100 for s in (same.at(0, 0, i) for i in range(12)))


def test_one_column_with_labels(stream: Callable[..., Any]) -> None:
    data = stream(columns=("imageA", "imageA"), by="kind", values=("even", "odd"), paired=False, samples=6)
    assert sorted(epoch_of(data, 0, 0)) == [0, 2, 4, 6, 8, 10]
    assert sorted(epoch_of(data, 0, 0, "b")) == [1, 3, 5, 7, 9, 11]
    none = stream(columns=("imageA", "imageA"), by="kind", values=("even", "od"), paired=False, samples=6)
    with pytest.raises(UserError, match="no row has 'od' in the column 'kind'"):
        none[0]


def test_other_sources(stream: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "pictures" / "train").mkdir(parents=True)
    for i in range(3):
        (tmp_path / "pictures" / "train" / f"{i}.png").write_bytes(png(np.full((8, 8, 3), i, np.uint8)))
    pictures = stream(source=str(tmp_path / "pictures"), columns=("image", "image"), paired=False, samples=3)
    assert sorted(epoch_of(pictures, 0, 0)) == [0, 1, 2]
    table = datasets.Dataset.from_dict({"imageA": [grey(5)]}, features=Features({"imageA": ImageFeature()}))
    table.save_to_disk(tmp_path / "saved")
    datasets.DatasetDict({"train": table}).save_to_disk(tmp_path / "dict")
    for name in ("saved", "dict"):
        saved = stream(source=str(tmp_path / name), columns=("imageA", "imageA"), samples=1)
        assert value(saved[0]["b"]) == 5


def test_a_stream_can_be_sent_to_another_process_in_the_middle(stream: Callable[..., Any]) -> None:
    data = stream()
    first = epoch_of(data, 0, 0)
    data.at(0, 0, 4)
    assert epoch_of(pickle.loads(pickle.dumps(data)), 0, 0) == first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"streaming": False}, "shuffle_buffer and samples belong to streaming"),
        ({"corrupt": "skip"}, "a stream cannot"),
        ({"samples": None}, "nothing says how long an epoch is. Give 'samples'"),
        ({"columns": ("imageA", "imagB")}, r"no column 'imagB'. Did you mean 'imageB'.* There are: imageA, imageB, kind"),
        ({"columns": ("imageA", "kind")}, "'kind' holds .*not pictures.*Columns of pictures: imageA, imageB"),
        ({"split": "tset"}, "no split 'tset'"),
        ({"by": "sort", "values": ("x", "y"), "columns": ("imageA", "imageA"), "paired": False}, "no column 'sort'"),
    ],
)
def test_what_cannot_be_is_refused(stream: Callable[..., Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        stream(**options)


def test_broken_rows_are_named(tmp_path: Path, stream: Callable[..., Any]) -> None:
    write_table(tmp_path / "x.parquet", {"imageA": [grey(1), {"bytes": b"junk", "path": None}, None]})
    data = stream(source=str(tmp_path / "x.parquet"), columns=("imageA", "imageA"), shuffle_buffer=1, samples=3)
    for row, message in ((1, "not a picture of a known format"), (2, "the cell is empty")):
        with pytest.raises(UserError, match=rf"streamed row {row} of epoch 0, column 'imageA': .*{message}"):
            data[row]
    assert value(data[0]["a"]) == 1


def test_a_recipe_of_an_older_run_may_call_its_samples_length() -> None:
    for given in ({"samples": 5}, {"length": 5}):
        assert complete_options("dataset", "hub", hub, {"source": "x", "streaming": True, **given})["samples"] == 5


def test_a_source_that_knows_its_rows_needs_no_length() -> None:
    def source(rows: int) -> SimpleNamespace:
        return SimpleNamespace(split="train", info=SimpleNamespace(splits={"train": SimpleNamespace(num_examples=rows)}))

    opened = {"a": source(3), "b": source(5)}
    assert epoch_length(None, opened, "x", False) == 5
    with pytest.raises(UserError, match="how many rows there are with such labels"):
        epoch_length(None, opened, "x", True)


def test_the_order_of_a_stream_is_plain() -> None:
    order = itertools.islice(BatchOrder(3, 2, 0, start=1, shuffled=False), 2)
    assert list(order) == [[(0, 2), (1, 0)], [(1, 1), (1, 2)]]


def test_loader_processes(stream: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    plain: Any = object()
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(16)), raising=False)
    gpu = torch.device("cuda")
    assert loader_processes(plain, CPU) == 0
    assert [loader_processes(plain, gpu, processes) for processes in (1, 4, 16)] == [8, 3, 1]
    assert loader_processes(stream(), gpu) == 1


def test_the_seed_reaches_the_stream(stream: Callable[..., Any]) -> None:
    one, two = (SeededDataset(stream(), seed) for seed in (0, 1))
    assert [value(one[0, i]["a"]) for i in range(12)] != [value(two[0, i]["a"]) for i in range(12)]
