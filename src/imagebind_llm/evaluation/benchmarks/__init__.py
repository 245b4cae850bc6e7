"""The field's benchmarks, on local files in their own formats, with their official metrics."""

BENCHMARKS: dict[str, str] = {}
"""Name → where its :class:`~imagebind_llm.evaluation.suite.SuiteKind` is, in the order of the list."""
