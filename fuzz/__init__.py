"""Fuzzers: bad, odd and hostile inputs of every kind, bounded and repeatable (``make fuzz``)."""
