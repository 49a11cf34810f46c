"""The self-similarity loss: what lies where is kept, and who draws it does not matter."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from i2i.errors import UserError
from i2i.protocols import Domain, Needs, Translation
from i2i_timm.self_similarity import SelfSimilarityLoss, self_similarity_distance

RGB, GREY, LABELS = Domain("photo", "image", 3), Domain("sketch", "image", 1), Domain("land", "labels", 5)
BOTH = Needs((("a", "b"), ("b", "a"), ("a", "a")))
SMALL: dict[str, Any] = {"weights": "bundled", "levels": (1, 2)}


def judge(*_: Any) -> Any:
    raise AssertionError("it has nothing to do with a discriminator")


def drawing(shift: int = 0) -> Tensor:
    """A square on a plain ground, (1, 1, 64, 64)."""
    return F.pad(torch.ones(1, 1, 24, 24), (8, 32, 8, 32), value=-1.0).roll(shift, 3)


def test_the_distance_is_that_of_the_cosines_by_hand() -> None:
    x, y = torch.rand(2, 2, 3, 2, 3, dtype=torch.float64)
    total = 0.0
    for b in range(2):
        p, q = x[b].flatten(1).T, y[b].flatten(1).T
        for i in range(6):
            for j in range(6):
                total += float(F.cosine_similarity(p[i], p[j], 0) - F.cosine_similarity(q[i], q[j], 0)) ** 2
    assert float(self_similarity_distance(x, y, 6)) == pytest.approx(total / 2 / 36)


def test_of_many_places_some_are_drawn_the_same_for_both() -> None:
    x, y = torch.rand(2, 2, 3, 8, 8)
    assert float(self_similarity_distance(x, x * 5, 10)) == pytest.approx(0, abs=1e-10)  # as wide, so the same directions
    torch.manual_seed(0)
    first = self_similarity_distance(x, y, 10)
    torch.manual_seed(0)
    assert torch.equal(first, self_similarity_distance(x, y, 10))
    assert not torch.equal(first, self_similarity_distance(x, y, 10))


def test_a_place_without_features_has_a_gradient_that_can_be_used() -> None:
    x = torch.rand(1, 3, 4, 4)
    x[..., 0, 0] = 0
    self_similarity_distance(x.requires_grad_(), torch.rand(1, 3, 4, 4), 16).backward()
    assert x.grad is not None
    assert float(x.grad.abs().max()) < 1e4


def test_another_style_counts_less_than_another_place() -> None:
    made = SelfSimilarityLoss(domains={"a": GREY, "b": RGB}, beside=Needs((("a", "b"),)), **SMALL)
    yellow_on_blue = torch.cat((drawing(), drawing(), -drawing()), 1)

    def term(fake: Tensor) -> float:
        return float(made.generator_terms(judge, {"a": drawing()}, {"fake_b": fake})["self_similarity_b"])

    assert term(drawing().expand(-1, 3, -1, -1)) == pytest.approx(0, abs=1e-6)
    assert 0 < 3 * term(yellow_on_blue) < term(yellow_on_blue.roll(20, 3))


def test_it_looks_at_the_translations_of_the_loss_before_it_and_has_gradients() -> None:
    made = SelfSimilarityLoss(domains={"a": RGB, "b": RGB}, beside=BOTH, weight=2.0, **SMALL)
    batch = {key: torch.rand(1, 3, 32, 32) for key in "ab"}
    images = {f"fake_{key}": torch.rand(1, 3, 32, 32).requires_grad_() for key in "ab"}
    assert made.translate(judge, batch) == {}
    terms = made.generator_terms(judge, batch, images)
    assert set(terms) == {"self_similarity_a", "self_similarity_b"}
    sum(terms.values(), torch.zeros(())).backward()
    assert all(image.grad is not None and image.grad.abs().sum() > 0 for image in images.values())
    made.weight = 1.0
    torch.testing.assert_close(terms["self_similarity_b"], 2 * made.generator_terms(judge, batch, images)["self_similarity_b"])
    assert not made.state_dict()
    assert not made.needs.paired
    assert not made.needs.adversarial
    with pytest.raises(UserError, match="loss 'self_similarity': no loss before it gives"):
        made.generator_terms(judge, batch, {})


def test_alone_it_translates() -> None:
    made = SelfSimilarityLoss(domains={"a": RGB, "b": GREY}, **SMALL)
    images = made.translate(lambda x, s, *t: Translation({t[0]: x.mean(1, keepdim=True)}), {"a": torch.rand(1, 3, 32, 32)})
    assert images["fake_b"].shape == (1, 1, 32, 32)


@pytest.mark.parametrize(
    ("domains", "ways", "message"),
    [
        ({"a": LABELS, "b": RGB}, (("a", "b"),), "no translation between two of them"),
        ({"a": RGB, "b": RGB, "c": RGB}, (("a", "c"), ("b", "c")), "several directions lead into one domain"),
    ],
)
def test_what_cannot_be_compared_is_refused(domains: dict[str, Domain], ways: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        SelfSimilarityLoss(domains=domains, beside=Needs(ways), **SMALL)


def test_directions_that_it_cannot_see_are_left_out_with_a_note() -> None:
    ways = (("a", "b"), ("b", "a"), ("b", "c"))
    made = SelfSimilarityLoss(domains={"a": RGB, "b": RGB, "c": LABELS}, beside=Needs(ways), **SMALL)
    assert made.ways == {"b": "a", "a": "b"}
    assert made.notes == ("self_similarity: b to c is left out, as only images of 1 or 3 channels are",)
