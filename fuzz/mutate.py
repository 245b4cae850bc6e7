"""Changes to bytes and to JSON values, from a seeded generator."""

import copy
import json
from random import Random
from typing import Any

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 10**9, 10**400, 0.5, -0.0, 1e308, "", "x", "\ud800", "1", [], [[]], {},
    {"": None}, ["image"], "a" * 5000, float("nan"), float("inf"),
)  # fmt: skip
"""What a JSON value is replaced by. The last two are not JSON, but Python reads and writes them."""


def mutate_bytes(data: bytes, rng: Random) -> tuple[str, bytes]:
    """One change, or a few; says which."""
    kind = rng.choice(
        ("torn", "flipped", "head", "zeroed", "filled", "piece missing", "doubled", "numbers", "junk")
    )
    changed = bytearray(data)
    size = max(len(changed), 1)
    start = rng.randrange(size)
    match kind:
        case "torn":
            del changed[start:]
        case "flipped" | "head":
            spread = min(size, 64) if kind == "head" else size
            for _ in range(rng.randint(1, 8)):
                if changed:
                    changed[rng.randrange(min(spread, len(changed)))] ^= 1 << rng.randrange(8)
        case "zeroed" | "filled":
            stop = min(start + rng.randint(1, 60), len(changed))
            changed[start:stop] = (b"\0" if kind == "zeroed" else b"\xff") * (stop - start)
        case "piece missing":
            del changed[start : start + rng.randint(1, 80)]
        case "doubled":
            changed[start:start] = changed[start : start + rng.randint(1, 400)]
        case "numbers":  # sizes and counts are mostly 32-bit words near the beginning
            place = rng.randrange(min(size, 200))
            order = rng.choice(("little", "big"))
            value = rng.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x10000, rng.getrandbits(32)))
            changed[place : place + 4] = value.to_bytes(4, order)
        case _:
            changed += rng.randbytes(rng.randint(1, 2000))
    return f"{kind} at {start}", bytes(changed)


def mutate_json(value: Any, rng: Random) -> tuple[str, Any]:
    """Another value at a random place, or a key lost, added, misspelt or nested deep; says where."""
    changed = copy.deepcopy(value)
    holder, key, where = _place(changed, rng)
    if holder is None:
        return "whole", rng.choice(ODD_VALUES)
    kind = rng.choice(("value", "value", "value", "lost", "misspelt", "added", "deep"))
    if isinstance(holder, list) and kind in ("misspelt", "added"):
        kind = "value"
    match kind:
        case "value":
            holder[key] = copy.deepcopy(rng.choice(ODD_VALUES))
        case "lost":
            del holder[key]
        case "misspelt":
            holder[f"{key}x"] = holder.pop(key)
        case "added":
            holder["extra_of_mine"] = rng.choice(ODD_VALUES)
        case _:
            deep: Any = 1
            for _ in range(rng.choice((3, 400))):
                deep = [deep]
            holder[key] = deep
    return f"{kind} at {where}", changed


def dump(value: Any) -> bytes:
    """JSON as a careless program writes it: lone surrogates, NaN and all."""
    return json.dumps(value, ensure_ascii=True).encode()


def _place(value: Any, rng: Random) -> tuple[Any, Any, str]:
    """A random member somewhere inside: who holds it, its key or index, and the way there."""
    holder, key, way = None, None, []
    while isinstance(value, dict | list) and value:
        holder = value
        key = rng.choice(sorted(value)) if isinstance(value, dict) else rng.randrange(len(value))
        way.append(str(key))
        value = holder[key]
        if rng.random() < 0.25:
            break
    return holder, key, ".".join(way)
