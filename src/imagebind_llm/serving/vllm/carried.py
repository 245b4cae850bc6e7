"""What a request carries through vLLM in ``SamplingParams.extra_args``: its conditions and its salt."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imagebind_llm.serving.vllm import salts

NAME = "imagebind_llm"
"""Its key in ``extra_args``, and that of the settings in vLLM's ``additional_config``."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class RefusedError(ValueError):
    """A request that vLLM must not see. The message is one line."""


@dataclass(frozen=True)
class Carried:
    """The conditions of one request.

    Attributes:
        deltas: ``[N, K, C]`` in the stream's precision; ``N`` may be 0.
        runs: the condition of each token of the prompt, as runs of ``(id, count)``, -1 for none.
        salt: the hash of both, with which its keys and values are cached.
    """

    deltas: Tensor
    runs: salts.Runs
    salt: str

    @classmethod
    def of(cls, deltas: Tensor, runs: salts.Runs) -> "Carried":
        """From ``deltas [N, K, C]``; only the conditions that a token sees are kept."""
        used = sorted({number for number, _ in runs if number >= 0})
        places = {number: place for place, number in enumerate(used)}
        kept = deltas[used].contiguous().cpu()
        moved = [(places.get(number, -1), count) for number, count in runs]
        return cls(kept, moved, salts.salt_of(keys_of(kept), moved))

    @property
    def keys(self) -> list[str]:
        """The names of its conditions, by content."""
        return keys_of(self.deltas)

    def seen(self) -> np.ndarray:
        """The condition of each token of the prompt: int64 ``[P]``."""
        numbers, counts = zip(*self.runs, strict=True)
        return np.repeat(np.array(numbers, dtype=np.int64), counts)

    def pack(self) -> dict[str, Any]:
        """Its value in ``extra_args``: only numbers, text and bytes."""
        name = next(name for name, dtype in DTYPES.items() if dtype == self.deltas.dtype)
        return {
            "salt": self.salt,
            "runs": [list(run) for run in self.runs],
            "shape": list(self.deltas.shape),
            "dtype": name,
            "deltas": to_bytes(self.deltas),
        }

    @classmethod
    def unpack(cls, given: Mapping[str, Any], tokens: int | None = None) -> "Carried":
        """The inverse of :meth:`pack`, checked.

        Args:
            given: what was packed.
            tokens: length of the prompt, if known.

        Raises:
            RefusedError: it is not whole, or its salt is missing or not the hash of what it carries.
        """
        try:
            deltas = from_bytes(given["deltas"], given["shape"], given["dtype"])
            runs = [(int(number), int(count)) for number, count in given["runs"]]
        except (KeyError, TypeError, ValueError) as error:
            raise RefusedError(f"the conditions of a request cannot be read ({error})") from None
        count = len(deltas)
        if not runs or any(not -1 <= number < count or length < 1 for number, length in runs):
            raise RefusedError(f"the condition ids of a request do not fit its {count} conditions")
        if tokens is not None and sum(length for _, length in runs) != tokens:
            raise RefusedError(
                f"a request has condition ids for {sum(length for _, length in runs)} of its {tokens} tokens"
            )
        found = cls(deltas, runs, str(given.get("salt") or ""))
        require_salt(found, found.salt)
        return found


def require_salt(carried: Carried, salt: str | None) -> None:
    """Refuse keys and values that would be cached under another name than their conditions'.

    Raises:
        RefusedError: no salt, or another one.
    """
    expected = salts.salt_of(carried.keys, carried.runs)
    if salt != expected:
        what = "no cache_salt" if not salt else "a cache_salt that is not the hash of its conditions"
        raise RefusedError(
            f"a request has {what}; its keys and values could be taken for those of other media"
        )


def keys_of(deltas: Tensor) -> list[str]:
    """The names of conditions ``[N, K, C]`` by content."""
    return [salts.key_of(to_bytes(delta)) for delta in deltas]


def to_bytes(tensor: Tensor) -> bytes:
    """The raw little-endian numbers of a CPU tensor of any precision."""
    return tensor.detach().contiguous().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()


def from_bytes(data: bytes, shape: list[int], dtype: str) -> Tensor:
    """The inverse of :func:`to_bytes`.

    Raises:
        ValueError: the sizes do not fit, or the precision is not known.
    """
    if dtype not in DTYPES:
        raise ValueError(f"precision {dtype!r}; expected one of {', '.join(DTYPES)}")
    sizes = [int(size) for size in shape]
    kind = DTYPES[dtype]
    if len(sizes) != 3 or min(sizes) < 0 or int(np.prod(sizes)) * kind.itemsize != len(data):
        raise ValueError(f"{len(data)} bytes for a table {sizes} of {dtype}")
    if not data:
        return torch.empty(sizes, dtype=kind)
    return torch.frombuffer(bytearray(data), dtype=kind).view(sizes)
