"""What people see of a cached vector: a caption and a thumbnail, in one Parquet file read piece by piece."""

import io
import shutil
import tempfile
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path
from threading import Lock
from typing import Any

from PIL import Image, UnidentifiedImageError

from imagebind_llm.common.errors import CacheError, reason_of

Thumbnail = Image.Image | bytes | None
"""A picture (shrunk and stored as JPEG) or the bytes of a JPEG or PNG file (stored as they are)."""

THUMBNAIL_SIDE = 128
"""Longest side of a stored thumbnail, pixels: about 4 kB each."""

_GROUP_ROWS = 512
"""Rows read at once to show one entry: about 2 MB of thumbnails."""

_KEPT_GROUPS = 8
_MAX_PIXELS = 16_000_000
_END = object()


@dataclass(frozen=True)
class CacheEntry:
    """One cached picture: ``caption`` and ``thumbnail`` (RGB), each ``None`` when not stored."""

    caption: str | None
    thumbnail: Image.Image | None


def encode_thumbnail(picture: Thumbnail, side: int = THUMBNAIL_SIDE) -> bytes | None:
    """JPEG bytes of a picture, its longer side at most ``side`` pixels; bytes and ``None`` pass unchanged."""
    if picture is None or isinstance(picture, bytes):
        return picture
    small = picture.convert("RGB")
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


class EntryTable:
    """Entries in a Parquet file with the columns ``caption`` and ``thumbnail``; row ``i`` belongs to vector
    ``i``.

    Only the group of rows around an entry is read. Safe to use from several threads.
    """

    def __init__(self, path: Path, spool: Any = None) -> None:
        """Open ``path``; ``spool`` is kept alive as long as this table (it may own the file)."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.path = path
        self._spool = spool
        try:
            self._file = pq.ParquetFile(path, page_checksum_verification=True)
        except (OSError, pa.ArrowException) as error:
            raise CacheError(
                f"{str(path)!r} is missing or not a Parquet file; copy the cache again"
            ) from error
        names = self._file.schema_arrow.names
        if names != ["caption", "thumbnail"]:
            raise CacheError(f"{str(path)!r} has columns {names}, expected ['caption', 'thumbnail']")
        sizes = [self._file.metadata.row_group(i).num_rows for i in range(self._file.num_row_groups)]
        self._ends = list(accumulate(sizes))
        self._groups: OrderedDict[int, Any] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, number: int) -> CacheEntry:
        """Entry of row ``number`` (``0 … len-1``); CacheError when its thumbnail is damaged."""
        group = bisect_right(self._ends, number)
        table = self._group(group)
        row = number - (self._ends[group - 1] if group else 0)
        with self._readable():
            caption, data = table["caption"][row].as_py(), table["thumbnail"][row].as_py()
        return CacheEntry(caption, None if data is None else _decode(data, number))

    def rows(self) -> Iterator[tuple[str | None, bytes | None]]:
        """All rows in order as stored."""
        batches = self._file.iter_batches(batch_size=_GROUP_ROWS)
        while True:
            with self._readable():
                batch = next(batches, None)
                if batch is None:
                    return
                captions, thumbnails = batch["caption"].to_pylist(), batch["thumbnail"].to_pylist()
            yield from zip(captions, thumbnails, strict=True)

    def copy_to(self, path: Path) -> None:
        """Copy the file."""
        shutil.copyfile(self.path, path)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Turn what Arrow makes of damaged pages, and of captions that are no text, into a CacheError."""
        import pyarrow as pa

        try:
            yield
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            raise CacheError(f"{str(self.path)!r} is damaged; copy the cache again") from error

    def _group(self, group: int) -> Any:
        with self._lock:
            if group not in self._groups:
                with self._readable():
                    self._groups[group] = self._file.read_row_group(group)
                while len(self._groups) > _KEPT_GROUPS:
                    self._groups.popitem(last=False)
            self._groups.move_to_end(group)
            return self._groups[group]


