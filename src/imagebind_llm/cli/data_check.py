"""``imagebind-llm data check``: read every sample of sources as training would, and say what is bad."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagebind_llm.cli import data_sources as shared
from imagebind_llm.cli.options import JsonOption

if TYPE_CHECKING:
    from imagebind_llm.common.errors import BadSample
    from imagebind_llm.common.modality import Modality
    from imagebind_llm.data.sources.base import Record

SUMMARY = "Count good and bad samples."

EXAMPLES = """
\b
Examples:
  imagebind-llm data check captions.tsv
  imagebind-llm data check 'laion/*.tar' --report bad.jsonl --json
  imagebind-llm data check embedded

\b
Pictures and other media are opened too. The exit code is 0 if the share of bad samples is within
--max-bad, else 2.
"""


def check(
    sources: shared.SourcesArgument,
    report: Annotated[
        Path | None, typer.Option("--report", help="Write the bad samples here, as JSON lines.")
    ] = None,
    kind: shared.KindOption = None,
    root: shared.RootOption = None,
    column: shared.ColumnOption = None,
    split: shared.SplitOption = "train",
    streaming: shared.StreamingOption = False,
    max_bad: shared.MaxBadOption = 0.05,
    json_: JsonOption = False,
) -> None:
    """Read every sample as training would, and count the bad ones."""
    settings = shared.read_sources(sources, kind, root, column, split, streaming)

    from tqdm import tqdm

    from imagebind_llm.common.errors import TrainingDataError, UserError
    from imagebind_llm.data.mixture import SourceMixture
    from imagebind_llm.data.quarantine import Quarantine
    from imagebind_llm.data.sources import open_source

    if report is not None and report.exists():
        raise UserError(f"--report {str(report)!r} exists; give a new file")
    quarantine = Quarantine(report, max_rate=1.0)
    mixture = SourceMixture([open_source(one) for one in settings], [1.0] * len(settings), quarantine)
    good: Counter[str] = Counter()
    text_only = 0
    for record in tqdm(mixture.iterate(), unit="sample", desc="check", disable=not sys.stderr.isatty()):
        if (bad := _unreadable(record)) is not None:
            quarantine.passed(-1)  # it was counted as a good one when its pictures had been opened
            quarantine.report(record.source, bad)
            continue
        good[record.source] += 1
        text_only += all(isinstance(message["content"], str) for message in record.messages)
    if quarantine.tried and not good:
        raise TrainingDataError(
            f"none of {quarantine.tried} samples is good ({quarantine.summary()}), the last: "
            f"{quarantine.last}"
        )
    values = {
        "good": dict(good),
        "bad": dict(quarantine.counts),
        "bad_examples": quarantine.examples,
        "text_only": text_only,
        "fingerprints": mixture.fingerprints,
    }
    if json_:
        typer.echo(json.dumps(values))
    else:
        for name in mixture.fingerprints:
            typer.echo(f"{name}: {good[name]} good, {quarantine.counts[name]} bad")
            shown = quarantine.examples.get(name, [])
            for line in shown:
                typer.echo(f"  {line}")
            if report is None and quarantine.counts[name] > len(shown):
                typer.echo(f"  … and {quarantine.counts[name] - len(shown)} more; --report FILE lists all")
    if quarantine.total > max_bad * quarantine.tried:
        raise UserError(
            f"{quarantine.total} of {quarantine.tried} samples are bad, more than the allowed share "
            f"{max_bad:g}" + ("" if report is None else f"; see {str(report)!r}")
        )


def _unreadable(record: "Record") -> "BadSample | None":
    """What is wrong with the record's media that are no pictures, which are opened already.

    How a model's own sensors are read is known to that model alone; they are not looked at.
    """
    from imagebind_llm.common.errors import BadSample, MissingExtraError, UserError
    from imagebind_llm.common.modality import Modality
    from imagebind_llm.data.sources.base import Embedded, replace_media
    from imagebind_llm.media import MediaSettings, load_media

    def opened(modality: "Modality", source: Any) -> Any:
        if modality is not Modality.IMAGE and modality.built_in and not isinstance(source, Embedded):
            load_media(modality, source, MediaSettings())
        return source

    try:
        replace_media(record.messages, opened)
    except MissingExtraError:
        raise  # not this sample's fault
    except UserError as error:
        return BadSample(record.key, str(error))
    return None
