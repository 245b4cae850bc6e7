"""``imagebind-llm eval report``: the paper's claims, measured with nano, as a page."""

import json
from pathlib import Path
from typing import Annotated

import typer

from imagebind_llm.cli import options as shared
from imagebind_llm.common.errors import UserError

EXAMPLES = """
\b
Examples:
  imagebind-llm eval report --data DATA --out report
  imagebind-llm eval report --data DATA --out quick --items 20
  imagebind-llm eval report --data DATA --out report --check MODEL_CARD.md
  imagebind-llm eval report --data DATA --out report --base runs/nano/language/export

\b
DATA holds the folders mnist, cifar10, fsdd, animals, animals_extra and shapes (and flickr8k, for
English text). --out gets report.html, report.md, report.json, cost.json and pictures; the same
command goes on where it stopped.
"""


def report(
    data: Annotated[Path, typer.Option("--data", help="Folder of nano's datasets.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the report, and of what is kept for it.")],
    model: shared.ModelOption = "nano",
    base: Annotated[
        Path | None,
        typer.Option(
            "--base",
            help="Language model before any training with media. Default: taken out of the model.",
        ),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option("--check", help="Model card whose numbers must come out; exit code 2 if they do not."),
    ] = None,
    items: Annotated[
        int | None,
        typer.Option("--items", min=2, help="Most items of each sense. Default: the standard evaluation's."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of questions and derivations.")] = 0,
    batch_size: shared.BatchSizeOption = 64,
    device: shared.DeviceOption = "auto",
    dtype: shared.DtypeOption = "auto",
    json_: shared.JsonOption = False,
) -> None:
    """The paper's claims: senses, cache, controls, mixtures, the modality gap, text ability, cost."""
    if not data.is_dir():
        raise UserError(f"there is no folder {str(data)!r}; give the folder of mnist, cifar10, fsdd, …")
    if check is not None and items is not None:
        raise UserError("--items asks other questions than the model card's; leave it out with --check")
    if check is not None and not check.is_file():
        raise UserError(f"there is no file {str(check)!r}; --check takes a model card")
    shared.check_out(out, folder=True)
    from imagebind_llm.common.locate import locate_folder
    from imagebind_llm.evaluation.claims.document import markdown
    from imagebind_llm.evaluation.plots import load_pyplot
    from nano_lab.evaluation.claims.against import committed_card, compare
    from nano_lab.evaluation.claims.measure import Settings, measure
    from nano_lab.evaluation.claims.report import document, write_report

    load_pyplot()  # before minutes of work, not after them
    folder = locate_folder(model)
    bot = shared.open_assistant(str(folder), device, dtype, None)
    settings = Settings(Path(model).name, folder, base, seed, items, batch_size)
    measured = measure(bot, data, out, settings)
    compared = compare(measured.values["standard"], check or committed_card(), items is not None)
    write_report(measured, compared, out)
    if json_:
        typer.echo(json.dumps(measured.values, ensure_ascii=False))
    else:
        typer.echo(markdown(document(measured, compared)))
    if check is not None and (compared.differ or compared.instead):
        much = f"{len(compared.differ)} of {compared.rows} rows" if compared.differ else compared.instead
        raise UserError(f"the report differs from {str(check)!r} ({much}); see {str(out / 'report.md')!r}")
