"""``imagebind-llm embed``: files → a table of unit embeddings."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagebind_llm.cli import options as shared
from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.common.walk import visible_files

if TYPE_CHECKING:
    import numpy as np

    from imagebind_llm.model.messages import MediaItem

app = typer.Typer()

_EXAMPLES = """
\b
Examples:
  imagebind-llm embed photos/ sounds/*.wav --out all.parquet
  imagebind-llm embed maps/*.png --modality depth --out maps.npy
  imagebind-llm embed grips/*.npy --modality tactile --model my-model --out grips.npy

\b
.parquet  columns path, modality, embedding; metadata encoder, model
.csv      path, modality, e0, e1, …
.npy      float32 [n, D], rows in the order of the files (and of a folder's sorted names)
Of a text file (.txt, .md, or any with --modality text) the words are embedded, as far as the
encoder reads them (77 tokens in ImageBind).
Files that cannot be read are named on stderr and left out; the exit code is then 2.
"""


@app.command(epilog=_EXAMPLES, short_help="Embed files into the joint space.")
def embed(
    files: Annotated[list[str], typer.Argument(help="Files and folders.")],
    out: Annotated[
        Path, typer.Option("--out", help="A .parquet, .csv or .npy file; only embeddings are replaced.")
    ],
    modality: Annotated[
        str | None, typer.Option("--modality", help="What all files are. Default: guessed from each.")
    ] = None,
    model: shared.ModelOption = "nano",
    device: shared.DeviceOption = "auto",
    dtype: shared.DtypeOption = "auto",
    quantize: shared.QuantizeOption = None,
    encoder_device: shared.EncoderDeviceOption = None,
    device_map: shared.DeviceMapOption = None,
    max_memory: shared.MemoryOption = None,
    offload_dir: shared.OffloadOption = None,
    json_: shared.JsonOption = False,
) -> None:
    """Embed files into the joint space: one unit vector each, comparable across modalities."""
    shared.check_out(out)
    writer = _WRITERS.get(out.suffix.lower())
    if writer is None:
        raise UserError(f"--out {str(out)!r} ends in {out.suffix!r}; expected {', '.join(_WRITERS)}")
    shared.know_sensors(model)
    given = None if modality is None else Modality.parse(modality)
    paths = list(_listed(files))
    _refuse_other_files(out, paths)
    placing = shared.placing(quantize, encoder_device, device_map, max_memory, offload_dir)
    bot = shared.open_assistant(model, device, dtype, **placing)

    from tqdm import tqdm

    from imagebind_llm.common.errors import UnclearMediaError, one_line, reason_of
    from imagebind_llm.common.files import atomic_write, printable_name

    failed: list[tuple[str, str]] = []
    items: list[tuple[str, MediaItem]] = []
    for path in paths:
        try:
            items.append((str(path), _item(path, given)))
        except UnclearMediaError as error:
            failed.append((str(path), f"{error}, for example with --modality depth"))
        except UserError as error:
            failed.append((str(path), str(error)))
    rows, kept = [], []
    with tqdm(total=len(items), unit="file", desc="embed", disable=None) as bar:
        for (name, item), row in zip(items, bot.iter_embed(item for _, item in items), strict=True):
            bar.update()
            if isinstance(row, UserError):
                failed.append((name, str(row)))
            elif isinstance(row, Exception):  # the encoder's, on this one alone
                failed.append((name, f"{type(row).__name__}: {reason_of(row)}"))
            else:
                rows.append(row.numpy())
                kept.append((printable_name(name), item.modality.value))
    for name, reason in failed:
        shown = reason.removeprefix(f"{one_line(name)}: ")  # readers name the file themselves
        typer.echo(f"left out {name!r}: {shown}", err=True)
    if not rows:
        raise UserError(f"none of {len(paths)} files could be embedded; the reasons stand above")

    import numpy as np

    facts = {"encoder": bot.encoder_fingerprint or "", "model": model}
    with atomic_write(out) as temporary:
        writer(temporary, kept, np.stack(rows), facts)
    done = {
        "out": str(out),
        "count": len(rows),
        "dim": int(rows[0].shape[0]),
        "left_out": len(failed),
        **facts,
    }
    if json_:
        shared.print_json(done)
    else:
        typer.echo(f"{done['count']} embeddings of {done['dim']} numbers in {out}")
    if failed:
        typer.echo(f"error: {len(failed)} of {len(paths)} files were left out", err=True)
        raise typer.Exit(2)


def _refuse_other_files(out: Path, inputs: Sequence[Path]) -> None:
    """Replace only what this command wrote.

    Raises:
        UserError: ``out`` is one of the files to embed, or holds no embeddings.
    """
    if not out.exists():
        return
    if any(path.samefile(out) for path in inputs):
        raise UserError(f"--out {str(out)!r} is one of the files to embed; give another name")
    if not _holds_embeddings(out):
        raise UserError(f"--out {str(out)!r} is a file that embed did not write; give another name")


def _holds_embeddings(file: Path) -> bool:
    import numpy as np
    import pyarrow.parquet as pq

    try:
        if file.suffix.lower() == ".csv":
            with open(file, "rb") as opened:
                return opened.read(19) == b"path,modality,e0,e1"
        if file.suffix.lower() == ".parquet":
            return list(pq.read_schema(file).names) == ["path", "modality", "embedding"]
        rows = np.load(file, mmap_mode="r", allow_pickle=False)
        lengths = np.linalg.norm(rows[:1000], axis=-1)
        return rows.ndim == 2 and rows.dtype == np.float32 and bool(np.abs(lengths - 1).max() < 1e-3)
    except Exception:  # damaged, or something else altogether
        return False


def _item(path: Path, given: Modality | None) -> "MediaItem":
    """What to embed of a file: the file, or the words in it.

    Raises:
        UserError: it cannot be read, or could be several things.
    """
    from imagebind_llm.media import Limits, guess_modality
    from imagebind_llm.media.base import read_source
    from imagebind_llm.media.reading import one_medium
    from imagebind_llm.media.text import checked_text
    from imagebind_llm.model.messages import MediaItem

    modality = given or guess_modality(path)
    if modality is not Modality.TEXT:
        return MediaItem(modality, str(path))
    limits = Limits()
    with one_medium(path):
        return MediaItem(modality, checked_text(read_source(path, limits), limits))


def _listed(files: Sequence[str]) -> Iterator[Path]:
    """The files, and those inside folders, hidden ones excepted.

    Raises:
        UserError: one is not there, is no file, or is a remote address.
    """
    for given in files:
        path = Path(shared.path_here(given, "embed"))
        if path.is_dir():
            inside = sorted(visible_files(path))
            if not inside:
                raise UserError(f"the folder {str(path)!r} holds no files")
            yield from inside
        else:
            shared.check_file(str(path), repr(given))
            yield path


def _write_parquet(
    path: Path, items: Sequence[tuple[str, str]], rows: "np.ndarray", facts: dict[str, str]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
    table = pa.table(
        {
            "path": [name for name, _ in items],
            "modality": [modality for _, modality in items],
            "embedding": vectors,
        }
    )
    pq.write_table(table.replace_schema_metadata(facts), path)


def _write_npy(
    path: Path, items: Sequence[tuple[str, str]], rows: "np.ndarray", facts: dict[str, str]
) -> None:
    import numpy as np

    with open(path, "wb") as file:
        np.save(file, rows)


def _write_csv(
    path: Path, items: Sequence[tuple[str, str]], rows: "np.ndarray", facts: dict[str, str]
) -> None:
    import csv

    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["path", "modality", *(f"e{i}" for i in range(rows.shape[1]))])
        for item, row in zip(items, rows, strict=True):
            table.writerow([*item, *(repr(float(value)) for value in row)])


_WRITERS: dict[str, Callable[[Path, Sequence[tuple[str, str]], "np.ndarray", dict[str, str]], None]] = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".npy": _write_npy,
}
