import pytest
import torch

from i2i.errors import UserError
from i2i.labels import borders, check_ids, to_network
from i2i.protocols import Domain
from parity_cases import Case, files

STREET = Domain("street", "labels", 4, instances=True)


@pytest.mark.parametrize("file", files("spade_preprocess"))
def test_parity_of_one_hot_labels_and_borders(file: str) -> None:
    case = Case(file)
    for i, o in enumerate(case.options["variants"]):
        instances = not o["no_instance"]
        classes = o["label_nc"] + o["contain_dontcare_label"]
        domain = Domain("labels", "labels", classes + instances, instances=instances)
        maps = [case[f"in.{i}.label"], *([case[f"in.{i}.instance"]] if instances else [])]
        batch = torch.cat([m.long() for m in maps], 1)
        check_ids(batch, domain, file)
        case.check(f"out.{i}.input_semantics", to_network(batch, domain), group="out")
        if instances:
            case.check(f"out.{i}.edges", to_network(batch, domain)[:, -1:], group="out")


def test_borders_mark_both_sides_and_do_not_wrap_around() -> None:
    instances = torch.tensor([[[[7, 7, -1], [7, 7, -1], [7, 7, -1]]]])
    assert borders(instances)[0, 0].tolist() == [[0, 1, 1]] * 3


def test_without_an_instance_map_the_classes_borders_are_marked() -> None:
    ids = torch.tensor([[[[0, 0, 2], [0, 0, 2]]]])
    seen = to_network(ids, STREET)
    assert seen.shape == (1, 4, 2, 3)
    assert seen[0, 3].tolist() == [[0, 1, 1]] * 2


def test_instance_numbers_are_no_class_ids() -> None:
    check_ids(torch.stack([torch.zeros(2, 2), torch.full((2, 2), 99)]).long(), STREET, "x.png")
    with pytest.raises(UserError, match=r"x.png: the label id 3 is outside the 3 classes"):
        check_ids(torch.full((2, 2, 2), 3), STREET, "x.png")
    with pytest.raises(UserError, match=r"expected \(1, H, W\)"):
        check_ids(torch.zeros(2, 2, 2).long(), Domain("labels", "labels", 3), "x.png")
