"""Fingerprints of parts that lie in files, read one tensor after another: no part is ever held whole."""
