"""The report of an evaluation: one page of HTML that needs nothing else."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from imagebind_llm.evaluation.report import markdown


def page(results: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]) -> str:
    """The report."""
    return f"<!doctype html><pre>{escape(markdown(results))}</pre>"
