"""What the paper claims of a model, measured: mixtures, text ability, the cost of a condition."""
