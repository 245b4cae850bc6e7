"""Ablations on nano: the published choices, each against its alternatives, by the same recipes and seeds."""
