"""Cleaning of training data: measure every sample once, then judge, list and show.

``measure`` (numbers of one sample, in shards on disk) → ``judge`` (``rules`` in the order of one table, then
``duplicates``) → ``results`` (lists, scores, the cleaned source) → ``report`` (one HTML page).
:func:`~imagebind_llm.data.clean.run.clean` does all of it.
"""
