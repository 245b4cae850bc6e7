"""``imagebind-llm eval detection``: things in composed scenes, found by words, pictures and sounds."""

from pathlib import Path
from typing import Annotated, Any

import typer

from imagebind_llm.cli import options as shared
from imagebind_llm.common.errors import UserError
from imagebind_llm.common.files import write_json

EXAMPLES = """
\b
Examples:
  imagebind-llm eval detection --data DATA
  imagebind-llm eval detection --data DATA --scenes 200 --out results/detection.json
"""


def detection(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of nano's datasets.")],
    model: shared.ModelOption = "nano",
    scenes: Annotated[int, typer.Option("--scenes", min=1, help="How many are composed.")] = 50,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of scenes and prompts.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.json", help="Also write it here.")
    ] = None,
    device: shared.DeviceOption = "auto",
    json_: shared.JsonOption = False,
) -> None:
    """Average precision of nano's boxes on scenes of test media, by COCO's scorer."""
    if not data.is_dir():
        raise UserError(f"there is no folder {str(data)!r}; give the folder of mnist, cifar10, fsdd, …")
    if out is not None:
        shared.check_out(out)
    bot = shared.open_assistant(model, device)
    from tqdm import tqdm

    from nano_lab.detection.measure import evaluate_detection

    with tqdm(total=scenes, unit="scene", desc="detection", disable=None) as bar:
        found = evaluate_detection(bot, data, scenes, seed, advance=bar.update)
    if out is not None:
        write_json(out, found)
    if json_:
        shared.print_json(found)
    else:
        typer.echo(_table(found), nl=False)


def _table(found: dict[str, Any]) -> str:
    from imagebind_llm.evaluation.report import table

    rows = []
    for name in ("text", "image", "audio"):
        scores = found[name]
        rows.append([name, _interval(scores["AP50"]), _interval(scores["AP"]), str(scores["things"])])
    return table(["prompts", "AP50", "AP50:95", "things"], rows)


def _interval(value: dict[str, float | None]) -> str:
    if value["value"] is None:
        return "-"
    whole = f"{value['value']:.3f}"
    return whole if value["low"] is None else f"{whole} ({value['low']:.3f} … {value['high']:.3f})"
