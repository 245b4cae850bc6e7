"""``imagebind-llm convert``: published files → our folders."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagebind_llm.cli import options as shared

if TYPE_CHECKING:
    from imagebind_llm.checkpoints.convert.plan import Plan

app = typer.Typer(
    no_args_is_help=True,
    help="Published weights: ImageBind, Point-Bind, LLaMA, ImageBind-LLM's adapters and cache → our folders.",
    short_help="Turn published weights into our folders.",
)

_IMAGEBIND = """
\b
Examples:
  imagebind-llm convert imagebind imagebind_huge.pth --out encoder
  imagebind-llm convert imagebind imagebind_w3D.pth --out encoder --dtype float16
  imagebind-llm convert imagebind imagebind_huge.pth --out encoder --dry-run
"""
_LLAMA = """
\b
Examples:
  imagebind-llm convert llama LLaMA/7B --out llama-7b
  imagebind-llm convert llama LLaMA/65B --out llama-65b --shard-size 5GB
"""
_DELTA = """
\b
Example:
  imagebind-llm convert delta LLaMA/7B_chinese_delta --base LLaMA/7B --out llama-7b-chinese
"""
_ADAPTER = """
\b
Examples:
  imagebind-llm convert adapter 7B.pth --base llama-7b-chinese --encoder encoder --out my-model
  imagebind-llm convert adapter 7B.pth --base llama-7b-chinese --encoder encoder --out my-model --full
  imagebind-llm ask "What is this?" --image a.jpg --model my-model
"""
_CACHE = """
\b
Examples:
  imagebind-llm convert cache knn.index --encoder encoder --out my-model/cache
  imagebind-llm convert cache knn.index --encoder encoder --out my-model/cache --kind hnsw_sq8 \\
      --names cc3m_imagebind_files.json
"""

OutOption = Annotated[Path, typer.Option("--out", help="Folder of the result; it must not exist yet.")]
WeightsDtypeOption = Annotated[
    str, typer.Option("--dtype", help="Precision to write: keep, float32, float16 or bfloat16.")
]
ShardOption = Annotated[
    str, typer.Option("--shard-size", metavar="SIZE", help="Largest weight file, for example 2GB.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print what would become what; write nothing.")]
TokenizerOption = Annotated[
    Path | None,
    typer.Option("--tokenizer", metavar="FILE", help="tokenizer.model, if it is not in the folder or above."),
]
AnyBaseOption = Annotated[
    bool, typer.Option("--any-base", help="Do not check whether the base is the right one.")
]


@app.command(epilog=_IMAGEBIND, short_help="imagebind_huge.pth, imagebind_w3D.pth → an encoder.")
def imagebind(
    file: Annotated[Path, typer.Argument(help="The checkpoint, .pth or .safetensors.")],
    out: OutOption,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="JSON of the sizes, if they are not ImageBind-Huge's."),
    ] = None,
    dtype: WeightsDtypeOption = "keep",
    shard_size: ShardOption = "2GB",
    dry_run: DryRunOption = False,
    json_: shared.JsonOption = False,
) -> None:
    """An ImageBind checkpoint, with or without Point-Bind's point encoder → an encoder folder."""

    def plan() -> "Plan":
        from imagebind_llm.checkpoints.convert.imagebind import plan_imagebind
        from imagebind_llm.checkpoints.convert.plan import parse_dtype

        return plan_imagebind(file, config, parse_dtype(dtype))

    _run(plan, out, shard_size, dry_run, json_)


@app.command(epilog=_LLAMA, short_help="Meta's LLaMA folder → a Hugging Face one.")
def llama(
    folder: Annotated[Path, typer.Argument(help="Folder with params.json and consolidated.*.pth.")],
    out: OutOption,
    tokenizer: TokenizerOption = None,
    context: Annotated[
        int | None,
        typer.Option("--context", min=1, help="Positions it was trained for (LLaMA 1: 2048, 2: 4096)."),
    ] = None,
    dtype: WeightsDtypeOption = "keep",
    shard_size: ShardOption = "2GB",
    dry_run: DryRunOption = False,
    json_: shared.JsonOption = False,
) -> None:
    """A LLaMA folder in Meta's layout (one or several consolidated files) → a Hugging Face folder."""

    def plan() -> "Plan":
        from imagebind_llm.checkpoints.convert.llama import plan_llama
        from imagebind_llm.checkpoints.convert.plan import parse_dtype

        return plan_llama(folder, tokenizer, context, parse_dtype(dtype))

    _run(plan, out, shard_size, dry_run, json_)


@app.command(epilog=_DELTA, short_help="A published difference + its base → a whole LLaMA.")
def delta(
    folder: Annotated[
        Path, typer.Argument(help="Folder of the difference, Meta's or Hugging Face's layout.")
    ],
    base: Annotated[Path, typer.Option("--base", help="Folder of the LLaMA it belongs to, either layout.")],
    out: OutOption,
    tokenizer: TokenizerOption = None,
    any_base: AnyBaseOption = False,
    dtype: WeightsDtypeOption = "keep",
    shard_size: ShardOption = "2GB",
    dry_run: DryRunOption = False,
    json_: shared.JsonOption = False,
) -> None:
    """A difference such as Open-Chinese-LLaMA's + the LLaMA it was taken from → a Hugging Face folder."""

    def plan() -> "Plan":
        from imagebind_llm.checkpoints.convert.delta import plan_delta
        from imagebind_llm.checkpoints.convert.plan import parse_dtype

        return plan_delta(folder, base, tokenizer, any_base, parse_dtype(dtype))

    _run(plan, out, shard_size, dry_run, json_)


