"""Other formats of the same weights: pure maps between their keys and ours."""
