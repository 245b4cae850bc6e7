"""All media of a batch of conditions, grouped so that each encoder runs once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality

LEAST_TOTAL = 1e-3
"""Smallest total weight of a mixture. Below it, the small number that the mixture's divisor adds to the
total would shrink the result by more than a thousandth, at last to nothing."""


def check_total(weights: Iterable[float]) -> None:
    """Refuse media that weigh nothing together.

    Raises:
        UserError: their absolute weights sum to less than :data:`LEAST_TOTAL`.
    """
    given = [abs(weight) for weight in weights]
    if sum(given) < LEAST_TOTAL:
        raise UserError(
            f"{len(given)} media have a total weight of {sum(given):g}; give at least one another weight"
        )


@dataclass(frozen=True)
class MediaPart:
    """One decoded piece of media.

    ``tensor`` has the shape that :func:`imagebind_llm.media.load_media` returns (no batch axis);
    ``weight`` is its share in the mixture (any sign).
    """

    modality: Modality
    tensor: Tensor
    weight: float = 1.0


@dataclass(frozen=True)
class ModalityGroup:
    """The parts of one modality: ``tensor [M, …]``, ``index [M]`` the condition of each, ``weights [M]``."""

    tensor: Tensor
    index: Tensor
    weights: Tensor


@dataclass(frozen=True)
class MediaBatch:
    """The media of ``count`` conditions, by modality.

    It is deliberately not a tensor: ``generate`` leaves it alone when it expands inputs for beams.
    """

    groups: dict[Modality, ModalityGroup]
    count: int

    @classmethod
    def collate(cls, conditions: Sequence[Sequence[MediaPart]]) -> "MediaBatch":
        """Group the parts of each condition by modality.

        Raises:
            UserError: a condition has no part or only weights next to 0, or tensors of one modality differ in
                shape.
        """
        members: dict[Modality, list[tuple[int, MediaPart]]] = {}
        for number, parts in enumerate(conditions):
            check_total(part.weight for part in parts)
            for part in parts:
                members.setdefault(part.modality, []).append((number, part))
        groups = {}
        for modality, found in members.items():
            shapes = {tuple(part.tensor.shape) for _, part in found}
            if len(shapes) > 1:
                raise UserError(
                    f"{modality} tensors of different shapes {sorted(shapes)} cannot share a batch; "
                    "load them with the same settings"
                )
            groups[modality] = ModalityGroup(
                tensor=torch.stack([part.tensor for _, part in found]),
                index=torch.tensor([number for number, _ in found]),
                weights=torch.tensor([part.weight for _, part in found]),
            )
        return cls(groups, len(conditions))

    @property
    def modalities(self) -> list[list[Modality]]:
        """The modality of each medium of each condition, one entry per medium."""
        found: list[list[Modality]] = [[] for _ in range(self.count)]
        for modality, group in self.groups.items():
            for number in group.index.tolist():
                found[number].append(modality)
        return found

    def to(self, device: torch.device | str) -> "MediaBatch":
        """A copy with all tensors on ``device``."""
        return MediaBatch(
            {
                modality: ModalityGroup(
                    group.tensor.to(device), group.index.to(device), group.weights.to(device)
                )
                for modality, group in self.groups.items()
            },
            self.count,
        )
