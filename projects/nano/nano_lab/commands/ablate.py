"""``imagebind-llm eval ablate``: the published choices against their alternatives, on nano."""

import json
import logging
from pathlib import Path
from typing import Annotated

import typer

from imagebind_llm.cli import options as shared
from imagebind_llm.common.errors import UserError

EXAMPLES = """
\b
Examples:
  imagebind-llm eval ablate --data DATA --out ablations
  imagebind-llm eval ablate --data DATA --out ablations --only gates --only depth --steps 400
  imagebind-llm eval ablate --data DATA --out ablations --seed 0 --seed 1 --seed 2

\b
DATA holds nano's data sets. Every training variant is a run of `imagebind-llm train pretrain` or
`train finetune` with one setting changed, on the same pictures in the same order; cache variants
train nothing. --out gets results.json, ablations.md, ablations.png and every run; the same
command goes on where it stopped. Comparisons for --only: gates, depth, style, tokens,
layers, adapters, cache, cache-k, cache-temperature, cache-weight.
"""


def ablate(
    data: Annotated[Path, typer.Option("--data", help="Folder of nano's data sets.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of runs and results.")],
    model: shared.ModelOption = "nano",
    encoder: Annotated[
        Path | None, typer.Option("--encoder", help="Encoder folder. Default: the model's own.")
    ] = None,
    language_model: Annotated[
        Path | None,
        typer.Option(
            "--language-model",
            help="Language model before any training with media. Default: taken out of the model (its tuned "
            "norms stay).",
        ),
    ] = None,
    only: Annotated[list[str] | None, typer.Option("--only", help="A comparison; may be repeated.")] = None,
    steps: Annotated[
        int, typer.Option("--steps", min=1, help="Optimizer steps of each training variant.")
    ] = 150,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Dialogs in a step.")] = 48,
    images: Annotated[int, typer.Option("--images", min=100, help="Training pictures used.")] = 20_000,
    items: Annotated[int, typer.Option("--items", min=2, help="Most test items of each sense.")] = 60,
    seed: Annotated[
        list[int] | None, typer.Option("--seed", min=0, help="Of training; may be repeated. Default: 0.")
    ] = None,
    json_: shared.JsonOption = False,
) -> None:
    """The published choices against their alternatives: gates, depth, style, layers, adapters, cache."""
    if not data.is_dir():
        raise UserError(f"there is no folder {str(data)!r}; give the folder of mnist, cifar10, fsdd, …")
    from imagebind_llm.evaluation.plots import load_pyplot
    from nano_lab.ablations.plot import draw

    shared.check_out(out, folder=True)
    load_pyplot()  # before minutes of work, not after them
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("imagebind_llm").setLevel(logging.INFO)
    from imagebind_llm.common.files import atomic_write
    from imagebind_llm.common.locate import locate_folder
    from nano_lab.ablations.inputs import Budget
    from nano_lab.ablations.report import markdown, summarise
    from nano_lab.ablations.run import Questions, run_ablations

    results = run_ablations(
        data,
        out,
        locate_folder(model),
        encoder=encoder,
        language_model=language_model,
        budget=Budget(steps, batch, images),
        asked=Questions(items, items),
        seeds=tuple(dict.fromkeys(seed or [0])),
        only=only or (),
    )
    summary = summarise(results)
    with atomic_write(out / "results.json") as temporary:
        temporary.write_text(json.dumps(summary, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    report = markdown(summary)
    with atomic_write(out / "ablations.md") as temporary:
        temporary.write_text(report, encoding="utf-8")
    draw(summary, out / "ablations.png")
    typer.echo(json.dumps(summary, ensure_ascii=False) if json_ else report)
