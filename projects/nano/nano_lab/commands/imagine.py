"""``imagebind-llm eval imagine``: what nano draws of every sense, judged by an independent classifier."""

from pathlib import Path
from typing import Annotated

import typer

from imagebind_llm.cli import options as shared
from imagebind_llm.cli import status
from imagebind_llm.common.errors import UserError

EXAMPLES = """
\b
Examples:
  imagebind-llm eval imagine --data DATA
  imagebind-llm eval imagine --data DATA --weights runs/nano/generator/export --out results/imagine
  imagebind-llm eval imagine --data DATA --items 50 --steps 12 --out quick --judge results/imagine/judge

\b
DATA holds the folders mnist, cifar10, fsdd, animals and shapes, each with train.parquet and
test.parquet. The judge is trained on real pictures first, once. --out gets results.json,
results.md, samples.png and bars.png; the same command goes on where it stopped.
"""


def imagine(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of nano's datasets.")],
    model: shared.ModelOption = "nano",
    weights: Annotated[
        Path | None,
        typer.Option("--weights", metavar="DIR", help="Folder of the generator. Default: nano's own."),
    ] = None,
    items: Annotated[
        int, typer.Option("--items", min=10, help="About how many drawings of each task.")
    ] = 200,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Of a drawing. Default: the generator's.")
    ] = None,
    guidance: Annotated[
        float | None, typer.Option("--guidance", min=0, help="Default: the generator's.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the media and the noise.")] = 0,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the results.")] = Path(
        "results/imagine"
    ),
    judge: Annotated[
        Path | None, typer.Option("--judge", metavar="DIR", help="Folder of the judge. Default: OUT/judge.")
    ] = None,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Of the judge's training.")] = 3,
    device: shared.DeviceOption = "auto",
    json_: shared.JsonOption = False,
) -> None:
    """How often an independent classifier sees in nano's drawings what was asked for."""
    if not data.is_dir():
        raise UserError(f"there is no folder {str(data)!r}; give the folder of mnist, cifar10, fsdd, …")
    shared.check_out(out, folder=True)
    status.show("opening the generator …")
    from imagebind_llm.common.locate import locate_folder
    from imagebind_llm.evaluation.plots import load_pyplot
    from imagebind_llm.skills.generation.contract import Settings as Drawing
    from imagebind_llm.skills.generation.nano import generator_folder
    from imagebind_llm.skills.generation.registry import generator_kind
    from imagebind_llm.skills.generation.wishes import check_encoder

    Drawing(steps=steps, guidance=guidance)  # what cannot be is said before hours of work, not after them
    load_pyplot()
    generator = generator_kind("nano").open(None if weights is None else str(weights), device)
    folder = locate_folder(model)
    bot = shared.open_assistant(str(folder), device)
    check_encoder(bot, generator)
    from imagebind_llm.common.files import atomic_write, write_json
    from nano_lab.imagined.bars import draw_bars
    from nano_lab.imagined.judge_folder import JudgeSettings, open_judge
    from nano_lab.imagined.run import Settings, measure_imagined
    from nano_lab.imagined.sheet import draw_sheet
    from nano_lab.imagined.tables import report

    settings = Settings(Path(model).name, folder, weights or generator_folder(), items, seed, steps, guidance)
    try:
        trained = open_judge(judge or out / "judge", data, JudgeSettings(epochs), status.show)
        measured = measure_imagined(bot, generator, trained, data, out, settings)
    except KeyboardInterrupt:
        typer.echo(f"\nstopped; what is done is kept in {out}: the same command goes on", err=True)
        raise
    write_json(out / "results.json", measured.results)
    text = report(measured.results)
    with atomic_write(out / "results.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    draw_sheet(measured.rows, out / "samples.png")
    draw_bars(measured.results, out / "bars.png")
    if json_:
        shared.print_json(measured.results)
    else:
        typer.echo(text, nl=False)
