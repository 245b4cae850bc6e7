"""The data sources of a recipe, opened for one of the processes of a run."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imagebind_llm.data.mixture import SourceMixture
from imagebind_llm.data.quarantine import Quarantine
from imagebind_llm.data.sources import SourceSettings, open_source
from imagebind_llm.errors import ConfigError


def open_mixture(
    sources: Sequence[SourceSettings], folder: Path, report: str, max_bad_share: float, encoder: Any
) -> SourceMixture | None:
    """The mixture of ``sources``; None without any.

    Args:
        folder: of the run; each process keeps its own list of bad samples there.
        report: name of that list, without suffix.
        max_bad_share: the run stops when a larger share is bad.
        encoder: whose embeddings embedded sources must be; None: not compared.

    Raises:
        ConfigError: embeddings by another encoder, or sources that do not go together.
        TrainingDataError: a source cannot be opened.
    """
    if not sources:
        return None
    rank = int(os.environ.get("RANK", "0"))
    name = f"{report}.jsonl" if rank == 0 else f"{report}-{rank}.jsonl"
    opened = [open_source(source) for source in sources]
    for source in opened:
        made_by = getattr(source, "encoder_fingerprint", None)
        if made_by is not None and encoder is not None and made_by != encoder.fingerprint:
            raise ConfigError(
                f"the embeddings of source {source.name!r} were made by an encoder with fingerprint "
                f"{made_by}, this model's has {encoder.fingerprint}; embed the data with this encoder"
            )
    return SourceMixture(
        opened, [source.weight for source in sources], Quarantine(folder / name, max_rate=max_bad_share)
    )


def described(mixture: SourceMixture | None) -> dict[str, Any]:
    """What a reader of a finished run should know of its data."""
    if mixture is None:
        return {}
    return {"data": mixture.fingerprints, "bad_samples": dict(sorted(mixture.quarantine.counts.items()))}
