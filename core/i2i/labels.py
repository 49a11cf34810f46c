"""Label maps: integer ids until they are on the device, one-hot for networks and losses."""

import torch
from torch import Tensor

from i2i.errors import UserError
from i2i.protocols import Domain


def check_ids(ids: Tensor, domain: Domain, where: str) -> None:
    """Refuse tensors that are not label ids of the domain: integers (…, 1, H, W) in [0, classes). Call it on the CPU.

    A domain with instances takes (…, 2, H, W): the ids, then instance numbers, which may be any integers.
    """
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise UserError(f"{where}: label ids of '{domain.name}' must be integers, not {ids.dtype}.")
    allowed = (1, 2) if domain.instances else (1,)
    if ids.ndim < 3 or ids.shape[-3] not in allowed:
        expected = "(2, H, W), ids and instances" if domain.instances else "(1, H, W)"
        raise UserError(f"{where}: label ids have the shape {tuple(ids.shape)}; expected {expected}.")
    if ids.numel() == 0:
        raise UserError(f"{where}: the label map has no pixels.")
    low, high = (int(value) for value in ids[..., 0, :, :].aminmax())
    if low < 0 or high >= domain.label_count:
        raise UserError(
            f"{where}: the label id {low if low < 0 else high} is outside the {domain.label_count} classes of "
            f"'{domain.name}' (ids 0 to {domain.label_count - 1}). Correct the label map, or declare more classes."
        )


def to_network(batch: Tensor, domain: Domain) -> Tensor:
    """A batch as networks see it, on its own device: images (B, C, H, W) unchanged; ids (B, 1, H, W) become one-hot.

    One-hot is float32 (B, classes, H, W). A domain with instances gets one more channel, last: the borders of the
    instances, from (B, 2, H, W); if there are no instances, the borders of the classes. The ids are not
    checked here, because this would wait for the device: :func:`check_ids` does it earlier.
    """
    if domain.kind == "image":
        return batch
    b, _, h, w = batch.shape
    one_hot = torch.zeros(b, domain.channels, h, w, dtype=torch.float32, device=batch.device)
    one_hot.scatter_(1, batch[:, :1].long(), 1.0)
    if domain.instances:
        one_hot[:, -1:] = borders(batch[:, -1:])
    return one_hot


def borders(instances: Tensor) -> Tensor:
    """1 where a pixel differs from its left, right, upper or lower neighbour, else 0: (B, 1, H, W), float32.

    Both sides of a border are marked; the edge of the image is not a border (Wang et al. 2018, section 3.3).
    """
    marked = torch.zeros_like(instances, dtype=torch.bool)
    across = instances[..., 1:] != instances[..., :-1]
    down = instances[..., 1:, :] != instances[..., :-1, :]
    marked[..., 1:] |= across
    marked[..., :-1] |= across
    marked[..., 1:, :] |= down
    marked[..., :-1, :] |= down
    return marked.float()
