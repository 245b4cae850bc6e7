"""A data set and an encoder small enough to embed in a second."""

import dataclasses
import json
from pathlib import Path

from imagebind_llm.data.embed.shard import Job
from imagebind_llm.data.sources import SourceSettings
from support import source_samples as made

PAIRS, TEXTS, GOOD = 90, 25, 90 + 25 - 3


def write_encoder(folder: Path) -> str:
    import torch

    from imagebind_llm.encoders.imagebind import ImageBindConfig, ImageBindModel, save_imagebind

    config = dataclasses.replace(
        ImageBindConfig.nano(), embedding_dim=28, audio=None, point=None, depth=None, thermal=None, imu=None
    )
    torch.manual_seed(3)
    save_imagebind(ImageBindModel(config).eval(), folder)
    return str(folder)


def write_job(folder: Path, **changes) -> Job:
    """Captions with two broken pictures, and text-only dialogs with a broken line: two sources."""
    made.pictures(folder / "data")
    rows = [f"{row % 10}.png\tpicture {row}" for row in range(PAIRS)]
    rows[7], rows[40] = "cut.png\tcut", "gone.png\tgone"
    (folder / "data" / "captions.tsv").write_text("url\tcaption\n" + "\n".join(rows) + "\n")
    lines = [json.dumps({"instruction": f"Say {n}", "input": "", "output": f"{n}"}) for n in range(TEXTS)]
    lines[20] = "{"
    (folder / "data" / "text.jsonl").write_text("\n".join(lines))
    settings = (
        SourceSettings("tsv", str(folder / "data" / "captions.tsv")),
        SourceSettings("alpaca", str(folder / "data" / "text.jsonl")),
    )
    values = {
        "views": 2,
        "shard_rows": 10,
        "batch_size": 8,
        "device": "cpu",
        "index_folder": str(folder / "index"),
    }
    return Job(settings, write_encoder(folder / "encoder"), **{**values, **changes})


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder but the lock."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != ".lock"}
