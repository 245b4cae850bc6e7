"""Packages of public registries (Debian, npm, PyPI): had with their own clients, checked, taken apart.

Nothing is installed, imported or run.
"""
