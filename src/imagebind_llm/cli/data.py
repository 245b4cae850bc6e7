"""``imagebind-llm data``: training data, checked, cleaned and embedded.

A command is a module ``data_NAME.py`` with a function of that name, ``SUMMARY`` and ``EXAMPLES``.
"""

from importlib import import_module

import typer

_EXAMPLES = """
\b
Examples, from data of any kind to a run:
  imagebind-llm data check captions.tsv 'laion/*.tar'
  imagebind-llm data clean captions.tsv --out cleaned
  imagebind-llm data embed captions.tsv --model nano --out embedded
  imagebind-llm train pretrain recipes/any-llm.yaml 'data.sources=[{kind: embedded, path: embedded}]'
"""

app = typer.Typer(
    no_args_is_help=True,
    epilog=_EXAMPLES,
    help="Training data: check sources, clean them, embed them once.",
    short_help="Check, clean and embed training data.",
)

for _name in ("check", "clean", "embed", "fetch"):
    _module = import_module(f"{__package__}.data_{_name}")
    app.command(_name, short_help=_module.SUMMARY, epilog=_module.EXAMPLES)(getattr(_module, _name))
