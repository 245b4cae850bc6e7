"""Prints the folder of tasks, for ``lmms-eval --include_path``."""

import sys

from imagebind_llm.evaluation.lmms import TASKS

sys.stdout.write(f"{TASKS}\n")
