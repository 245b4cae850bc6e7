"""The golden tiny model in the file formats that the published weights come in."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from support.tiny_imagebind import tiny_config

GOLDEN = Path(__file__).parents[1] / "golden"
VOCABULARY = 300
SPACE = 30
"""The piece for the space that SentencePiece puts in front: the golden prompt begins with it."""


@cache
def tensors(name):
    return load_file(GOLDEN / "llm_tiny" / f"{name}.safetensors")


@cache
def facts(name):
    return json.loads((GOLDEN / "llm_tiny" / f"{name}.json").read_text())


@cache
def arrays(name):
    with np.load(GOLDEN / "imagebind_tiny" / f"{name}.npz") as found:
        return {key: torch.from_numpy(found[key]) for key in found.files}


def letter(number):
    """The character of a token id; the space is where the golden prompt has it."""
    return " " if number == SPACE else chr(0x4E00 + number)


def write_encoder(folder, state=None, **save):
    """``imagebind.pth`` and ``sizes.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(dict(arrays("weights")) if state is None else state, folder / "imagebind.pth", **save)
    (folder / "sizes.json").write_text(json.dumps(tiny_config().to_dict()))
    return folder / "imagebind.pth"


def write_tokenizer(path, pieces=VOCABULARY):
    """A SentencePiece model with one character a piece."""
    from sentencepiece import sentencepiece_model_pb2 as spm

    model = spm.ModelProto()
    model.trainer_spec.model_type = 2  # BPE
    model.trainer_spec.vocab_size = pieces
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = True
    for number in range(pieces):
        piece = model.pieces.add()
        piece.piece = {0: "<unk>", 1: "<s>", 2: "</s>", SPACE: "\u2581"}.get(number, letter(number))
        piece.score = -float(number)
        piece.type = {0: 2, 1: 3, 2: 3}.get(number, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def base_state():
    return dict(tensors("llama_consolidated"))


def cut(state, count, vocabulary_wise=False):
    """The tensors as ``count`` GPUs would hold them."""
    axes = dict.fromkeys(("wq", "wk", "wv", "w1", "w3", "output"), 0) | {"wo": 1, "w2": 1}
    axes["tok_embeddings"] = 0 if vocabulary_wise else 1
    parts = [{} for _ in range(count)]
    for key, tensor in state.items():
        axis = axes.get(key.removesuffix(".weight").rpartition(".")[2])
        pieces = [tensor] * count if axis is None else tensor.chunk(count, axis)
        for part, piece in zip(parts, pieces, strict=True):
            part[key] = piece.clone()
    return parts


def write_llama(folder, state=None, count=1, params=None, pieces=None, vocabulary_wise=False, **save):
    """A folder in Meta's layout."""
    folder.mkdir(parents=True, exist_ok=True)
    state = base_state() if state is None else state
    for number, part in enumerate(cut(state, count, vocabulary_wise)):
        torch.save(part, folder / f"consolidated.{number:02}.pth", **save)
    (folder / "params.json").write_text(json.dumps(params or facts("params")))
    rows = state["tok_embeddings.weight"].shape[0] if "tok_embeddings.weight" in state else VOCABULARY
    write_tokenizer(folder / "tokenizer.model", pieces or rows)
    return folder


def grouped_state(kv_heads=2, vocabulary=40, dtype=torch.float16):
    """A random LLaMA with fewer key-value heads than heads."""
    width, heads, layers, hidden = 32, 4, 2, 48
    generator = torch.Generator().manual_seed(4)
    head = width // heads

    def draw(*shape):
        return (torch.randn(*shape, generator=generator) * 0.2).to(dtype)

    state = {
        "tok_embeddings.weight": draw(vocabulary, width),
        "norm.weight": draw(width),
        "output.weight": draw(vocabulary, width),
    }
    for layer in range(layers):
        state |= {
            f"layers.{layer}.attention.wq.weight": draw(width, width),
            f"layers.{layer}.attention.wk.weight": draw(kv_heads * head, width),
            f"layers.{layer}.attention.wv.weight": draw(kv_heads * head, width),
            f"layers.{layer}.attention.wo.weight": draw(width, width),
            f"layers.{layer}.feed_forward.w1.weight": draw(hidden, width),
            f"layers.{layer}.feed_forward.w2.weight": draw(width, hidden),
            f"layers.{layer}.feed_forward.w3.weight": draw(hidden, width),
            f"layers.{layer}.attention_norm.weight": draw(width),
            f"layers.{layer}.ffn_norm.weight": draw(width),
        }
    params = {
        "dim": width,
        "n_layers": layers,
        "n_heads": heads,
        "n_kv_heads": kv_heads,
        "norm_eps": 1e-5,
        "vocab_size": vocabulary,
    }
    return state, params


def pretrain_part(adapter, base):
    """What a file of the first stage holds: no updates or biases, and the base's own norms."""
    kept = {key: t for key, t in adapter.items() if not key.startswith("llama.") or key.endswith(".gate")}
    norms = {
        f"llama.{key}": t for key, t in base.items() if key.endswith("norm.weight") and "rope" not in key
    }
    return kept | norms


def legacy_adapter():
    """The golden adapter with the old bind network."""
    modern = {key: t for key, t in tensors("adapter").items() if not key.startswith("image_bind")}
    return modern | dict(tensors("adapter_legacy_bridge"))
