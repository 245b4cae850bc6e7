"""``imagebind-llm cache``: make, look at and search a visual cache."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from imagebind_llm.cli import options as shared
from imagebind_llm.common.errors import UserError
from imagebind_llm.common.settings import MOST_AT_ONCE
from imagebind_llm.common.text_files import NotUtf8, read_text

if TYPE_CHECKING:
    from PIL.Image import Image

app = typer.Typer(
    no_args_is_help=True,
    help="The visual cache: pictures that other modalities are moved towards.",
    short_help="Make, look at or search a visual cache.",
)

_BUILD = """
\b
Examples:
  imagebind-llm cache build photos/ --out my-cache
  imagebind-llm cache build photos/ --out my-cache --captions captions.tsv --kind hnsw_sq8
  imagebind-llm cache build --from-embeddings embedded --out my-cache
  imagebind-llm ask "What do you hear?" --audio dog.wav --cache-dir my-cache

\b
An interrupted build goes on where it stopped when it is started again.
--captions: a file of lines "name <tab> caption", names as below the folder.
--from-embeddings: what "imagebind-llm data embed" wrote; nothing is encoded again, no thumbnails are kept.
"""
_INFO = """
\b
Examples:
  imagebind-llm cache info my-cache
  imagebind-llm cache info my-cache --check

\b
--check reads all of it and compares the SHA-256 of each file with the recorded one. Files up to 256 MB are
compared whenever a cache is opened.
"""
_SEARCH = """
\b
Examples:
  imagebind-llm cache search --audio dog.wav
  imagebind-llm cache search --image a.png@0.7 --text "at night@0.3" --k 20 --out found.png
