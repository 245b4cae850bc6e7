"""Whether a checkpoint is of the run that wants to go on from it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.settings import build, flatten, to_plain, unflatten

_HARMLESS = (
    "run.folder", "run.threads", "run.prefetch", "run.log_every", "run.evaluate_every",
    "run.checkpoint_every", "run.checkpoint_minutes", "run.keep", "run.resume", "run.samples",
    "run.tensorboard", "run.explosion", "run.sharding", "run.compile", "run.gradient_checkpointing",
    "evaluate_items", "data.test_sources", "data.max_bad_share",
)  # fmt: skip
"""Settings that may change between a run and its continuation without changing what is learnt."""


def refuse_another_recipe(checkpoint: Path, before: Mapping[str, Any], recipe: Any) -> None:
    """Compare the flat recipe stored in ``checkpoint`` with ``recipe``.

    Raises:
        ConfigError: a setting changed that matters for what is learnt.
    """
    then = _members(_with_defaults(before, type(recipe)))
    now = _members(flatten(to_plain(recipe)))
    changed = [
        f"{key} ({then.get(key)!r} then, {now.get(key)!r} now)"
        for key in sorted(set(then) | set(now))
        if key.partition("[")[0] not in _HARMLESS and then.get(key) != now.get(key)
    ]
    if changed:
        raise ConfigError(
            f"{checkpoint} was made by another recipe: {'; '.join(changed[:4])}; use another run.folder, "
            "or run.resume=never to start over, or run.resume=force to go on regardless"
        )


def refuse_other_data(checkpoint: Path, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Compare fingerprints of data sources.

    Raises:
        ConfigError: one changed, came or went.
    """
    changed = sorted(name for name in set(before) | set(now) if before.get(name) != now.get(name))
    if changed:
        raise ConfigError(
            f"{checkpoint} was made with other data ({', '.join(changed[:4])} changed); put them back, "
            "or use run.resume=never to start over, or run.resume=force to go on regardless"
        )


def _with_defaults(flat: Mapping[str, Any], kind: type[Any]) -> Mapping[str, Any]:
    """A recipe stored before a setting existed had what is now that setting's default."""
    try:
        return flatten(to_plain(build(kind, unflatten(flat))))
    except ConfigError:  # it has a setting that is gone: say so by comparing as it is
        return flat


def _members(flat: Mapping[str, Any]) -> dict[str, Any]:
    """``{"sources": [{"path": "x"}]}`` as ``{"sources[0].path": "x"}``, so that what changed can be named."""
    found: dict[str, Any] = {}
    for key, value in flat.items():
        if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            for number, item in enumerate(value):
                found |= {f"{key}[{number}].{name}": inner for name, inner in flatten(item).items()}
        else:
            found[key] = value
    return found
