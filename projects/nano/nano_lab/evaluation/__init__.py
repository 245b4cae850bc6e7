"""The standard evaluation of nano, and the documents that are written from its results."""
