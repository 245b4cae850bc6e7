"""Nano's report: its standard evaluation, and what else the paper claims, measured and written down."""
