"""``imagebind-llm eval sensor``: does the language model understand a sense that it never learnt with?"""

import json
from pathlib import Path
from typing import Annotated

import typer

from imagebind_llm.cli import options as shared
from imagebind_llm.common.modality import Modality

EXAMPLES = """
\b
Example:
  imagebind-llm eval sensor tactile pairs --model nano-tactile

\b
The held-out pairs are used; their labels must be names of nano's concepts (zero … nine,
airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck).
"""


def sensor(
    modality: Annotated[str, typer.Argument(help="Name of the sensor, for example tactile.")],
    pairs: Annotated[Path, typer.Argument(help="Folder or manifest of pairs, as for train bind.")],
    model: shared.ModelOption = "nano",
    items: Annotated[int | None, typer.Option("--items", min=2, help="Most arrays. Default: all.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the questions.")] = 0,
    json_: shared.JsonOption = False,
) -> None:
    """Zero-shot answers about a sensor, cache off and on, with a shuffled control (nano's language only)."""
    shared.know_sensors(model)
    sense = Modality.parse(modality)
    bot = shared.open_assistant(model, "cpu")
    from imagebind_llm.evaluation.report import percent, points, table
    from nano_lab.evaluation.sensor import evaluate_sensor

    results = evaluate_sensor(bot, sense, pairs, items, seed)
    if json_:
        typer.echo(json.dumps(results))
        return
    rows = [
        [name.replace("_", " "), results[name]["n"], percent(results[name])]
        for name in ("cache_off", "cache_on", "shuffled")
        if name in results
    ]
    typer.echo(table([modality, "n", "named rightly, % (95 % interval)"], rows), nl=False)
    if "difference" in results:
        typer.echo(f"cache on - off: {points(results['difference'])} points")
    typer.echo(f"right by chance when shuffled: {100 * results['chance']:.1f} %")
