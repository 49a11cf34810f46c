"""A few hundred damaged files of every kind; ``python benchmarks/fuzz.py`` tries thousands."""

import random
from pathlib import Path

import pytest

import damaged
import fuzzing


def test_damaged_files_are_handled_or_refused_with_a_sentence(tmp_path: Path) -> None:
    report = fuzzing.fuzz(tmp_path, inputs=420, seed=25)
    assert report.faults == []
    assert report.inputs == 420
    assert len(report.refused) >= 11  # the others are read as far as they go
    assert len(report.handled) >= 11


def test_every_kind_reads_what_is_not_damaged(tmp_path: Path) -> None:
    for kind in fuzzing.kinds(tmp_path).values():
        place = tmp_path / kind.place
        before = place.read_bytes() if place.exists() else b""
        place.write_bytes(kind.goods[0])
        kind.reads(place)
        place.write_bytes(before)


def test_faults_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that is no sentence, a reader that hangs, a file outside, and a program."""

    def reads(path: Path) -> None:
        match path.read_bytes()[:1]:
            case b"e":
                raise KeyError("x")
            case b"h":
                while True:
                    pass
            case b"w":
                path.parent.with_name("outside").write_text("")
            case b"p":
                import subprocess

                subprocess.run(["true"], check=False)

    goods = [b"e", b"h", b"w", b"p"]
    monkeypatch.setattr(fuzzing, "SECONDS", 1)
    monkeypatch.setattr(fuzzing, "kinds", lambda folder: {"x": fuzzing.Kind(goods, "x", reads)})
    monkeypatch.setattr(fuzzing, "mutated", lambda good, goods, draw, text: goods.pop())
    faults = fuzzing.fuzz(tmp_path, 4).faults
    assert [fault.split(": ")[1].split(" ")[0] for fault in faults] == ["subprocess.Popen", "open", "HangError", "KeyError"]


def test_an_input_comes_again_by_its_name() -> None:
    goods = damaged.pictures()
    first, again = (damaged.mutated(goods[0], goods, random.Random("picture 0 7"), False) for _ in range(2))
    assert first == again != goods[0]
