"""This package's models in lmms-eval: ``lmms-eval --model imagebind_llm --model_args pretrained=nano``.

``python -m imagebind_llm.evaluation.lmms`` prints the folder of this package's own tasks, for
``--include_path``.
"""

from pathlib import Path

TASKS = Path(__file__).parent / "tasks"
"""Tasks for the senses that lmms-eval has none for."""
