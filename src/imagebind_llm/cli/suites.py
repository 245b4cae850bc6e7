"""The standard command of a suite of items, for suites of ours and of packages that bring one."""

import inspect
import json
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer

from imagebind_llm.cli import options as shared
from imagebind_llm.common.errors import UserError
from imagebind_llm.common.settings import MOST_AT_ONCE
from imagebind_llm.evaluation.suite import Suite

DataOption = Annotated[Path | None, typer.Option("--data", help="Folder (or file) of the suite's data.")]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Folder for answers and results; the same command goes on there.")
]
ItemsOption = Annotated[
    int | None, typer.Option("--items", min=1, help="About how many items, spread evenly. Default: all.")
]
EndpointOption = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="URL",
        help="Ask a served model: http://127.0.0.1:8000/v1. A key is taken from IMAGEBIND_LLM_API_KEY.",
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="nano|DIR|HUB_ID",
        help="Which model. Default: nano; with --endpoint the one that is served there.",
    ),
]
AtOnceOption = Annotated[
    int, typer.Option("--at-once", min=1, max=MOST_AT_ONCE, help="Requests under way, with --endpoint.")
]


def command_of(make: Callable[..., Suite]) -> Callable[..., None]:
    """A function for :class:`~imagebind_llm.evaluation.suite.SuiteKind` that asks a model all items.

    Args:
        make: the suite's class, or another function that returns one. Its own parameters, each with a
            default and annotated ``Annotated[type, "help text"]``, become options.
    """
    own = {} if inspect.isclass(make) else dict(inspect.signature(make, eval_str=True).parameters)

    def measure(
        data: DataOption = None,
        model: ModelOption = None,
        endpoint: EndpointOption = None,
        at_once: AtOnceOption = 16,
        out: OutOption = None,
        items: ItemsOption = None,
        batch_size: shared.BatchSizeOption = 64,
        new_tokens: shared.NewTokensOption = None,
        temperature: shared.TemperatureOption = 0.0,
        seed: shared.SeedOption = None,
        cache: shared.CacheOption = None,
        cache_dir: shared.CacheFolderOption = None,
        device: shared.DeviceOption = "auto",
        dtype: shared.DtypeOption = "auto",
        json_: shared.JsonOption = False,
        **arguments: Any,
    ) -> None:
        if out is not None:
            shared.check_out(out, folder=True)
        data = None if data is None else data.resolve()  # the same data by another way are the same
        suite = make(**arguments)
        options: dict[str, Any] = {"max_new_tokens": new_tokens, "seed": seed, "cache": cache}
        options = {name: value for name, value in options.items() if value is not None}
        options |= {"temperature": temperature} if temperature else {}
        if suite.asks == "embeddings" and (options or cache_dir is not None):
            name = next(iter(options), "cache_dir").replace("_", "-")
            raise UserError(
                f"{suite.name} compares embeddings, for which --{name} means nothing; leave it out"
            )
        every = list(suite.items(data))  # before a model is loaded for it
        engine, about = open_engine(endpoint, at_once, model, device, dtype, cache_dir, batch_size)
        from imagebind_llm.evaluation.folder import write_outcome
        from imagebind_llm.evaluation.provenance import environment
        from imagebind_llm.evaluation.report import markdown
        from imagebind_llm.evaluation.runner import run_suite

        started = time.time()
        try:
            outcome = run_suite(
                suite,
                engine,
                data,
                out=out,
                limit=items,
                batch_size=batch_size,
                about=about,
                options=options,
                arguments={name: value for name, value in arguments.items() if value is not None},
                items=every,
                progress=True,
            )
        except KeyboardInterrupt:
            if out is not None:
                typer.echo(
                    f"\nstopped; what was answered is kept in {out}: the same command goes on", err=True
                )
            raise
        outcome.results["environment"] = environment()
        if out is not None:
            write_outcome(outcome, out, typed_command(), started)
        typer.echo(
            json.dumps(outcome.results, ensure_ascii=False) if json_ else markdown(outcome.results), nl=json_
        )

    standard = inspect.signature(measure, eval_str=True)
    shared_ones = [one for one in standard.parameters.values() if one.kind is not one.VAR_KEYWORD]
    added = [_option(one) for one in own.values()]
    every = [one.replace(kind=one.KEYWORD_ONLY) for one in (*added, *shared_ones)]
    measure.__signature__ = standard.replace(parameters=every)  # type: ignore[attr-defined]
    measure.__annotations__ = {one.name: one.annotation for one in every}
    measure.__doc__ = make.__doc__
    return measure


def open_engine(
    endpoint: str | None,
    at_once: int,
    model: str | None,
    device: str,
    dtype: str,
    cache_dir: str | None,
    batch_size: int,
) -> tuple[Any, dict[str, Any]]:
    """Who answers, and facts about it for the record."""
    if endpoint is not None:
        from imagebind_llm.evaluation.endpoint import Endpoint

        served = Endpoint(endpoint, model, at_once=at_once)
        return served, served.about()
    from imagebind_llm.common.locate import locate_folder
    from imagebind_llm.evaluation.engine import LocalEngine
    from imagebind_llm.evaluation.provenance import model_facts

    folder = locate_folder(model or "nano")
    bot = shared.open_assistant(str(folder), device, dtype, cache_dir, batch_size=batch_size)
    facts = model_facts(bot, Path(model or "nano").name, folder)
    computed = {"dtype": str(bot.model.dtype).removeprefix("torch."), "cache_dir": cache_dir}
    return LocalEngine(bot), {**facts, **computed}


def typed_command() -> str:
    """The command as it was given, for the record."""
    return shlex.join(["imagebind-llm", *sys.argv[1:]])


def _option(parameter: inspect.Parameter) -> inspect.Parameter:
    """A parameter of a suite as an option of its command."""
    kind, text = parameter.annotation, None
    if get_origin(kind) is Annotated:
        kind, text, *_ = get_args(kind)
    name = "--" + parameter.name.strip("_").replace("_", "-")
    flags = (f"{name}/--no-{name[2:]}",) if kind is bool else (name,)
    return parameter.replace(annotation=Annotated[kind, typer.Option(*flags, help=text)])
