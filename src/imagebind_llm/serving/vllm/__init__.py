"""A language model on vLLM, which lives in an environment of its own.

Two sides talk over a pair of sockets:

* the server's (:mod:`~imagebind_llm.serving.vllm.backend`): encoder, bind network and gates. It needs no
  vLLM.
* the engine's (:mod:`~imagebind_llm.serving.vllm.process`): vLLM and the plain language model. It imports
  torch, numpy and vLLM, and of this package only this folder and ``common``.

What crosses: token ids, the delta tables of the conditions (``[N, K, C]``, see
:mod:`imagebind_llm.model.injection`) and the events. The deltas are computed on the server's side, because
bind network and gates are there anyway and the engine then needs nothing of the model but a plain folder
that vLLM knows.
"""
