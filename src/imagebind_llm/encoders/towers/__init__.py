"""Towers: frozen pretrained backbones of any origin, each with a small head, in one space."""
