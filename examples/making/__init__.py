"""How the example inputs are made: drawing, rendering, synthesis. Only ``make_inputs.py`` uses it."""
