"""Small data sets of every kind, of which exactly 1 % is broken, each broken sample in another way."""

import csv
import io
import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from imagebind_llm.data.sources import SourceSettings

ROWS = 500
BAD = 5
PLACES = [3, 77, 180, 333, 499]
"""Rows that are broken."""


def png(seed: int = 0, size=(9, 7)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def pictures(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(10):
        (folder / f"{number}.png").write_bytes(png(number))
    (folder / "cut.png").write_bytes(png()[:70])
    (folder / "text.png").write_bytes(b"no picture at all")
    return folder


def caption(row: int) -> str:
    return f"picture number {row}, 图 {row}"


def write_tsv(folder: Path) -> SourceSettings:
    pictures(folder)
    rows = [f"{row % 10}.png\t{caption(row)}".encode() for row in range(ROWS)]
    rows[PLACES[0]] = b"missing.png\ta caption"
    rows[PLACES[1]] = b"1.png\t  "
    rows[PLACES[2]] = b"1.png"
    rows[PLACES[3]] = b"1.png\tcaf\xe9"
    rows[PLACES[4]] = b"cut.png\ta caption"
    (folder / "captions.tsv").write_bytes(b"url\tcaption\n" + b"\n".join(rows) + b"\n")
    return SourceSettings("tsv", str(folder / "captions.tsv"))


def write_csv(folder: Path) -> SourceSettings:
    pictures(folder)
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    broken = {
        PLACES[0]: "missing.png,a caption\n",
        PLACES[1]: '1.png,""\n',
        PLACES[2]: "1.png,a,b\n",
        PLACES[3]: '1.png,"never closed\n',
        PLACES[4]: "text.png,a caption\n",
    }
    for row in range(ROWS):
        if row in broken:
            file.write(broken[row])
        else:
            text = f'he said "{caption(row)}",\nand left' if row % 7 == 0 else caption(row)
            table.writerow([f"{row % 10}.png", text])
    content = "file,words\n" + file.getvalue()
    (folder / "table.csv").write_text(content, encoding="utf-8")
    columns = {"image": "file", "caption": "words"}
    return SourceSettings("csv", str(folder / "table.csv"), columns=columns)


def conversation(row: int) -> dict:
    turns = [
        {"from": "human", "value": "<image>\nWhat is this?"},
        {"from": "gpt", "value": caption(row)},
        {"from": "human", "value": "Are you sure?"},
        {"from": "gpt", "value": "Yes."},
    ]
    if row % 5 == 0:  # text only
        return {"id": str(row), "conversations": [{**turns[0], "value": "Hello"}, *turns[1:]]}
    return {"id": str(row), "image": f"{row % 10}.png", "conversations": turns}


def write_llava(folder: Path) -> SourceSettings:
    pictures(folder / "images")
    items: list = [conversation(row) for row in range(ROWS)]
    items[PLACES[0]] = {**conversation(1), "image": "missing.png"}
    items[PLACES[1]] = {"id": "no turns"}
    items[PLACES[2]] = {**conversation(0), "conversations": conversation(1)["conversations"]}
    items[PLACES[3]] = {**conversation(1), "conversations": [{"from": "robot", "value": "?"}]}
    items[PLACES[4]] = "not an object"
    (folder / "llava.json").write_text(json.dumps(items, ensure_ascii=False, indent=1), encoding="utf-8")
    return SourceSettings("llava", str(folder / "llava.json"), root=str(folder / "images"))


def write_llava_lines(folder: Path) -> SourceSettings:
    pictures(folder)
    lines = [json.dumps(conversation(row), ensure_ascii=False).encode() for row in range(ROWS)]
    for number, place in enumerate(PLACES):
        lines[place] = lines[place][: 20 + number]  # cut short
    (folder / "dialogs.jsonl").write_bytes(b"\n".join(lines))
    return SourceSettings("llava", str(folder / "dialogs.jsonl"))


def write_alpaca(folder: Path) -> SourceSettings:
    folder.mkdir(parents=True, exist_ok=True)
    items: list = [
        {"instruction": f"Say {row}.", "input": "twice" if row % 2 else "", "output": f"{row}"}
        for row in range(ROWS)
    ]
    items[PLACES[0]] = {"instruction": "Say it.", "input": "", "output": ""}
    items[PLACES[1]] = {"input": "", "output": "x"}
    items[PLACES[2]] = {"instruction": 3, "input": "", "output": "x"}
    items[PLACES[3]] = {"instruction": "Say", "input": ["list"], "output": "x"}
    items[PLACES[4]] = {"instruction": "Say", "input": "", "output": "half \ud83d"}
    (folder / "alpaca.json").write_text(json.dumps(items))
    return SourceSettings("alpaca", str(folder / "alpaca.json"))


def write_tars(folder: Path) -> SourceSettings:
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(5):
        with tarfile.open(folder / f"{shard:05}.tar", "w") as tar:
            for row in range(shard * 100, shard * 100 + 100):
                facts = {"caption": caption(row), "url": "http://example.com", "status": "success"}
                members = {
                    "jpg": png(row % 10),
                    "txt": caption(row).encode(),
                    "json": json.dumps(facts).encode(),
                }
                if row == PLACES[0]:
                    del members["jpg"]
                elif row == PLACES[1]:
                    members["jpg"] = members["jpg"][:60]
                elif row == PLACES[2]:
                    members["txt"] = b" "
                elif row == PLACES[3]:
                    del members["txt"], members["json"]
                elif row == PLACES[4]:
                    members["txt"] = b"\xff\xfe"
                elif row % 3 == 0:
                    del members["txt"]  # the caption of the JSON member
                for suffix, data in members.items():
                    member = tarfile.TarInfo(f"{row:09}.{suffix}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    return SourceSettings("webdataset", str(folder / "*.tar"))


def cells() -> tuple[list, list]:
    images: list = [{"bytes": png(row % 10), "path": None} for row in range(ROWS)]
    captions: list = [caption(row) for row in range(ROWS)]
    images[PLACES[0]] = None
    captions[PLACES[1]] = None
    captions[PLACES[2]] = "\n"
    images[PLACES[3]] = {"bytes": b"not a picture", "path": None}
    images[PLACES[4]] = {"bytes": png()[:50], "path": None}
    return images, captions


def write_parquet(folder: Path) -> SourceSettings:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    images, captions = cells()
    for part in range(2):
        rows = slice(part * 250, part * 250 + 250)
        table = pa.table({"image": images[rows], "caption": captions[rows], "other": [part] * 250})
        pq.write_table(table, folder / f"part-{part}.parquet", row_group_size=100)
    return SourceSettings("parquet", str(folder))


def write_dataset(folder: Path, streaming: bool = False) -> SourceSettings:
    import datasets

    images, captions = cells()
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    data = datasets.Dataset.from_dict({"image": images, "text": captions}, features=features)
    data.save_to_disk(str(folder))
    return SourceSettings("datasets", str(folder), columns={"caption": "text"}, streaming=streaming)


def write_stream(folder: Path) -> SourceSettings:
    return write_dataset(folder, streaming=True)


def write_folder(folder: Path) -> SourceSettings:
    (folder / "deep").mkdir(parents=True)
    for row in range(ROWS):
        stem = folder / "deep" / f"{row:04}"
        data = png(row % 10)
        text: bytes | None = caption(row).encode()
        if row == PLACES[0]:
            data = data[:60]
        elif row == PLACES[1]:
            text = None
        elif row == PLACES[2]:
            text = b""
        elif row == PLACES[3]:
            text = b"\xff"
        elif row == PLACES[4]:
            text = None
            stem.with_suffix(".json").write_text('{"no": "caption"}')
        elif row % 2:
            stem.with_suffix(".json").write_text(json.dumps({"caption": caption(row)}))
            text = None
        stem.with_suffix(".png").write_bytes(data)
        if text is not None:
            stem.with_suffix(".txt").write_bytes(text)
    return SourceSettings("folder", str(folder))


def write_folder_lines(folder: Path) -> SourceSettings:
    pictures(folder)
    lines = [json.dumps({"file_name": f"{row % 10}.png", "text": caption(row)}) for row in range(ROWS)]
    lines[PLACES[0]] = '{"file_name": "missing.png", "text": "a"}'
    lines[PLACES[1]] = '{"file_name": "1.png"}'
    lines[PLACES[2]] = "[]"
    lines[PLACES[3]] = '{"file_name": "https://example.com/a.png", "text": "a"}'
    lines[PLACES[4]] = "{"
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n\n")
    return SourceSettings("folder", str(folder))


def write_folder_table(folder: Path) -> SourceSettings:
    write_tsv(folder)
    return SourceSettings("folder", str(folder))


WRITERS = {
    "tsv": write_tsv,
    "csv": write_csv,
    "llava": write_llava,
    "llava-lines": write_llava_lines,
    "alpaca": write_alpaca,
    "webdataset": write_tars,
    "parquet": write_parquet,
    "datasets": write_dataset,
    "datasets-stream": write_stream,
    "folder": write_folder,
    "folder-lines": write_folder_lines,
    "folder-table": write_folder_table,
}
