"""``imagebind-llm eval nano`` and ``eval card``: measure nano, write what was measured into documents."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from imagebind_llm.cli import options as shared
from imagebind_llm.common.errors import UserError

EXAMPLES = """
\b
Examples:
  imagebind-llm eval nano --data DATA --out results
  imagebind-llm eval nano --data DATA --items 50
  imagebind-llm eval nano --data DATA --model runs/nano/finetune/export --json
  imagebind-llm eval nano --data DATA --part doubt

\b
DATA holds the folders mnist, cifar10, fsdd, animals, animals_extra and shapes, each with
train.parquet and test.parquet. --out gets results.json, results.md, senses.png and
confusion-*.png.

\b
--part doubt: strange pictures, a threshold on confidence, calibration; typed: slips of
typing, and yes or no against its own naming; inputs: turned, small and transparent digits,
large photographs; texts: words as a medium, in new wordings and in people's sentences.
They also read flickr8k, imagenet_sample, hit_uav_thermal and tux-paint where DATA has
them. --out gets PART.json and PART.md.
"""
CARD_EXAMPLES = """
\b
Examples:
  imagebind-llm eval card results/results.json --out MODEL_CARD.md
  imagebind-llm eval card results/results.json --readme README.md
"""


def nano(
    data: Annotated[Path, typer.Option("--data", help="Folder of nano's datasets.")],
    model: shared.ModelOption = "nano",
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for results, tables and pictures.")
    ] = None,
    part: Annotated[
        Literal["standard", "doubt", "typed", "inputs", "texts"],
        typer.Option("--part", help="What to measure."),
    ] = "standard",
    items: Annotated[
        int | None,
        typer.Option("--items", min=2, help="Most items of each sense. Default: 2000 pictures, 500 derived."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of questions and derivations.")] = 0,
    cache_dir: shared.CacheFolderOption = None,
    batch_size: shared.BatchSizeOption = 64,
    plots: Annotated[bool, typer.Option("--plots/--no-plots", help="Draw pictures into --out.")] = True,
    device: shared.DeviceOption = "auto",
    dtype: shared.DtypeOption = "auto",
    quantize: shared.QuantizeOption = None,
    encoder_device: shared.EncoderDeviceOption = None,
    device_map: shared.DeviceMapOption = None,
    max_memory: shared.MemoryOption = None,
    offload_dir: shared.OffloadOption = None,
    json_: shared.JsonOption = False,
) -> None:
    """Nano's senses, cache on and off, languages, mixtures, far-off input and controls."""
    if not data.is_dir():
        raise UserError(f"there is no folder {str(data)!r}; give the folder of mnist, cifar10, fsdd, …")
    from imagebind_llm.common.files import atomic_write
    from imagebind_llm.common.locate import locate_folder
    from imagebind_llm.evaluation.plots import load_pyplot

    if out is not None:  # before minutes of work, not after them
        shared.check_out(out, folder=True)
        if plots and part in ("standard", "doubt"):
            load_pyplot()
    folder = locate_folder(model)
    placing = shared.placing(quantize, encoder_device, device_map, max_memory, offload_dir)
    bot = shared.open_assistant(str(folder), device, dtype, cache_dir, **placing)
    if part != "standard":
        _measure_part(part, bot, data, model, folder, seed, items, batch_size, out, plots, json_)
        return
    from nano_lab.evaluation.plots import draw_all
    from nano_lab.evaluation.run import evaluate_nano
    from nano_lab.evaluation.tables import report

    results = evaluate_nano(
        bot,
        data,
        model_name=Path(model).name,
        folder=folder,
        seed=seed,
        items=items,
        batch_size=batch_size,
    )
    text = json.dumps(results, ensure_ascii=False, indent=1) + "\n"
    if out is not None:
        with atomic_write(out / "results.json") as temporary:
            temporary.write_text(text, encoding="utf-8")
        with atomic_write(out / "results.md") as temporary:
            temporary.write_text(report(results), encoding="utf-8")
        if plots:
            draw_all(results, out)
    typer.echo(json.dumps(results, ensure_ascii=False) if json_ else report(results))


def _measure_part(
    part: str,
    bot: Any,
    data: Path,
    model: str,
    folder: Path,
    seed: int,
    items: int | None,
    batch_size: int,
    out: Path | None,
    plots: bool,
    json_: bool,
) -> None:
    from imagebind_llm.common.files import atomic_write
    from nano_lab.evaluation.parts import PARTS, evaluate_part

    results = evaluate_part(
        part,
        bot,
        data,
        model_name=Path(model).name,
        folder=folder,
        seed=seed,
        items=items,
        batch_size=batch_size,
    )
    tables = PARTS[part].tables(results["results"])
    if out is not None:
        text = json.dumps(results, ensure_ascii=False, indent=1) + "\n"
        for name, content in ((f"{part}.json", text), (f"{part}.md", tables)):
            with atomic_write(out / name) as temporary:
                temporary.write_text(content, encoding="utf-8")
        if plots and (draw := PARTS[part].draw) is not None:
            draw(results["results"], out / f"{part}.png")
    typer.echo(json.dumps(results, ensure_ascii=False) if json_ else tables)


def card(
    results: Annotated[Path, typer.Argument(help="results.json of eval nano.")],
    out: Annotated[Path, typer.Option("--out", help="File to write.")] = Path("MODEL_CARD.md"),
    readme: Annotated[
        Path | None, typer.Option("--readme", help="Also renew the results between the marks of a README.")
    ] = None,
) -> None:
    """Write nano's model card (a README for the Hugging Face hub) from results."""
    from nano_lab.evaluation.card import read_results, write_card
    from nano_lab.evaluation.readme import write_readme

    shared.check_out(out)
    found = read_results(results)
    if readme is not None:
        write_readme(found, readme)
    write_card(found, out)
    for path in (out, readme):
        if path is not None:
            typer.echo(str(path))
