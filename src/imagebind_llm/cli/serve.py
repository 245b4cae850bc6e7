"""``imagebind-llm serve``: the web page and the API."""

import logging
import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from imagebind_llm.cli import options as shared
from imagebind_llm.common.errors import UserError, require

app = typer.Typer()

_EXAMPLES = """
\b
Examples:
  imagebind-llm serve
  imagebind-llm serve --model my-model --port 9000
  imagebind-llm serve keys new alice
  imagebind-llm serve --host 0.0.0.0 --keys keys.json
  imagebind-llm serve --engine vllm --vllm-python .venv-vllm/bin/python
  imagebind-llm serve --ray local --fronts 1 --writers 2

\b
The page is at http://127.0.0.1:8000/, the API at /v1, described by /openapi.json.
OpenAI's clients work unchanged:
  OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="none").chat.completions.create(…)
"""

KeysOption = Annotated[
    Path | None, typer.Option("--keys", metavar="FILE", help="API keys, as 'serve keys new' makes them.")
]


@app.callback(invoke_without_command=True, epilog=_EXAMPLES, short_help="Serve a web page and an API.")
def serve(
    context: typer.Context,
    model: shared.ModelOption = "nano",
    host: Annotated[str, typer.Option("--host", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")] = 8000,
    device: shared.DeviceOption = "auto",
    dtype: shared.DtypeOption = "auto",
    quantize: shared.QuantizeOption = None,
    encoder_device: shared.EncoderDeviceOption = None,
    device_map: shared.DeviceMapOption = None,
    max_memory: shared.MemoryOption = None,
    offload_dir: shared.OffloadOption = None,
    cache_dir: shared.CacheFolderOption = None,
    name: Annotated[
        str | None, typer.Option("--name", help="What the API calls the model. Default: its folder's name.")
    ] = None,
    batch_size: shared.BatchSizeOption = 32,
    max_queue: Annotated[
        int, typer.Option("--max-queue", min=0, help="Requests that may wait; more get 429.")
    ] = 256,
    max_tokens: Annotated[
        int,
        typer.Option("--max-tokens", min=64, help="Entries of key-value memory for running answers."),
    ] = 65_536,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, help="Seconds from a request to its last token.")
    ] = 120.0,
    max_body: Annotated[
        int, typer.Option("--max-body", min=1, metavar="MIB", help="Largest body of a request.")
    ] = 48,
    engine: Annotated[
        str, typer.Option("--engine", metavar="local|vllm", help="What writes the tokens.")
    ] = "local",
    vllm_python: Annotated[
        str | None,
        typer.Option("--vllm-python", metavar="PATH", help="Python of an environment with vLLM."),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option("--ray", metavar="local|auto|ADDRESS", help="Serve on this Ray cluster."),
    ] = None,
    fronts: Annotated[int, typer.Option("--fronts", min=1, help="With --ray: who perceive.")] = 1,
    writers: Annotated[int, typer.Option("--writers", min=1, help="With --ray: who write.")] = 1,
    generator: Annotated[
        list[str] | None,
        typer.Option(
            "--generator", metavar="NAME[=WEIGHTS]|DIR", help="What makes pictures, sounds and shapes."
        ),
    ] = None,
    detector: Annotated[
        str, typer.Option("--detector", metavar="nano|DIR|HUB_ID", help="What proposes boxes.")
    ] = "nano",
    keys: KeysOption = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let other machines in without a key.")
    ] = False,
    rate_limit: Annotated[
        float | None, typer.Option("--rate-limit", metavar="N", help="Requests a minute for each key.")
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option("--allow-origin", metavar="URL", help="Another site whose pages may use the API."),
    ] = None,
    allow_url: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-url", metavar="HOST", help="Read media from this host's addresses, *.example.org too."
        ),
    ] = None,
) -> None:
    """Serve a model: a web page for people, OpenAI's API for programs."""
    if context.invoked_subcommand is not None:
        return
    # other threads want the cores too, so torch's must not wait busily; read when torch is loaded
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    require("fastapi", "serve", "serving")
    require("uvicorn", "serve", "serving")
    from imagebind_llm.serving.guard import check_binding
    from imagebind_llm.serving.keys import KeyRing

    ring = KeyRing(keys)
    check_binding(host, ring, insecure)
    _check_engine(engine, vllm_python, ray)
    _check_skills(generator or [], detector)
    placing = shared.placing(quantize, encoder_device, device_map, max_memory, offload_dir)
    from imagebind_llm.serving.settings import MEBIBYTE, ServeSettings

    settings = ServeSettings(
        model_name=name or Path(model).name or "model",
        max_rows=batch_size,
        max_queue=max_queue,
        timeout=timeout,
        max_tokens=max_tokens,
        max_body=max_body * MEBIBYTE,
        generators=tuple(generator or ()),
        detector=detector,
    )
    if ray is not None:
        from imagebind_llm.serving import cluster

        loading = {"device": device, "dtype": dtype, **placing} | ({"cache": cache_dir} if cache_dir else {})
        cluster.run(
            cluster.ClusterSettings(
                model, loading, settings, fronts, writers, keys=keys, host=host, insecure=insecure,
                origins=allow_origin or (), rate_limit=rate_limit, remote_hosts=allow_url or (),
            ),
            ray, port,
        )  # fmt: skip
        return
    listening = _listen(host, port)
    bot = shared.open_assistant(model, device, dtype, cache_dir, batch_size=batch_size, **placing)
    backend = None
    if engine == "vllm":
        from imagebind_llm.serving.vllm.backend import VllmBackend

        assert vllm_python is not None, "it was looked at"
        backend = VllmBackend(bot.model, vllm_python, forget=True)
    from imagebind_llm.serving.launch import make_server, run

    _log_to_stderr()
    where = listening.getsockname()
    shown = f"[{where[0]}]" if ":" in where[0] else where[0].replace("0.0.0.0", "127.0.0.1")
    typer.echo(f"{settings.model_name} is at http://{shown}:{where[1]}/ and its API at /v1; Ctrl-C stops it")
    server = make_server(bot, settings, backend, allow_url or ())
    run(server, ring, listening, host=host, origins=allow_origin or (), rate_limit=rate_limit)


