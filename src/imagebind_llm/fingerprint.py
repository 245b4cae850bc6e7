"""Telling weights apart: a short hash that travels with everything made for them."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

_HEX_CHARACTERS = 16


def fingerprint_state_dict(state: Mapping[str, Tensor], header: str = "") -> str:
    """Hash names, shapes and values of ``state`` into 16 hex characters, whatever the order of the keys.

    Floating-point tensors are hashed as float16, so a model stored in half precision and loaded in float32
    keeps its fingerprint. Each tensor is hashed on its own, several at a time (hashing releases the
    interpreter lock).

    Args:
        state: tensors on any device; meta tensors have no values and are refused.
        header: more text that tells two models apart, for example a configuration as sorted JSON.

    Raises:
        ValueError: a tensor is on the meta device.
    """
    names = sorted(state)
    with ThreadPoolExecutor(max_workers=4) as pool:
        digests = list(pool.map(lambda name: _digest(name, state[name]), names))
    return hashlib.sha256(header.encode() + b"".join(digests)).hexdigest()[:_HEX_CHARACTERS]


def _digest(name: str, tensor: Tensor) -> bytes:
    if tensor.is_meta:
        raise ValueError(f"tensor {name!r} is on the meta device and has no values to fingerprint")
    values = tensor.detach()
    if values.is_floating_point():
        values = values.to(torch.float16)
    values = values.cpu().contiguous()
    digest = hashlib.sha256(f"{name}\0{tuple(values.shape)}\0{values.dtype}\0".encode())
    digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return digest.digest()
