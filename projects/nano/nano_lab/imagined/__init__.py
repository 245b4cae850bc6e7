"""How well what nano imagines shows what was asked for."""
