"""Published files → our folders, a tensor at a time.

``plan`` lists every tensor of the result with where it comes from. ``shards`` and ``store`` write the list
(in shards, atomically, resumably, within the disk). One module for each kind of file makes its plan:
``imagebind``, ``llama`` (with ``tokenizer``), ``delta`` and ``adapter``. ``cache`` has its own path, as an
index is not a list of tensors.
"""
