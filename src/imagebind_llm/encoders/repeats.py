"""Clips and crops that are equal, encoded once.

A sound shorter than a clip gives the same clip three times; a square film gives the same crop three times,
and a short one the same clips too. They are told apart by their bytes, so what is skipped is never a guess.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def once_each(rows: Tensor, encode: Callable[[Tensor], Tensor]) -> Tensor:
    """``encode(rows)``, computed on the different ones of ``rows [N, …]`` only: ``[N, D]``.

    Rows on an accelerator are all encoded: looking at them would wait for it, and media come from the CPU.
    """
    if rows.device.type != "cpu" or len(rows) < 2:
        return encode(rows)
    first, places = _distinct(rows)
    if len(first) == len(rows):
        return encode(rows)
    encoded = encode(rows[first])
    return encoded[torch.tensor(places, device=encoded.device)]


def _distinct(rows: Tensor) -> tuple[list[int], list[int]]:
    """Numbers of the rows that differ from all before, and for each row its place among those."""
    seen: dict[bytes, int] = {}
    first: list[int] = []
    places: list[int] = []
    for number, row in enumerate(rows.detach()):
        content = row.contiguous().view(torch.uint8).numpy().tobytes()
        place = seen.setdefault(content, len(first))
        if place == len(first):
            first.append(number)
        places.append(place)
    return first, places
