"""``imagebind-llm train …``: run a recipe, go on where it stopped."""

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagebind_llm.cli.plugins import PluginCommands, command
from imagebind_llm.training.registry import STAGES, stage_kind

if TYPE_CHECKING:
    from imagebind_llm.training.loop import RunResult
    from imagebind_llm.training.settings import RunSettings

_EXAMPLES = """
\b
Examples:
  imagebind-llm train bind recipes/captions/text-tower.yaml
  imagebind-llm train pretrain recipes/any-llm.yaml language_model=Qwen/Qwen3-0.6B
  imagebind-llm train finetune recipes/any-llm-finetune.yaml run.steps=2000 optimizer.lr=1e-4
  torchrun --nproc-per-node 8 -m imagebind_llm train pretrain recipes/any-llm.yaml

\b
Started again, a run goes on where it stopped. SIGTERM, SIGHUP and Ctrl-C save first.
A setting is changed by its dotted key, a member of a list by its number:
  data.sources.0.path=mine.tsv
"""
_MERGE = """
\b
Example:
  imagebind-llm train merge runs/nano/bind-images/export runs/nano/bind-audio/export --out encoder
"""
_ATTACH = """
\b
Example:
  imagebind-llm train attach nano runs/tactile/export --out nano-tactile
"""

RecipeArgument = Annotated[Path, typer.Argument(help="YAML file, for example from recipes/.")]
OverridesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings to change, with dotted keys.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Also list every trained tensor.")]


class StageCommands(PluginCommands):
    """A command for every stage, this package's or another's."""

    plugins = STAGES

    def build(self, name: str) -> Any:
        """The command that trains the stage ``name``."""
        kind = stage_kind(name)

        def train(
            recipe: RecipeArgument,
            overrides: OverridesArgument = None,
            json_: JsonOption = False,
            verbose: VerboseOption = False,
        ) -> None:
            _run(name, recipe, overrides, json_, verbose)

        return command(name, train, kind.summary, kind.examples, kind.help or kind.summary)


app = typer.Typer(
    cls=StageCommands,
    no_args_is_help=True,
    help="Train: a YAML recipe, with key=value overrides. Runs continue by themselves.",
    epilog=_EXAMPLES,
)


@app.command(epilog=_MERGE, short_help="Towers trained apart become one encoder.")
def merge(
    base: Annotated[Path, typer.Argument(help="Encoder folder that all towers were trained from.")],
    towers: Annotated[list[Path], typer.Argument(help="Exports of runs that each trained one more tower.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the encoder to write.")],
    json_: JsonOption = False,
) -> None:
    """Collect towers trained in separate runs into one encoder."""
    from imagebind_llm.cli.options import check_out
    from imagebind_llm.training.towers import merge_towers

    check_out(out, folder=True)
    fingerprint = merge_towers(base, towers, out)
    _report({"encoder": str(out), "fingerprint": fingerprint}, json_)


@app.command(epilog=_ATTACH, short_help="Give a model an encoder that has learnt more.")
def attach(
    model: Annotated[str, typer.Argument(help="Model folder, nano or hub id.")],
    encoder: Annotated[Path, typer.Argument(help="Encoder folder, as exported by train bind.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the model to write.")],
    json_: JsonOption = False,
) -> None:
    """Put an encoder that has learnt more modalities into a finished model, whose language stays as it is."""
    from imagebind_llm.cli.options import check_out, know_sensors
    from imagebind_llm.common.locate import locate_folder
    from imagebind_llm.training.towers import attach_encoder

    check_out(out, folder=True)
    know_sensors(model)
    modalities = attach_encoder(locate_folder(model), encoder, out)
    _report({"model": str(out), "modalities": modalities}, json_)


def _run(stage: str, recipe: Path, overrides: list[str] | None, as_json: bool, verbose: bool) -> None:
    first = os.environ.get("RANK", "0") == "0"  # torchrun counts its processes there
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    level = logging.DEBUG if verbose else logging.INFO
    logging.getLogger("imagebind_llm").setLevel(level if first else logging.WARNING)
    from imagebind_llm.training.recipe import load_recipe

    settings = load_recipe(stage, recipe, overrides or [])
    from imagebind_llm.training.parallel import leave_the_others
    from imagebind_llm.training.run import run_recipe

    result = run_recipe(settings)
    if first and (result.finished or as_json):
        export = str(result.export) if result.finished else None
        _report({"finished": result.finished, "step": result.step, "export": export}, as_json)
    elif first:
        typer.echo(_stopped(result, settings.run))
    code = 0 if result.signal is None else 128 + result.signal
    leave_the_others(code)
    raise typer.Exit(code)


def _stopped(result: "RunResult", run: "RunSettings") -> str:
    from imagebind_llm.training.checkpoint import list_checkpoints

    saved = list_checkpoints(Path(run.folder) / "checkpoints")
    where = f"saved in {saved[-1]}" if saved else "nothing is saved yet"
    return f"stopped at step {result.step} of {run.steps}, {where}; run the same command again to go on"


def _report(values: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(values))
    else:
        for key, value in values.items():
            typer.echo(f"{key}: {', '.join(value) if isinstance(value, list) else value}")
