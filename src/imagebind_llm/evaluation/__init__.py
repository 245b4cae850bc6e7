"""Measuring what models can do, with intervals, controls and the settings that were used."""
