"""The laboratory of the bundled model: its world and language, its training stages, its evaluation."""
