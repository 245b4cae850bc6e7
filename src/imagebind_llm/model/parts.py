"""Conditions with parts: a vector, and groups of the encoder's tokens beside it (``bind.encoder_tokens``).

A condition is one row ``[D]``. Of a model that asks for ``G`` groups it is ``[1 + G, D]``: the vector first,
then the mean of each group (:mod:`imagebind_llm.encoders.tokens`). A medium without tokens (text, a given
embedding, a modality that ``bind.tokens_of`` leaves out) is its vector, which stands in for each of them.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.encoders.tokens import TokenEncoder


def vectors(conditions: Tensor) -> Tensor:
    """The vectors ``[N, D]`` of conditions ``[N, D]`` or ``[N, 1 + G, D]``."""
    return conditions if conditions.ndim == 2 else conditions[:, 0]


def with_stand_ins(conditions: Tensor, groups: int) -> Tensor:
    """Conditions as a model with ``groups`` mixes them.

    Args:
        conditions: ``[N, D]``, or ``[N, 1 + groups, D]``, which is given back as it is.
        groups: ``G``; 0 gives back what it is given.

    Returns:
        ``[N, 1 + groups, D]``.
    """
    if not groups or conditions.ndim > 2:
        return conditions
    return conditions[:, None].expand(-1, 1 + groups, -1)


def moved(conditions: Tensor, after: Tensor) -> Tensor:
    """Conditions ``[N, 1 + G, D]`` whose vectors are ``after [N, D]``; their groups go by the same way."""
    way = (after - conditions[:, 0])[:, None]
    return torch.cat((after[:, None], conditions[:, 1:] + way), dim=1)


def network_settings(bind: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a configuration's ``bind`` group that build the network."""
    return {name: value for name, value in bind.items() if name != "tokens_of"}


def check_gives_tokens(encoder: Any, bind: Mapping[str, Any]) -> None:
    """Refuse an encoder that does not give the tokens that a configuration's ``bind`` group asks for.

    Raises:
        ConfigError: it gives none, or none of a modality in ``tokens_of``.
    """
    if not bind["encoder_tokens"]:
        return
    asked = f"bind.encoder_tokens is {bind['encoder_tokens']}, but"
    if not isinstance(encoder, TokenEncoder):
        kind = getattr(encoder, "settings", {}).get("type", type(encoder).__name__)
        raise ConfigError(f"{asked} encoders of type {kind} give no tokens; set bind.encoder_tokens to 0")
    known = {modality.value for modality in encoder.token_modalities}
    for name in bind["tokens_of"]:
        if name not in known:
            raise ConfigError(
                f"{asked} this encoder gives no tokens of {name} (it does of "
                f"{', '.join(sorted(known)) or 'nothing'}); change bind.tokens_of, or set "
                "bind.encoder_tokens to 0"
            )
