"""``imagebind-llm train …``: run a recipe, go on where it stopped."""

import json
import logging
import os
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    no_args_is_help=True, help="Train: a YAML recipe, with key=value overrides. Runs continue by themselves."
)

RecipeArgument = Annotated[Path, typer.Argument(help="YAML file, for example recipes/nano/bind-images.yaml.")]
OverridesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings to change, with dotted keys.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Also list every trained tensor.")]


@app.command()
def bind(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    json_: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Encoders: images with captions, then each other modality towards images."""
    _run("bind", recipe, overrides, json_, verbose)


@app.command()
def language(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    json_: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """A small language model from scratch on text."""
    _run("language", recipe, overrides, json_, verbose)


@app.command()
def pretrain(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    json_: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """The bind network and the gates, on image-caption pairs."""
    _run("pretrain", recipe, overrides, json_, verbose)


@app.command()
def finetune(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    json_: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """LoRA, biases and norms of the language model, on instructions."""
    _run("finetune", recipe, overrides, json_, verbose)


@app.command()
def merge(
    base: Annotated[Path, typer.Argument(help="Encoder folder that all towers were trained from.")],
    towers: Annotated[list[Path], typer.Argument(help="Exports of runs that each trained one more tower.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the encoder to write.")],
    json_: JsonOption = False,
) -> None:
    """Collect towers trained in separate runs into one encoder."""
    from imagebind_llm.training.merge import merge_towers

    fingerprint = merge_towers(base, towers, out)
    _report({"encoder": str(out), "fingerprint": fingerprint}, json_)


@app.command()
def attach(
    model: Annotated[str, typer.Argument(help="Model folder, nano or hub id.")],
    encoder: Annotated[Path, typer.Argument(help="Encoder folder, as exported by train bind.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the model to write.")],
    json_: JsonOption = False,
) -> None:
    """Put an encoder that has learnt more senses into a finished model, whose language stays as it is."""
    from imagebind_llm.cli.options import know_sensors
    from imagebind_llm.locate import locate_folder
    from imagebind_llm.training.attach import attach_encoder

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
    from imagebind_llm.training.stages import run_recipe

    result = run_recipe(settings)
    if first:
        _report({"finished": result.finished, "step": result.step, "export": str(result.export)}, as_json)
    if result.signal is not None:
        raise typer.Exit(128 + result.signal)


def _report(values: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(values))
    else:
        for key, value in values.items():
            typer.echo(f"{key}: {value}")
