"""Embed once, train many: any source → shards of unit embeddings with their dialogs.

``shard`` (the work on one stretch of samples, a pure function) → ``executors`` or Ray (who does it) →
``store`` (the only writer) → read back by ``kind: embedded``.
"""
