"""What of mini goes into the package: what was trained, and a small visual cache.

    python -m mini_lab.bundle --trained runs/mini/trained --embedded runs/mini/embedded \\
        --out src/imagebind_llm/mini

The whole cache of the training pictures has 31 MB. The one of the package has every sixth picture, 5 MB;
``imagebind-llm pull mini`` puts it into the model's folder. It holds neither pictures nor captions.
"""

import argparse
import shutil
import sys
from pathlib import Path

from imagebind_llm.cache import build_cache
from imagebind_llm.checkpoints.parts.bundle import ADAPTER, HEADS
from imagebind_llm.common.errors import CheckpointError, UserError
from imagebind_llm.common.folders import MARK, atomic_directory
from imagebind_llm.data.embed.store import read_manifest
from imagebind_llm.inference.assistant import CACHE_FOLDER
from imagebind_llm.training.build import exit_code
from mini_lab.prototypes import embedded_pictures

PICTURES = 1000
"""In the small cache."""


def write(trained: Path, embedded: Path, out: Path, pictures: int = PICTURES) -> int:
    """Write the folder ``out``; returns how many bytes it has.

    Args:
        trained: of :mod:`mini_lab.together`.
        embedded: training pictures, as ``imagebind-llm data embed`` wrote them.
        out: written as a whole.
        pictures: in the cache, evenly spread.

    Raises:
        UserError: no picture is asked for.
        CheckpointError: nothing was trained.
        TrainingDataError: the embeddings are not complete.
    """
    if pictures < 1:
        raise UserError(f"--pictures is {pictures}; expected at least 1")
    for name in (ADAPTER, HEADS):
        if not (trained / name).is_dir():
            raise CheckpointError(f"{str(trained)!r} has no {name}; give what mini_lab.together wrote")
    rows = embedded_pictures(embedded)
    count = min(pictures, len(rows))
    chosen = [number * len(rows) // count for number in range(count)]
    fingerprint = read_manifest(embedded)["encoder_fingerprint"]
    cache = build_cache(rows[chosen], "exact", encoder_fingerprint=fingerprint)
    with atomic_directory(out) as stage:
        for name in (ADAPTER, HEADS):
            shutil.copytree(trained / name, stage / name)
        cache.save(stage / ADAPTER / CACHE_FOLDER)
        for mark in stage.rglob(MARK):  # the whole says whose it is
            mark.unlink()
        files = [path for path in stage.rglob("*") if path.is_file()]
        for path in files:
            path.chmod(0o644)
        return sum(path.stat().st_size for path in files)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m mini_lab.bundle", description="Mini for the package.")
    parser.add_argument("--trained", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--embedded", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="written, as a whole")
    parser.add_argument("--pictures", type=int, default=PICTURES, metavar="N", help="in the cache")
    given = parser.parse_args()

    def work() -> None:
        size = write(given.trained, given.embedded, given.out, given.pictures)
        sys.stdout.write(f"{size / 1e6:.1f} MB in {given.out}\n")

    sys.exit(exit_code(work))


if __name__ == "__main__":
    main()
