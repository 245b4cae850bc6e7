"""Training data: sources, mixtures, packed rows, embedding once, cleaning."""
