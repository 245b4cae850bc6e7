"""Tar files of samples as img2dataset writes them: ``000000012.jpg``, ``.txt`` and ``.json`` side by side.

The members of all files are looked through once; the index is an Arrow file that is mapped into memory. After
that any sample is read with a few system calls. Members that share a name up to its first dot are one sample;
they stand next to each other, as in every WebDataset.
"""

import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import BadSample, TrainingDataError
from imagebind_llm.common.files import atomic_write
from imagebind_llm.common.text_files import NotUtf8, decode_text
from imagebind_llm.common.walk import is_visible
from imagebind_llm.data.sources.base import (
    Record,
    SourceSettings,
    files_digest,
    index_path,
    list_files,
    names_of,
)
from imagebind_llm.data.sources.captions import caption_record

PICTURES = frozenset({"jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff"})

_PACKED = {".gz": b"\x1f\x8b", ".bz2": b"BZh", ".xz": b"\xfd7zXZ", ".zst": b"\x28\xb5\x2f\xfd"}
"""How compressed files begin."""

_ROWS = 16384
"""Samples in a batch of the index."""
_LONGEST_TEXT = 16 * 1024 * 1024
_MEMBERS = ("picture", "txt", "json")
_KINDS = {**dict.fromkeys(PICTURES, "picture"), "caption": "txt"}


class TarSource:
    """A :class:`~imagebind_llm.data.sources.base.Source` of tar files."""

    def __init__(self, settings: SourceSettings, files: list[Path], index_folder: Path | None) -> None:
        import pyarrow as pa

        self.name = settings.label
        self._settings = settings
        self._files = files
        self._handles: dict[int, int] = {}
        index = index_path(index_folder, files, "tar-2", ".arrow")
        if not index.exists():
            _write_index(index, files)
        self._index = pa.ipc.open_file(pa.memory_map(str(index)))
        count = self._index.num_record_batches
        self._length = (count - 1) * _ROWS + self._index.get_batch(count - 1).num_rows if count else 0
        if not self._length:
            raise TrainingDataError(f"{settings.path!r}: {len(files)} tar files without members")
        self.fingerprint = files_digest(files)

    def __len__(self) -> int:
        return self._length

    def read(self, index: int) -> Record:
        """See :class:`~imagebind_llm.data.sources.base.Source`."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        row = self._index.get_batch(index // _ROWS).slice(index % _ROWS, 1).to_pylist()[0]
        key = row["key"]
        if row["reason"] is not None:
            raise BadSample(key, row["reason"])
        if row["picture_at"] is None:
            raise BadSample(key, "no picture among its members")
        caption = self._caption(key, row)
        picture = self._bytes(key, row, "picture")
        return caption_record(key, self.name, picture, caption, self._settings.instruction)

    def _caption(self, key: str, row: dict[str, Any]) -> Any:
        """The ``.txt`` member, or the field of the ``.json`` member that ``columns.caption`` names."""
        field = self._settings.columns.get("caption")
        if field is None and row["txt_at"] is not None:
            data = self._bytes(key, row, "txt")
        elif row["json_at"] is not None:
            data = self._bytes(key, row, "json")
        else:
            raise BadSample(key, "no caption among its members")
        try:
            text = decode_text(data)
            if field is None and row["txt_at"] is not None:
                return text
            return json.loads(text)[field or "caption"]
        except NotUtf8 as error:
            raise BadSample(key, f"its caption {error}") from None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadSample(key, f"the .json member gives no caption ({error})") from None

    def _bytes(self, key: str, row: dict[str, Any], member: str) -> bytes:
        size = row[f"{member}_size"]
        if member != "picture" and size > _LONGEST_TEXT:
            raise BadSample(key, f"a .{member} member of {size} bytes; expected at most {_LONGEST_TEXT}")
        data = os.pread(self._handle(row["file"]), size, row[f"{member}_at"])
        if len(data) < size:
            raise BadSample(key, f"the tar file ends within its {member}")
        return data

    def _handle(self, file: int) -> int:
        if file not in self._handles:
            while len(self._handles) >= 64:
                os.close(self._handles.pop(next(iter(self._handles))))
            self._handles[file] = os.open(self._files[file], os.O_RDONLY)
        return self._handles[file]

    def __del__(self) -> None:
        for handle in getattr(self, "_handles", {}).values():
            os.close(handle)


def open_source(settings: SourceSettings, index_folder: Path | None) -> TarSource:
    """See :func:`imagebind_llm.data.sources.open_source`."""
    files = list_files(settings.path, (".tar", *(f".tar{end}" for end in _PACKED), ".tgz", ".tbz2"))
    for path in files:
        with path.open("rb") as file:
            head = file.read(8)
        if head.startswith(tuple(_PACKED.values())):
            raise TrainingDataError(
                f"{str(path)!r} is compressed, so no sample in it can be found alone; unpack it to a plain "
                ".tar first (pictures hardly get smaller)"
            )
    return TarSource(settings, files, index_folder)


def _write_index(index: Path, files: list[Path]) -> None:
    import pyarrow as pa
    from tqdm import tqdm

    numbers = [(f"{member}_{what}", pa.int64()) for member in _MEMBERS for what in ("at", "size")]
    schema = pa.schema([("file", pa.int32()), ("key", pa.string()), *numbers, ("reason", pa.string())])
    with (
        atomic_write(index) as temporary,
        pa.OSFile(str(temporary), "wb") as out,
        pa.ipc.new_file(out, schema) as writer,
    ):
        rows: list[dict[str, Any]] = []
        names = names_of(files)
        for number, path in enumerate(tqdm(files, unit="tar", desc="index", disable=len(files) < 50)):
            for row in _samples(path, names[number]):
                rows.append({"file": number, **row})
                if len(rows) == _ROWS:
                    writer.write_batch(pa.RecordBatch.from_pylist(rows, schema))
                    rows = []
        if rows:
            writer.write_batch(pa.RecordBatch.from_pylist(rows, schema))


def _samples(path: Path, name: str) -> Iterator[dict[str, Any]]:
    """The samples of one file, and where it is damaged one that says so: what follows cannot be found."""
    row: dict[str, Any] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined] # tarfile would keep every header it has seen
                if not member.isfile():
                    continue
                folder, slash, base = member.name.rpartition("/")
                stem, _, suffix = base.partition(".")
                if not all(part == "." or is_visible(part) for part in member.name.split("/")):
                    continue
                key = f"{name}/{folder}{slash}{stem}"
                if row and row["key"] != key:
                    yield row
                    row = {}
                row["key"] = key
                kind = _KINDS.get(suffix.lower(), suffix.lower())
                if f"{kind}_at" in row:
                    row["reason"] = f"two members of one kind ({suffix}), so it is not clear which belong"
                if kind in _MEMBERS:
                    row[f"{kind}_at"], row[f"{kind}_size"] = member.offset_data, member.size
    except tarfile.TarError as error:
        if row:
            yield row
        reason = f"the tar file is damaged here, what follows is lost ({error})"
        yield {"key": f"{name}/(damaged)", "reason": reason}
        return
    if row:
        yield row
