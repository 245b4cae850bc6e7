"""``imagebind-llm export``: a model folder to give away."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from imagebind_llm.cli import options as shared
from imagebind_llm.common.errors import UserError
from imagebind_llm.common.files import gigabytes

app = typer.Typer()

_EXAMPLES = """
\b
Examples:
  imagebind-llm export nano my-adapter --adapter-only
  imagebind-llm export my-adapter my-model --full --dtype bfloat16
  imagebind-llm export my-adapter my-model --merged --no-cache --evaluation results
  imagebind-llm export my-adapter give-away --adapter-only --language-model owner/llm --licence cc-by-nc-4.0
  hf upload owner/my-model my-model

\b
--adapter-only: what training changed, and the fingerprints of what it belongs to.
--full: everything.  --merged: everything, low-rank updates folded in; logits are compared before and after.
"""


@app.command(epilog=_EXAMPLES, short_help="A model folder to give away, with a model card.")
def export(
    model: Annotated[str, typer.Argument(metavar="nano|DIR|HUB_ID", help="Which model.")],
    out: Annotated[Path, typer.Argument(help="The new folder; it must not exist yet.")],
    adapter_only: Annotated[bool, typer.Option("--adapter-only", help="Only what training changed.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Everything.")] = False,
    merged: Annotated[bool, typer.Option("--merged", help="Everything, low-rank updates folded in.")] = False,
    dtype: Annotated[
        str, typer.Option("--dtype", help="Precision to write: keep, float32, float16 or bfloat16.")
    ] = "keep",
    cache: Annotated[
        bool | None,
        typer.Option("--cache/--no-cache", help="Take the visual cache along. Default: not with an adapter."),
    ] = None,
    evaluation: Annotated[
        Path | None, typer.Option("--evaluation", metavar="DIR", help="Results of eval nano, for the card.")
    ] = None,
    language_model: Annotated[
        str | None,
        typer.Option("--language-model", metavar="HUB_ID|DIR", help="Of an adapter: where its base will be."),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option("--encoder", metavar="HUB_ID|DIR", help="Of an adapter: where its encoder will be."),
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--licence", help="For the card: apache-2.0, cc-by-nc-4.0, other …")
    ] = None,
    json_: shared.JsonOption = False,
) -> None:
    """Write a model folder that can be given away or uploaded to the hub, with a model card."""
    forms = [form for form, said in (("adapter", adapter_only), ("full", full), ("merged", merged)) if said]
    if len(forms) != 1:
        raise UserError("say which form: exactly one of --adapter-only, --full, --merged")
    if forms != ["adapter"] and (language_model or encoder):
        raise UserError("--language-model and --encoder are for --adapter-only; other forms hold both")
    from imagebind_llm.checkpoints.convert.plan import parse_dtype
    from imagebind_llm.checkpoints.export import export as write
    from imagebind_llm.evaluation.report import evaluation_for_card

    shared.hide_progress_bars()
    form: Any = forms[0]
    done = write(
        model,
        out,
        form,
        parse_dtype(dtype),
        cache,
        None if evaluation is None else evaluation_for_card(evaluation),
        {"language_model": language_model, "encoder": encoder},
        licence,
    )
    compared = done.comparison
    if json_:
        values = {
            "out": str(out),
            "form": done.form,
            "bytes": sum(done.files.values()),
            "files": done.files,
            "largest_logit_change": None if compared is None else compared.largest,
            "allowed_logit_change": None if compared is None else compared.allowed,
            "notes": list(done.notes),
        }
        typer.echo(json.dumps(values, ensure_ascii=False))
        return
    typer.echo(f"{out}: {gigabytes(sum(done.files.values()))} in {len(done.files)} files")
    if compared is not None:
        typer.echo(
            f"merged: logits changed by at most {compared.largest:.2g} (allowed {compared.allowed:.2g}), "
            f"same likeliest token at {compared.agreement:.1%} of positions"
        )
    for note in done.notes:
        typer.echo(f"note: {note}")
