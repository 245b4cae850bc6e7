"""Two of the shared data sets as the field lays them out, for ``imagebind-llm eval``.

    python -m nano_lab.data.unpack --data DATA --out DATA

``flickr8k`` becomes ``flickr8k-test`` (pictures, ``Flickr8k.token.txt``, ``Flickr_8k.testImages.txt``).
``hit_uav_thermal`` becomes ``thermal-crops``: a folder of cut-out boxes for each class.
"""

import argparse
import io
from collections import Counter
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.folders import atomic_directory

SMALLEST = 16
"""Pixels of a box's shorter side. Smaller ones show next to nothing."""
MARGIN = 0.2
"""Share of a box's longer side that is cut out around it on each side."""


def read(data: Path, name: str) -> list[dict[str, Any]]:
    """Rows of the test split.

    Raises:
        UserError: it is not there.
    """
    import pyarrow.parquet as pq

    file = data / name / "test.parquet"
    if not file.is_file():
        raise UserError(f"there is no {str(file)!r}; give the folder of the shared data as --data")
    rows: list[dict[str, Any]] = pq.read_table(file).to_pylist()
    return rows


def unpack_flickr8k(data: Path, out: Path) -> int:
    """Write the test pictures and their captions; returns how many pictures."""
    rows = read(data, "flickr8k")
    with atomic_directory(out / "flickr8k-test") as folder:
        (folder / "Flicker8k_Dataset").mkdir()
        captions, names = [], []
        for row in rows:
            name = Path(row["file"]).name
            (folder / "Flicker8k_Dataset" / name).write_bytes(row["image"]["bytes"])
            names.append(f"{name}\n")
            captions += [f"{name}#{number}\t{text}\n" for number, text in enumerate(row["captions"])]
        (folder / "Flickr8k.token.txt").write_text("".join(captions), encoding="utf-8")
        (folder / "Flickr_8k.testImages.txt").write_text("".join(names), encoding="utf-8")
    return len(rows)


def unpack_thermal(data: Path, out: Path) -> Counter[str]:
    """Write the boxes of at least :data:`SMALLEST` pixels as pictures; returns how many of each class."""
    from PIL import Image

    rows, found = read(data, "hit_uav_thermal"), Counter[str]()
    with atomic_directory(out / "thermal-crops") as folder:
        for row in rows:
            with Image.open(io.BytesIO(row["image"]["bytes"])) as opened:
                picture = opened.convert("L")
            for number, (box, label) in enumerate(zip(row["boxes"], row["labels"], strict=True)):
                left, top, width, height = box
                if min(width, height) < SMALLEST or label == "othervehicle":
                    continue
                half = max(width, height) * (0.5 + MARGIN)
                x, y = left + width / 2, top + height / 2
                corners = (
                    max(0, round(x - half)),
                    max(0, round(y - half)),
                    min(picture.width, round(x + half)),
                    min(picture.height, round(y + half)),
                )
                (folder / label).mkdir(exist_ok=True)
                picture.crop(corners).save(folder / label / f"{Path(row['file']).stem}-{number}.png")
                found[label] += 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of flickr8k and hit_uav_thermal")
    parser.add_argument("--out", type=Path, required=True, help="where the new folders go")
    options = parser.parse_args()
    try:
        pictures = unpack_flickr8k(options.data, options.out)
        print(f"{options.out / 'flickr8k-test'}: {pictures} pictures")  # noqa: T201
        crops = unpack_thermal(options.data, options.out)
        counts = ", ".join(f"{count} {name}" for name, count in sorted(crops.items()))
        print(f"{options.out / 'thermal-crops'}: {counts}")  # noqa: T201
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