class EntryWriter:
    """Takes captions and thumbnails in step with the vectors they belong to, and makes an
    :class:`EntryTable`.

    Rows go straight to a temporary Parquet file, so memory stays bounded.
    """

    def __init__(self, captions: Iterable[str | None] | None, thumbnails: Iterable[Thumbnail] | None) -> None:
        self._captions = None if captions is None else iter(captions)
        self._thumbnails = None if thumbnails is None else iter(thumbnails)
        self._rows: list[tuple[str | None, bytes | None]] = []
        self._spool = tempfile.TemporaryDirectory(prefix="imagebind-llm-entries-")
        self._path = Path(self._spool.name) / "entries.parquet"
        self._file: Any = None
        self._taken = 0

    def copy(self, rows: Iterable[tuple[str | None, bytes | None]]) -> None:
        """Put rows that are already encoded in front."""
        for row in rows:
            self._put(row)

    def take(self, count: int) -> None:
        """Move the next ``count`` captions and thumbnails over; CacheError when there are fewer."""
        captions = self._next(self._captions, count, "captions")
        thumbnails = self._next(self._thumbnails, count, "thumbnails")
        self._taken += count
        for caption, picture in zip(captions, thumbnails, strict=True):
            if caption is not None and not isinstance(caption, str):
                raise CacheError(f"a caption must be text or None, found {type(caption).__name__}")
            if picture is not None and not isinstance(picture, bytes | Image.Image):
                raise CacheError(
                    "a thumbnail must be a PIL image, JPEG or PNG bytes, or None, "
                    f"found {type(picture).__name__}"
                )
            self._put((caption, encode_thumbnail(picture)))

    def finish(self) -> EntryTable:
        """Close the file; CacheError when captions or thumbnails are left over."""
        for name, items in (("captions", self._captions), ("thumbnails", self._thumbnails)):
            if items is not None and next(items, _END) is not _END:
                raise CacheError(
                    f"{self._taken} vectors, but more than {self._taken} {name}; give one for each vector"
                )
        self._flush()
        self._file.close()
        return EntryTable(self._path, self._spool)

    def _next(self, items: Iterator[Any] | None, count: int, name: str) -> list[Any]:
        if items is None:
            return [None] * count
        taken = list(islice(items, count))
        if len(taken) < count:
            raise CacheError(
                f"at least {self._taken + count} vectors, but only {self._taken + len(taken)} {name}; "
                "give one for each vector (None where there is none)"
            )
        return taken

    def _put(self, row: tuple[str | None, bytes | None]) -> None:
        self._rows.append(row)
        if len(self._rows) >= _GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.schema([("caption", pa.string()), ("thumbnail", pa.binary())])
        if self._file is None:
            self._file = pq.ParquetWriter(self._path, schema, write_page_checksum=True)
        if self._rows:
            captions, thumbnails = zip(*self._rows, strict=True)
            self._file.write_table(
                pa.table([pa.array(captions, pa.string()), pa.array(thumbnails, pa.binary())], schema=schema)
            )
            self._rows = []


@contextmanager
def checked_picture(what: str) -> Iterator[None]:
    """Turn every way in which Pillow refuses bytes into a CacheError about ``what``."""
    try:
        yield
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        reason = reason_of(error)
        raise CacheError(f"{what} is not a readable picture ({reason})") from error


def open_picture(source: Path | io.BytesIO, what: str, max_pixels: int = _MAX_PIXELS) -> Image.Image:
    """Read a picture as RGB after checking its size; CacheError about ``what`` when that fails."""
    with checked_picture(what), Image.open(source) as picture:
        width, height = picture.size
        if width * height > max_pixels:
            raise CacheError(
                f"{what} has {width} x {height} = {width * height} pixels, the limit is {max_pixels}"
            )
        return picture.convert("RGB")


def _decode(data: bytes, number: int) -> Image.Image:
    return open_picture(io.BytesIO(data), f"the thumbnail of row {number}")
