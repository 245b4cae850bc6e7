"""``imagebind-llm eval tools``: sums of digits that nano sees and hears, of the test splits."""

from pathlib import Path
from typing import Annotated

import typer

from imagebind_llm.cli import options as shared
from imagebind_llm.common.errors import UserError
from imagebind_llm.common.files import write_json

EXAMPLES = """
\b
Example:
  imagebind-llm eval tools --data DATA --items 100 --out results/tools
"""


def tools(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of mnist and fsdd.")],
    model: shared.ModelOption = "nano",
    items: Annotated[int, typer.Option("--items", min=1, help="Questions of each set of wordings.")] = 100,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the pairs of digits.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder that gets results.json.")
    ] = None,
) -> None:
    """How often a question that needs the calculator is answered rightly, and why not."""
    if out is not None:  # before minutes of work, not after them
        if out.suffix.lower() == ".json":
            raise UserError(
                f"--out {str(out)!r} is the name of a file; give a folder, which gets results.json"
            )
        shared.check_out(out, folder=True)
    bot = shared.open_assistant(model, "cpu")
    from nano_lab.evaluation.tool_questions import evaluate_tools

    found = evaluate_tools(bot, data, items, seed)
    if out is not None:
        write_json(out / "results.json", found)
    shared.print_json(found)
