"""``imagebind-llm new-encoder``: a joint encoder of pretrained backbones, from a recipe."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer()

_EXAMPLES = """
\b
Examples:
  imagebind-llm new-encoder recipes/towers/clip-clap.yaml --out my-encoder
  imagebind-llm train heads recipes/towers/clip-clap-heads.yaml encoder=my-encoder
  imagebind-llm new --llm Qwen/Qwen3-0.6B --encoder runs/heads/export --out my-model

\b
The recipe names a backbone and a head for each modality:
  towers:
    image: {backbone: openai/clip-vit-base-patch32, head: {kind: none}}
    text: {backbone: openai/clip-vit-base-patch32, head: {kind: none}}
    audio: {backbone: laion/clap-htsat-unfused, head: {kind: mlp}}
  video: {frames: 8}
A backbone is a folder or hub id of a transformers model (CLIP, SigLIP, DINOv2, CLAP, Whisper, BERT, …),
the folder of an EfficientNet-lite, or an ImageBind encoder such as nano.
"""


@app.command(epilog=_EXAMPLES, short_help="Make a joint encoder of pretrained backbones.")
def new_encoder(
    recipe: Annotated[Path, typer.Argument(help="YAML file, for example from recipes/towers/.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the encoder to write.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings to change, with dotted keys."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Make a joint encoder of frozen pretrained backbones with untrained heads."""
    from imagebind_llm.cli.options import check_out, hide_progress_bars

    check_out(out, folder=True)
    from imagebind_llm.encoders.towers.making import make_towers
    from imagebind_llm.encoders.towers.recipe import read_new_encoder
    from imagebind_llm.encoders.towers.weights import save_towers

    settings = read_new_encoder(recipe, overrides or [])
    hide_progress_bars()
    encoder, media = make_towers(settings)
    save_towers(encoder, media, out)
    _report(encoder, out, json_)


def _report(encoder: Any, out: Path, as_json: bool) -> None:
    towers = {}
    for name, tower in encoder.towers.items():
        settings = encoder.config.towers[name]
        kind = settings.backbone.config.get("model_type", settings.backbone.kind)
        numbers = sum(one.numel() for one in tower.backbone.parameters()) / 1e6
        pooling = f" {settings.backbone.pooling}" if settings.backbone.pooling else ""
        towers[name] = f"{kind}{pooling} {numbers:.1f} M → {tower.width}, head {settings.head.kind}"
    trained = sum(one.numel() for tower in encoder.towers.values() for one in tower.head.parameters())
    facts = {
        "encoder": str(out),
        "embedding_dim": encoder.embedding_dim,
        "modalities": ", ".join(sorted(encoder.modalities)),
        **towers,
        "to_train": f"{trained / 1e6:.2f} M numbers (stage heads)",
        "fingerprint": encoder.fingerprint,
    }
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return
    for key, value in facts.items():
        typer.echo(f"{key.replace('_', ' ')}: {value}")
