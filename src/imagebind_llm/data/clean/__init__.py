"""Cleaning of training data: measure every sample once, then judge, list and show.

``sample`` (a record's picture and words) → ``measure`` (numbers of one sample, in shards on disk) →
``judge`` (rules in the order of one table, then duplicates) → ``results`` (lists, scores, the cleaned source)
→ ``page`` (one HTML report). :func:`~imagebind_llm.data.clean.run.clean` does all of it.
"""
