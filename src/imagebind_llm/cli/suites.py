"""The command of a suite of items, for packages that bring one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from imagebind_llm.cli import options as shared
from imagebind_llm.evaluation.suite import Suite

DataOption = Annotated[Path | None, typer.Option("--data", help="Folder of the suite's data.")]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Folder for answers and results; the same command goes on there.")
]
ItemsOption = Annotated[int | None, typer.Option("--items", min=1, help="Most items. Default: all.")]


def command_of(make: Callable[[], Suite]) -> Callable[..., None]:
    """A function for :class:`~imagebind_llm.evaluation.suite.SuiteKind` that asks a model all items.

    Args:
        make: the suite's class, or another function that returns one.
    """

    def measure(
        data: DataOption = None,
        model: shared.ModelOption = "nano",
        out: OutOption = None,
        items: ItemsOption = None,
        batch_size: shared.BatchSizeOption = 64,
        new_tokens: shared.NewTokensOption = None,
        cache_dir: shared.CacheFolderOption = None,
        device: shared.DeviceOption = "auto",
        dtype: shared.DtypeOption = "auto",
        json_: shared.JsonOption = False,
    ) -> None:
        from imagebind_llm.common.files import atomic_write
        from imagebind_llm.common.locate import locate_folder
        from imagebind_llm.evaluation.provenance import environment, model_facts
        from imagebind_llm.evaluation.report import markdown
        from imagebind_llm.evaluation.runner import run_suite

        if out is not None:
            shared.check_out(out, folder=True)
        folder = locate_folder(model)
        bot = shared.open_assistant(str(folder), device, dtype, cache_dir)
        found = run_suite(
            make(),
            bot,
            data,
            out=out,
            limit=items,
            batch_size=batch_size,
            about=model_facts(bot, Path(model).name, folder),
            options={} if new_tokens is None else {"max_new_tokens": new_tokens},
        )
        results = {**found, "environment": environment()}
        if out is not None:
            text = json.dumps(results, ensure_ascii=False, indent=1) + "\n"
            for name, content in (("results.json", text), ("results.md", markdown(results))):
                with atomic_write(out / name) as temporary:
                    temporary.write_text(content, encoding="utf-8")
        typer.echo(json.dumps(results, ensure_ascii=False) if json_ else markdown(results), nl=json_)

    measure.__doc__ = make.__doc__
    return measure
