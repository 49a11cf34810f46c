"""What only a GPU can show: a step that never waits for it, CUDA graphs, and batches that are sent beside the computing."""

from itertools import islice, repeat
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._inductor import config as inductor

from i2i.data import BatchOrder, batches
from i2i.training.finite import Guard
from i2i.training.loop import accumulated_step, end_step

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

MODELS = ["pix2pix", "cyclegan", "unit", "spade"]


@pytest.fixture
def pairs(root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    import pairs

    return pairs


@pytest.mark.parametrize("model", MODELS)
def test_a_step_does_not_wait_for_the_device(pairs: Any, model: str) -> None:
    case = pairs.Case(model, size=64, width=8)
    run, guard = case.run(precision="bf16", channels_last=True, ema=0.9), Guard()
    given = case.batches(run, 4)
    for batch in given[:2]:
        run.terms = accumulated_step(run, repeat(batch))
        end_step(run, None)
    run.step = 1  # neither logged nor saved
    guard.step_ended(run)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in given[2:]:
            run.terms = accumulated_step(run, repeat(batch))
            guard.step_ended(run)
            end_step(run, None)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("mode", [True, "reduce-overhead"])
def test_compiled_steps_have_the_same_losses(pairs: Any, model: str, mode: bool | str) -> None:
    """Six steps of slow learning: with CUDA graphs the first ones record, the later ones replay."""
    case = pairs.Case(model, size=64, width=8)
    slow = {player: {"lr": 1e-6, "optimizer": "sgd"} for player in ("generator", "discriminator")}
    plain, compiled = case.run(seed=1, **slow), case.run(seed=1, compile=mode, **slow)
    with inductor.patch(fallback_random=True):  # else it draws other noise
        for number, batch in enumerate(case.batches(plain, 6)):
            terms = []
            for run in (plain, compiled):
                torch.manual_seed(number)
                terms.append(accumulated_step(run, repeat(batch)))
            assert terms[0].keys() == terms[1].keys()
            for name in terms[0]:
                torch.testing.assert_close(terms[1][name], terms[0][name], rtol=1e-2, atol=1e-3)


def test_batches_are_whole_while_the_device_is_busy(pairs: Any) -> None:
    """Each is checked after later ones were asked for, behind a long queue of work."""
    data = pairs.Noise(size=256)
    order = BatchOrder(len(data), 4, seed=0)
    here, there = (batches(data, order, device=torch.device(kind)) for kind in ("cpu", "cuda"))
    large = torch.randn(4096, 4096, device="cuda")
    sums = []
    for batch in islice(there, 20):
        large = large @ large / 64
        sums.append(torch.stack([batch[key].double().sum() for key in ("a", "b")]))
    expected = [torch.stack([batch[key].double().sum() for key in ("a", "b")]) for batch in islice(here, 20)]
    torch.testing.assert_close(torch.stack(sums).cpu(), torch.stack(expected), rtol=1e-6, atol=1e-3)
