"""Tiny tokenizers in the layouts of published language models: their control tokens, special or not, and chat
templates of their shape. Bytes are the only other tokens, so that no weights or merges are needed."""

from dataclasses import dataclass

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class Layout:
    """``special`` and ``plain`` added tokens, ``marks`` that the template writes as text, the template."""

    special: tuple[str, ...]
    plain: tuple[str, ...]
    marks: tuple[str, ...]
    template: str
    eos: str
    bos: str | None = None
    system: bool = True
    """Whether the template takes a system message."""


LAYOUTS = {
    "llama3": Layout(
        special=(
            "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
            "<|eot_id|>", "<|python_tag|>", "<|reserved_special_token_0|>",
        ),
        plain=(),
        marks=(),
        template=(
            "{{- bos_token }}{%- for m in messages %}"
            "{{- '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] | trim"
            " + '<|eot_id|>' }}{%- endfor %}"
            "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
            "{%- endif %}"
        ),
        eos="<|eot_id|>",
        bos="<|begin_of_text|>",
    ),
    "qwen": Layout(
        special=("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>"),
        plain=("<tool_call>", "</tool_call>", "<think>", "</think>", "<|fim_prefix|>"),
        marks=("<tools>", "</tools>", "<tool_response>"),
        template=(
            "{%- if tools %}{{- '<|im_start|>system\n# Tools\n<tools>' }}{%- for tool in tools %}"
            "{{- '\n' }}{{- tool | tojson }}{%- endfor %}{{- '\n</tools><|im_end|>\n' }}{%- endif %}"
            "{%- for m in messages %}{%- if m.role == 'tool' %}"
            "{{- '<|im_start|>user\n<tool_response>\n' + m.content + '\n</tool_response><|im_end|>\n' }}"
            "{%- else %}{{- '<|im_start|>' + m.role + '\n' }}"
            "{%- if m.reasoning_content %}{{- '<think>\n' + m.reasoning_content + '\n</think>\n\n' }}"
            "{%- endif %}{{- m.content }}"
            "{%- for call in m.tool_calls %}"
            "{%- if call.function %}{%- set call = call.function %}{%- endif %}"
            "{{- '<tool_call>\n{\"name\": \"' + call.name + '\", \"arguments\": ' }}"
            "{{- call.arguments if call.arguments is string else call.arguments | tojson }}"
            "{{- '}\n</tool_call>' }}{%- endfor %}{{- '<|im_end|>\n' }}{%- endif %}{%- endfor %}"
            "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}"
            "{%- if enable_thinking is defined and enable_thinking is false %}"
            "{{- '<think>\n\n</think>\n\n' }}{%- endif %}{%- endif %}"
        ),
        eos="<|im_end|>",
    ),
    "phi": Layout(
        special=("<|endoftext|>", "<|assistant|>", "<|end|>"),
        plain=("<|user|>", "<|system|>", "<|tool|>"),
        marks=(),
        template=(
            "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
        ),
        eos="<|end|>",
    ),
    "gemma": Layout(
        special=("<bos>", "<eos>", "<pad>"),
        plain=("<start_of_turn>", "<end_of_turn>", "<table>", "\n\n"),
        marks=(),
        template=(
            "{{ bos_token }}{% for m in messages %}"
            "{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\n'"
            " + m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
        ),
        eos="<end_of_turn>",
        bos="<bos>",
    ),
    "mistral": Layout(
        special=("<s>", "</s>"),
        plain=(),
        marks=("[INST]", "[/INST]", "[TOOL_RESULTS]"),
        template=(
            "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content"
            " + ' [/INST]' }}{% elif m.role == 'tool' %}{{ '[TOOL_RESULTS] ' + m.content }}"
            "{% elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}"
            "{% else %}{{ raise_exception('only user and assistant roles') }}{% endif %}{% endfor %}"
        ),
        eos="</s>",
        bos="<s>",
        system=False,
    ),
}  # fmt: skip


def byte_core():
    """A byte-level BPE without merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return core


def make_tokenizer(layout, lowercase=False):
    """The tokenizer of a :class:`Layout`; ``lowercase``: it changes letters before it looks for tokens."""
    core = byte_core()
    if lowercase:
        core.normalizer = normalizers.Lowercase()
    core.add_special_tokens([AddedToken(t, special=True, normalized=lowercase) for t in layout.special])
    core.add_tokens([AddedToken(t, special=False, normalized=False) for t in layout.plain])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token=layout.eos, bos_token=layout.bos)
    tokenizer.chat_template = layout.template
    return tokenizer
