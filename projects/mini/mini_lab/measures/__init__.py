"""What mini is measured by: one room for each part, and what they share.

``context`` asks a suite and keeps its answers; ``tables`` is what a part returns; ``naming`` reads what an
answer names. The parts are ``captions``, ``photographs``, ``retrieval``, ``sounds``, ``furniture``, ``text``
and ``cost``; ``parts`` runs them, ``report`` and ``plots`` show them.
"""
