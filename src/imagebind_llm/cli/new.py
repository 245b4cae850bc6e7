"""``imagebind-llm new``: an untrained model around any language model."""

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from imagebind_llm.common.errors import UserError

app = typer.Typer()

_EXAMPLES = """
\b
Examples:
  imagebind-llm new --llm Qwen/Qwen3-0.6B --encoder nano --out my-model
  imagebind-llm new --llm ./my-llama --encoder ./imagebind-huge --style value --layers 30 --out my-model
  imagebind-llm new --llm ./my-llama --encoder facebook/pe-av-base --adapter-only --out my-model
  imagebind-llm train pretrain recipes/any-llm.yaml model=my-model encoder=null language_model=null

\b
--encoder takes a folder of an encoder (ImageBind, PE-AV, new-encoder's), a model folder whose
encoder is wanted, nano, or a hub id. The gates are closed: until it is trained, the model answers
exactly as its language model does, whatever it is shown.
"""


@app.command(epilog=_EXAMPLES, short_help="Make an untrained model around any language model.")
def new(
    llm: Annotated[str, typer.Option("--llm", metavar="DIR|HUB_ID", help="Decoder-only language model.")],
    encoder: Annotated[
        str, typer.Option("--encoder", metavar="nano|DIR|HUB_ID", help="Joint encoder, or a model with one.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the new model; it must not exist yet.")],
    style: Annotated[
        str, typer.Option("--style", help="residual (the paper) or value (the published 7B).")
    ] = "residual",
    layers: Annotated[
        str, typer.Option("--layers", metavar="N|all|I,J,K", help="The last N layers, all, or these.")
    ] = "all",
    bind_depth: Annotated[int, typer.Option("--bind-depth", min=0, help="Blocks of the bind network.")] = 3,
    bind_hidden: Annotated[
        int | None, typer.Option("--bind-hidden", min=1, help="Their inner width. Default: 4 × the model's.")
    ] = None,
    bind_tokens: Annotated[
        int,
        typer.Option("--bind-tokens", min=1, help="Vectors per condition; more than one need --style value."),
    ] = 1,
    encoder_tokens: Annotated[
        int,
        typer.Option(
            "--encoder-tokens",
            min=0,
            help="More vectors, of as many groups of the encoder's tokens of a picture; needs --style value.",
        ),
    ] = 0,
    media: Annotated[
        str | None,
        typer.Option(
            "--media",
            metavar="nano|DIR",
            help="Model whose media settings to take. Default: those the encoder came with.",
        ),
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option("--tokenizer", metavar="DIR|HUB_ID", help="Default: the language model's.")
    ] = None,
    template: Annotated[
        str | None, typer.Option("--template", help="alpaca: use that chat template instead of its own.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", help="Of the language model on the hub.")
    ] = None,
    dtype: Annotated[
        str, typer.Option("--dtype", help="auto (as stored), float32, bfloat16, float16.")
    ] = "auto",
    adapter_only: Annotated[
        bool,
        typer.Option(
            "--adapter-only/--full",
            help="Write only what training changes and where the rest lies, or everything.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of the bind network's weights.")] = 0,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Make an untrained ImageBind-LLM from a language model and a joint encoder."""
    chosen = _layers(layers)
    if bind_tokens > 1 and style != "value":
        raise UserError(f"--bind-tokens {bind_tokens} needs --style value: tokens attend in that style only")
    if encoder_tokens and style != "value":
        raise UserError(
            f"--encoder-tokens {encoder_tokens} needs --style value: tokens attend in that style only"
        )
    from imagebind_llm.checkpoints.convert.store import check_target, new_folder

    check_target(out)
    from imagebind_llm.cli.options import hide_progress_bars
    from imagebind_llm.common.files import require_space
    from imagebind_llm.encoders import load_encoder, media_of_encoder
    from imagebind_llm.inference.loading import choose_dtype
    from imagebind_llm.model.adaptation import saved_bytes
    from imagebind_llm.model.assembly import (
        assemble,
        check_language_model,
        check_vocabulary,
        open_language_model,
        open_tokenizer,
        place_of,
    )
    from imagebind_llm.model.processing import ImageBindLLMProcessor

    hide_progress_bars()
    import torch

    check_language_model(llm, revision)  # what is cheap to find out comes first
    words, notes = open_tokenizer(tokenizer or llm, None if tokenizer else revision, template)
    precision: Any = dtype if dtype == "auto" else choose_dtype(dtype, torch.device("cpu"))
    joint: Any = load_encoder(encoder)
    reader = media_of_encoder(media or encoder, joint)
    if reader.encoder_type != joint.settings["type"]:
        raise UserError(
            f"--media {media!r} is for encoders of type {reader.encoder_type}, this one is "
            f"{joint.settings['type']}; leave it out"
        )
    language_model = open_language_model(llm, revision, precision)
    check_vocabulary(language_model, words)
    model = assemble(
        language_model,
        joint,
        reader,
        {
            "depth": bind_depth,
            "hidden": bind_hidden,
            "tokens": bind_tokens,
            "encoder_tokens": encoder_tokens,
        },
        {"style": style, "layers": chosen},
        seed,
    )
    commit = getattr(language_model.config, "_commit_hash", None)
    model.config.base_models = {
        "language_model": place_of(llm, revision, commit),
        "encoder": None if encoder == "nano" and not adapter_only else place_of(encoder, None, None),
    }
    require_space(out.parent, saved_bytes(model, adapter_only), f"the model in {str(out)!r}")
    with new_folder(out) as stage:
        model.save_pretrained(stage, adapter_only=adapter_only)
        ImageBindLLMProcessor(words, reader).save_pretrained(stage)
    _report(model, out, notes, json_)


def _report(model: Any, out: Path, notes: list[str], as_json: bool) -> None:
    trained = sum(p.numel() for part in (model.bind, model.injection) for p in part.parameters())
    facts = {
        "model": str(out),
        "language_model": f"{model.config.text_config.model_type} {_millions(model.language_model)}",
        "encoder": f"{model.config.encoder_config['type']} {_millions(model.encoder)}",
        "modalities": ", ".join(sorted(model.encoder.modalities)),
        "injection": f"{model.injection.style}, layers {', '.join(map(str, model.injection.layers))}",
        "to_train": f"{trained / 1e6:.1f} M numbers (stage pretrain)",
        "notes": notes,
    }
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return
    for key, value in facts.items():
        if key != "notes":
            typer.echo(f"{key.replace('_', ' ')}: {value}")
    for note in notes:
        typer.echo(f"note: {note}")


def _millions(module: Any) -> str:
    return f"{sum(parameter.numel() for parameter in module.parameters()) / 1e6:.1f} M"


def _layers(text: str) -> int | list[int] | None:
    if text == "all":
        return None
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise UserError(f"--layers {text!r}; expected all, a number such as 30, or indices such as 0,4,8")
    numbers = [int(part) for part in text.split(",")]
    return numbers if "," in text else numbers[0]