"""


@app.command(epilog=_BUILD, short_help="Make a cache from a folder of pictures.")
def build(
    out: Annotated[Path, typer.Option("--out", help="Folder of the cache.")],
    images: Annotated[Path | None, typer.Argument(help="Folder of pictures, searched through.")] = None,
    from_embeddings: Annotated[
        Path | None,
        typer.Option("--from-embeddings", metavar="DIR", help="Use embeddings that are there already."),
    ] = None,
    captions: Annotated[
        Path | None, typer.Option("--captions", help="Captions, a tab-separated file.")
    ] = None,
    kind: Annotated[
        str, typer.Option("--kind", help="exact, hnsw_sq8 (a quarter of the memory, fast) or auto.")
    ] = "auto",
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, max=MOST_AT_ONCE, help="Pictures encoded at once.")
    ] = 64,
    model: shared.ModelOption = "nano",
    device: shared.DeviceOption = "auto",
    dtype: shared.DtypeOption = "auto",
    json_: shared.JsonOption = False,
) -> None:
    """Make a cache from a folder of pictures, or from embeddings."""
    if kind not in ("exact", "hnsw_sq8", "auto"):
        raise UserError(f"--kind is {kind!r}; expected exact, hnsw_sq8 or auto")
    shared.check_out(out, folder=True)
    if (images is None) == (from_embeddings is None):
        raise UserError("give either a folder of pictures or --from-embeddings, one of them")
    if images is None:
        if captions is not None:
            raise UserError("--captions is for a folder of pictures; embeddings bring their own")
        assert from_embeddings is not None
        _build_from_embeddings(from_embeddings, out, cast(Literal["exact", "hnsw_sq8", "auto"], kind), json_)
        return
    if not images.is_dir():
        raise UserError(f"there is no folder {str(images)!r}")
    caption = None if captions is None else _captions(captions, images)
    from imagebind_llm.cli.data_embed import absolute
    from imagebind_llm.data.embed.cache import build_cache_from_pictures

    built = build_cache_from_pictures(
        images,
        absolute(model),
        out,
        kind=cast(Literal["exact", "hnsw_sq8", "auto"], kind),
        caption=caption,
        batch_size=batch_size,
        device=device,
        dtype=dtype,
        progress=_on_a_terminal(),
    )
    for path, reason in built.skipped:
        typer.echo(f"left out {path!r}: {reason}", err=True)
    values = {
        "out": str(out),
        "count": built.used,
        "resumed": built.resumed,
        "left_out": len(built.skipped),
        "kind": built.cache.manifest.kind,
        "encoder_fingerprint": built.cache.manifest.encoder_fingerprint,
    }
    if json_:
        shared.print_json(values)
    else:
        typer.echo(f"{built.used} pictures in {out} ({values['kind']})")


def _build_from_embeddings(
    embeddings: Path, out: Path, kind: Literal["exact", "hnsw_sq8", "auto"], as_json: bool
) -> None:
    from tqdm import tqdm

    from imagebind_llm.data.embed.cache import build_cache_from_embeddings

    with tqdm(unit="img", desc="index", disable=not _on_a_terminal()) as bar:
        cache = build_cache_from_embeddings(
            embeddings, out, kind, progress=lambda done: bar.update(done - bar.n)
        )
    manifest = cache.manifest
    values = {
        "out": str(out),
        "count": manifest.count,
        "kind": manifest.kind,
        "encoder_fingerprint": manifest.encoder_fingerprint,
    }
    if as_json:
        shared.print_json(values)
    else:
        typer.echo(f"{manifest.count} pictures in {out} ({manifest.kind})")


@app.command(epilog=_INFO, short_help="What a cache says about itself.")
def info(
    folder: Annotated[Path, typer.Argument(help="Folder of a cache.")],
    check: Annotated[bool, typer.Option("--check", help="Read it all and compare the checksums.")] = False,
    json_: shared.JsonOption = False,
) -> None:
    """What a cache says about itself: size, kind, encoder, how it was built."""
    from imagebind_llm.cache.folder import CacheManifest, check_all

    values: dict[str, Any] = CacheManifest.read(folder).to_dict()
    if check:
        values["checked"] = check_all(folder)
    values["bytes_on_disk"] = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    if json_:
        shared.print_json(values)
        return
    for key, value in values.items():
        typer.echo(f"{key}: {json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value}")


@app.command(epilog=_SEARCH, short_help="The pictures nearest to media.")
def search(
    image: shared.ImageOption = None,
    video: shared.VideoOption = None,
    audio: shared.AudioOption = None,
    text: shared.TextOption = None,
    point: shared.PointOption = None,
    depth: shared.DepthOption = None,
    thermal: shared.ThermalOption = None,
    imu: shared.ImuOption = None,
    sensor: shared.SensorOption = None,
    k: Annotated[int, typer.Option("--k", min=1, help="Number of pictures.")] = 10,
    temperature: shared.CacheTemperatureOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Also draw the pictures into this PNG file.")
    ] = None,
    cache_dir: shared.CacheFolderOption = None,
    model: shared.ModelOption = "nano",
    device: shared.DeviceOption = "auto",
    dtype: shared.DtypeOption = "auto",
    json_: shared.JsonOption = False,
) -> None:
    """The pictures nearest to a medium or a mixture, and their shares in the blend."""
    if out is not None:
        shared.check_out(out)
        if out.suffix.lower() != ".png":
            raise UserError(f"--out {str(out)!r} ends in {out.suffix!r}; expected .png")
    shared.know_sensors(model)
    media = shared.read_media(
        image=image, video=video, audio=audio, text=text, point=point, depth=depth, thermal=thermal, imu=imu
    )
    media |= shared.read_sensors(sensor, media)
    if not media:
        raise UserError("nothing to search for; give for example --audio dog.wav")
    shared.check_files(media)
    bot = shared.open_assistant(model, device, dtype, cache_dir)
    found = bot.retrieve(k, temperature, **media)
    if out is not None:
        from imagebind_llm.cache import contact_sheet
        from imagebind_llm.common.files import atomic_write

        sheet = contact_sheet([_picture(media) or _label(media)], [found])
        if all(hit.thumbnail is None for hit in found):
            typer.echo(
                "note: this cache keeps no thumbnails; captions (or row numbers) are drawn instead",
                err=True,
            )
        with atomic_write(out) as temporary:
            sheet.save(temporary, format="PNG")
    if json_:
        rows = [
            {
                "rank": hit.rank,
                "index": hit.index,
                "similarity": round(hit.similarity, 6),
                "share": round(hit.share, 6),
                "caption": hit.caption,
            }
            for hit in found
        ]
        shared.print_json(rows)
        return
    for hit in found:
        name = hit.caption if hit.caption is not None else f"row {hit.index}"
        typer.echo(f"{hit.rank:4}.  cosine {hit.similarity:.3f}  share {hit.share:4.0%}  {name}")


def _picture(media: dict[str, list[tuple[str, float]]]) -> "Image | None":
    """What was searched for, if it is one image and nothing else."""
    if list(media) != ["image"] or len(media["image"]) != 1:
        return None
    from imagebind_llm.cache.entries import open_picture

    return open_picture(Path(media["image"][0][0]), "the query")


def _label(media: dict[str, list[tuple[str, float]]]) -> str:
    parts = []
    for name, values in media.items():
        for source, weight in values:
            short = source if name == "text" else Path(source).name
            parts.append(short if weight == 1.0 else f"{short} x {weight:g}")
    return " + ".join(parts)


def _captions(path: Path, images: Path) -> Callable[[Path], str | None]:
    """Look-up of captions from a file of lines ``name <tab> caption``.

    Raises:
        UserError: a line without a tab, bytes that are not UTF-8, or no name that is below ``images``.
    """
    known: dict[str, str] = {}
    try:
        lines = read_text(path).split("\n")
    except NotUtf8 as error:
        raise UserError(f"{str(path)!r} {error}") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, tab, caption = line.partition("\t")
        if not tab:
            raise UserError(f"{str(path)!r}, line {number} has no tab; expected 'name<tab>caption'")
        known[name] = caption
    if not any((images / name).is_file() for name in known):
        raise UserError(
            f"none of the {len(known)} names in {str(path)!r} is a file below {str(images)!r}; "
            "write them as below that folder, for example cats/one.png"
        )
    return lambda file: known.get(file.relative_to(images).as_posix())


def _on_a_terminal() -> bool:
    import sys

    return sys.stderr.isatty()
