"""Names that transformers' ``TrainingArguments`` gives to settings, understood or pointed at."""

from collections.abc import Mapping, Sequence
from typing import Any

from imagebind_llm.common.errors import ConfigError, one_line

SAME = {
    "output_dir": "run.folder",
    "max_steps": "run.steps",
    "per_device_train_batch_size": "run.batch_size",
    "seed": "run.seed",
    "gradient_checkpointing": "run.gradient_checkpointing",
    "torch_compile": "run.compile",
    "logging_steps": "run.log_every",
    "eval_steps": "run.evaluate_every",
    "save_steps": "run.checkpoint_every",
    "save_total_limit": "run.keep",
    "learning_rate": "optimizer.lr",
    "weight_decay": "optimizer.weight_decay",
    "adam_epsilon": "optimizer.eps",
    "warmup_steps": "optimizer.warmup_steps",
    "warmup_ratio": "optimizer.warmup_share",
    "max_grad_norm": "optimizer.clip",
}
"""Their name → ours, where the meaning is the same."""

OTHER = {
    "num_train_epochs": "a run has steps: give run.steps, which is epochs x samples / (run.batch_size x "
    "run.accumulate)",
    "gradient_accumulation_steps": "give run.accumulate, the micro-batches of a step over all processes",
    "adam_beta1": "give optimizer.betas=[beta1, beta2]",
    "adam_beta2": "give optimizer.betas=[beta1, beta2]",
    "lr_scheduler_type": "the rate rises over optimizer.warmup_steps, then falls as a cosine to "
    "optimizer.final_ratio",
    "bf16": "give run.precision=bf16",
    "fp16": "give run.precision=bf16; float16 is not supported",
    "dataloader_num_workers": "give run.workers, and how many steps they work ahead as run.prefetch",
    "resume_from_checkpoint": "a run goes on by itself; see run.resume",
    "report_to": "give run.tensorboard=true",
    "fsdp": "give run.sharding=full",
    "optim": "the optimizer is AdamW; see the group optimizer",
}
"""Their name → what to do instead, where there is no setting of the same meaning."""

_GROUPS = ("run", "optimizer")


def own_override(pair: str) -> str:
    """A ``key=value`` override under our name.

    Raises:
        ConfigError: a name of theirs without a setting of the same meaning.
    """
    key, found, text = pair.partition("=")
    return f"{_own_name(key.strip())}{found}{text}"


def own_overrides(overrides: Sequence[str]) -> list[str]:
    """:func:`own_override` of each."""
    return [own_override(pair) for pair in overrides]


def own_names(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's nested values under our names; theirs may stand at its top, in ``run`` or in ``optimizer``.

    Raises:
        ConfigError: one without a setting of the same meaning, or a setting given under both names.
    """
    groups = {name: dict(recipe[name]) for name in _GROUPS if isinstance(recipe.get(name), Mapping)}
    top = {key: value for key, value in recipe.items() if key not in groups}
    found: list[tuple[str, str, Any]] = []
    for path, values in (("", top), *((f"{name}.", group) for name, group in groups.items())):
        for key in list(values):
            own = _own_name(f"{path}{key}")
            if own != f"{path}{key}":
                found.append((f"{path}{key}", own, values.pop(key)))
    for theirs, own, value in found:
        group, _, name = own.partition(".")
        members = groups.setdefault(group, {})
        if name in members:
            raise ConfigError(f"{theirs} and {own} are the same setting; give one of them")
        members[name] = value
    return {**top, **groups}


def _own_name(key: str) -> str:
    group, _, name = key.rpartition(".")
    if group not in ("", *_GROUPS):
        return key
    if name in OTHER:
        raise ConfigError(f"there is no setting {one_line(key, 80)!r}; {OTHER[name]}")
    own = SAME.get(name)
    own_too = own is not None and group != "" and own.endswith(f".{name}")  # optimizer.weight_decay
    return key if own is None or own_too else own
