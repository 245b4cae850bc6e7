"""Scenes of several of nano's things, and how well they are found."""