@app.command(epilog=_ADAPTER, short_help="7B.pth, 7B-pretrained.pth → a model.")
def adapter(
    file: Annotated[Path, typer.Argument(help="The adapter, .pth or .safetensors.")],
    base: Annotated[Path, typer.Option("--base", help="Converted folder of its language model.")],
    encoder: Annotated[
        str, typer.Option("--encoder", metavar="DIR|nano|HUB_ID", help="Its encoder, or a model with it.")
    ],
    out: OutOption,
    full: Annotated[
        bool, typer.Option("--full", help="Copy language model and encoder into the result.")
    ] = False,
    any_base: AnyBaseOption = False,
    shard_size: ShardOption = "2GB",
    dry_run: DryRunOption = False,
    json_: shared.JsonOption = False,
) -> None:
    """An ImageBind-LLM adapter of either stage + its language model + its encoder → a model folder."""

    def plan() -> "Plan":
        from imagebind_llm.checkpoints.convert.adapter import plan_adapter

        return plan_adapter(file, base, encoder, out, full, any_base)

    _run(plan, out, shard_size, dry_run, json_)


@app.command(epilog=_CACHE, short_help="knn.index → a visual cache.")
def cache(
    file: Annotated[Path, typer.Argument(help="The faiss index.")],
    encoder: Annotated[
        str,
        typer.Option(
            "--encoder",
            metavar="DIR|nano|HUB_ID",
            help="What made the vectors, or a model with it.",
        ),
    ],
    out: OutOption,
    kind: Annotated[
        str,
        typer.Option("--kind", help="keep (as it is), exact, or hnsw_sq8 (a quarter of the size)."),
    ] = "keep",
    names: Annotated[
        Path | None,
        typer.Option("--names", metavar="FILE", help="JSON list of one name a vector; kept as captions."),
    ] = None,
    dry_run: DryRunOption = False,
    json_: shared.JsonOption = False,
) -> None:
    """The published index of ImageBind-LLM → a cache folder, read from disk piece by piece."""
    from imagebind_llm.checkpoints.convert.cache import convert_cache, plan_cache
    from imagebind_llm.checkpoints.convert.store import check_target

    if not dry_run:
        check_target(out)
    plan = plan_cache(file, encoder, kind, names)
    if dry_run:
        _print_cache_plan(plan.to_dict(), json_)
        return
    done = convert_cache(plan, out, progress=sys.stderr.isatty())
    values = {
        "out": str(out),
        "count": done.count,
        "dim": done.dim,
        "kind": done.kind,
        "bytes": done.bytes,
        "resumed": done.resumed,
    }
    if json_:
        typer.echo(json.dumps(values))
        return
    typer.echo(f"{out}: {done.count} vectors ({done.kind}), {done.bytes / 1e9:.2f} GB")


def _run(plan: "Callable[[], Plan]", out: Path, shard_size: str, dry_run: bool, json_: bool) -> None:
    """Plan, then print the plan or carry it out."""
    from imagebind_llm.checkpoints.convert.shards import parse_size
    from imagebind_llm.checkpoints.convert.store import check_target, convert

    largest = parse_size(shard_size)
    if not dry_run:
        check_target(out)
    planned = plan()
    if dry_run:
        _print_plan(planned.to_dict(), json_)
        return
    done = convert(planned, out, largest, progress=sys.stderr.isatty())
    values = {
        "out": str(out),
        "tensors": done.tensors,
        "bytes": done.bytes,
        "files": done.files,
        "resumed_files": done.resumed,
        "dropped": len(planned.dropped),
        **planned.summary,
    }
    if json_:
        typer.echo(json.dumps(values, ensure_ascii=False))
        return
    left = f", {len(planned.dropped)} left out" if planned.dropped else ""
    kept = f" ({done.resumed} from an earlier run)" if done.resumed else ""
    typer.echo(f"{out}: {done.tensors} tensors{left}, {done.bytes / 1e9:.2f} GB in {done.files} files{kept}")
    for key, value in planned.summary.items():
        typer.echo(f"{key}: {_words(value)}")


def _print_plan(values: dict[str, Any], json_: bool) -> None:
    if json_:
        typer.echo(json.dumps(values, ensure_ascii=False))
        return
    for tensor in values["tensors"]:
        change = f"  ({tensor['change']})" if tensor["change"] else ""
        typer.echo(f"{tensor['from']} -> {tensor['to']}  {tensor['dtype']} {tensor['shape']}{change}")
    for key, reason in values["dropped"].items():
        typer.echo(f"{key} -> left out ({reason})")
    typer.echo(f"{len(values['tensors'])} tensors, {values['bytes'] / 1e9:.2f} GB; nothing was written")


def _print_cache_plan(values: dict[str, Any], json_: bool) -> None:
    if json_:
        typer.echo(json.dumps(values))
        return
    change = f", {values['change']}" if values["change"] else ""
    typer.echo(
        f"{values['from']} -> {values['to']}  {values['count']} vectors of {values['dim']} numbers  "
        f"({values['index_type']} -> {values['kind']}{change})"
    )
    typer.echo(f"encoder: {values['encoder_fingerprint']}")
    typer.echo(f"{values['names']} names, about {values['bytes'] / 1e9:.2f} GB; nothing was written")


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