def _check_engine(engine: str, vllm_python: str | None, ray: str | None) -> None:
    """Refuse what does not go together, before anything is loaded."""
    if engine not in ("local", "vllm"):
        raise UserError(f"--engine is {engine!r}; use local or vllm")
    if engine == "vllm" and vllm_python is None:
        raise UserError("--engine vllm needs --vllm-python, the Python of an environment with vLLM")
    if engine == "local" and vllm_python is not None:
        raise UserError("--vllm-python is for --engine vllm; add that, or leave it out")
    if engine == "vllm" and ray is not None:
        raise UserError("--ray has engines of its own; leave out --engine vllm")


def _check_skills(generators: list[str], detector: str) -> None:
    """Refuse what is not there, before anything is loaded."""
    from imagebind_llm.skills.detection.proposers import check_proposer
    from imagebind_llm.skills.generation.opened import Generators

    check_proposer(detector)
    if generators:
        Generators(generators)


def _listen(host: str, port: int) -> socket.socket:
    """The socket, before a model is loaded for nothing.

    Raises:
        UserError: the address is taken, or not of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise UserError(
            f"cannot listen at {host}:{port} ({error.strerror or error}); another program may be there: "
            "choose another --port, or 0 for any"
        ) from None
    return listening


def _log_to_stderr() -> None:
    """Our own words and uvicorn's warnings; no request is ever written down."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")


_KEYS_EXAMPLES = """
\b
Examples:
  imagebind-llm serve keys new alice --file keys.json
  imagebind-llm serve keys list --file keys.json
  imagebind-llm serve keys remove alice --file keys.json
"""
keys_app = typer.Typer(
    no_args_is_help=True, help="API keys: only their hashes are kept.", epilog=_KEYS_EXAMPLES
)
app.add_typer(keys_app, name="keys")
_FileOption = Annotated[Path, typer.Option("--file", metavar="FILE", help="The file of keys.")]
_KEYS = Path("keys.json")


@keys_app.command("new", epilog=_KEYS_EXAMPLES)
def new_key(name: Annotated[str, typer.Argument(help="Whose key.")], file: _FileOption = _KEYS) -> None:
    """Make a key and print it, once."""
    from imagebind_llm.serving import keys

    typer.echo(keys.new_key(file, name))
    typer.echo(f"note: it is not kept; serve with --keys {file}", err=True)


@keys_app.command("list", epilog=_KEYS_EXAMPLES)
def list_keys(file: _FileOption = _KEYS) -> None:
    """Names and dates of the keys."""
    from imagebind_llm.serving import keys

    for name, created in keys.names(file).items():
        typer.echo(f"{name}\t{created}")


@keys_app.command("remove", epilog=_KEYS_EXAMPLES)
def remove_key(name: Annotated[str, typer.Argument(help="Whose key.")], file: _FileOption = _KEYS) -> None:
    """Remove a key; a running server notices."""
    from imagebind_llm.serving import keys

    keys.remove(file, name)
