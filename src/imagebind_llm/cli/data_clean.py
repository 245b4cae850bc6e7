"""``imagebind-llm data clean``: drop duplicates, mismatches and junk from training data, and show why."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from imagebind_llm.cli import data_sources as shared
from imagebind_llm.cli.options import JsonOption, check_out
from imagebind_llm.common.errors import UserError

SUMMARY = "Drop duplicates, mismatches and junk; show why."

EXAMPLES = """
\b
Examples:
  imagebind-llm data clean captions.tsv --out cleaned
  imagebind-llm data clean photos/ --out cleaned --dry-run
  imagebind-llm data clean "shards/*.tar" --out cleaned rules.agreement.minimum=0.2
  imagebind-llm data clean llava.json --kind llava --root images/ --out cleaned --config clean.yaml
  imagebind-llm data clean captions.tsv --out cleaned rules.listed_words.file=words.txt

\b
OUT/result/report.html shows counts, scores and examples; OUT/result/source.yaml is the cleaned source, ready
for a recipe. OUT/measured/ keeps what was measured: with other bounds the same command takes seconds. An
interrupted run goes on where it stopped. Every rule and setting: docs/cleaning.md.
"""


def clean(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="File, folder, pattern in quotes, or recipe of one source."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the results.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings to change, dotted keys.")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="YAML file of settings.")] = None,
    kind: shared.KindOption = None,
    root: shared.RootOption = None,
    column: shared.ColumnOption = None,
    split: shared.SplitOption = "train",
    streaming: shared.StreamingOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Scores and report only: no lists, no cleaned source.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Drop duplicates, mismatches and junk from image-caption data, and show why."""
    from imagebind_llm.data.clean.settings import load_settings

    more = next((given for given in overrides or [] if "=" not in given), None)
    if more is not None:
        raise UserError(
            f"{more!r} is no KEY=VALUE; if it is a second source: one is cleaned at a time, each with its "
            "own --out (files of one kind together: a pattern in quotes, such as 'data/*.tsv')"
        )
    check_out(out, folder=True)
    settings = load_settings(config, overrides or [])
    found = shared.read_sources([source], kind, root, column, split, streaming)
    if len(found) != 1:
        raise UserError(f"{source!r} describes {len(found)} sources; clean them one by one")
    from imagebind_llm.data.clean.run import clean as run

    done = run(found[0], out, settings, dry_run=dry_run, progress=sys.stderr.isatty())
    report = done.folder / "report.html"
    if json_:
        values: dict[str, Any] = {
            **done.summary,
            "resumed": done.resumed,
            "dry_run": dry_run,
            "result": str(done.folder),
            "report": str(report),
        }
        typer.echo(json.dumps(values))
    else:
        typer.echo(done.text)
        typer.echo(f"report: {report}")
    if not dry_run and not done.summary["kept"]:
        raise UserError(
            f"nothing is kept of the {done.summary['samples']} samples of {source!r}; see why in "
            f"{str(report)!r}, then change the rules (KEY=VALUE) or the data"
        )
