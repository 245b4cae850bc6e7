"""``imagebind-llm data embed``: any source → precomputed embeddings to train from."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagebind_llm.cli import data_sources as shared
from imagebind_llm.cli.options import DeviceOption, DtypeOption, JsonOption, check_out
from imagebind_llm.common.errors import UserError
from imagebind_llm.common.settings import MOST_AT_ONCE

if TYPE_CHECKING:
    from imagebind_llm.data.embed.executors import Execute

SUMMARY = "Embed sources once, to train many times."

EXAMPLES = """
\b
Examples:
  imagebind-llm data embed captions.tsv --model nano --out embedded
  imagebind-llm data embed 'laion/*.tar' llava.json --encoder encoders/huge --views 2 --out embedded
  imagebind-llm data embed captions.tsv --out embedded --workers 8
  imagebind-llm data embed captions.tsv --out embedded --ray auto

\b
Started again, it goes on where it stopped; the files do not depend on who did the work or in what order.
In a recipe:  sources: [{kind: embedded, path: embedded}]
A visual cache of them:  imagebind-llm cache build --from-embeddings embedded --out my-cache
Bad samples are left out and listed in quarantine.jsonl.
"""


def embed(
    sources: shared.SourcesArgument,
    out: Annotated[Path, typer.Option("--out", help="Folder of the embeddings.")],
    model: Annotated[
        str, typer.Option("--model", metavar="nano|DIR|HUB_ID", help="The model whose encoder embeds.")
    ] = "nano",
    encoder: Annotated[
        str | None, typer.Option("--encoder", metavar="DIR", help="An encoder folder, instead of a model.")
    ] = None,
    views: Annotated[
        int, typer.Option("--views", min=0, help="Augmented views of each picture; 0: one, unchanged.")
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the views.")] = 0,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes. Default: one a core, or one a GPU.")
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option("--ray", metavar="ADDRESS", help="Work on a Ray cluster: auto, HOST:PORT, ray://…"),
    ] = None,
    shard_rows: Annotated[int, typer.Option("--shard-rows", min=1, help="Samples in a file.")] = 4096,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, max=MOST_AT_ONCE, help="Media encoded at once.")
    ] = 32,
    kind: shared.KindOption = None,
    root: shared.RootOption = None,
    column: shared.ColumnOption = None,
    split: shared.SplitOption = "train",
    streaming: shared.StreamingOption = False,
    max_bad: shared.MaxBadOption = 0.05,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    json_: JsonOption = False,
) -> None:
    """Embed every medium of the sources once, and keep the vectors with the words that belong to them."""
    if ray is not None and workers is not None:
        raise UserError("--workers and --ray were both given; the cluster decides how many work at once")
    check_out(out, folder=True)
    settings = shared.read_sources(sources, kind, root, column, split, streaming)

    from imagebind_llm.data.embed.run import embed_sources
    from imagebind_llm.data.embed.shard import Job
    from imagebind_llm.data.quarantine import Quarantine

    job = Job(
        settings,
        absolute(encoder or model),
        views=views,
        seed=seed,
        shard_rows=shard_rows,
        batch_size=batch_size,
        device=device,
        dtype=dtype,
    )
    done = embed_sources(job, out, _executor(ray, workers, device), Quarantine(max_rate=max_bad))
    left_out = sum(done.bad.values())
    if json_:
        values = {
            "out": str(out),
            "rows": done.rows,
            "media": done.media,
            "resumed": done.resumed,
            "finished_before": done.finished_before,
            "left_out": done.bad,
            "encoder_fingerprint": done.encoder,
        }
        typer.echo(json.dumps(values))
        return
    before = "; finished before, nothing to do" if done.finished_before else ""
    typer.echo(f"{done.rows} samples with {done.media} media in {out}{before}")
    if left_out:
        typer.echo(f"left out {left_out} bad samples, listed in {done.report}", err=True)


def _executor(ray: str | None, workers: int | None, device: str) -> "Execute":
    if ray is not None:
        from imagebind_llm.data.embed.run import on_cluster

        return on_cluster(ray)
    from imagebind_llm.data.embed.executors import on_this_machine

    return on_this_machine(device, workers)


def absolute(name: str) -> str:
    """A folder as every process finds it, whatever its working directory; other names as they are."""
    return os.path.abspath(name) if os.path.isdir(name) else name
