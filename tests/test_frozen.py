"""The script that watches over the shipped recipes' bits."""

from pathlib import Path

import pytest

import frozen


@pytest.mark.slow
def test_two_runs_give_the_same_bits_and_another_seed_gives_others(root: Path) -> None:
    first, again = (frozen.hashes(root, ["pix2pix_sketch2photo"], [0], 2) for _ in range(2))
    assert {place.rpartition("/")[2].rpartition(" ")[2] for place in first} >= {
        "generator.safetensors",
        "optimizers.safetensors",
    }
    assert first == again
    other = frozen.hashes(root, ["pix2pix_sketch2photo"], [1], 2)
    assert first["pix2pix_sketch2photo 0 generator.safetensors"] != other["pix2pix_sketch2photo 1 generator.safetensors"]
