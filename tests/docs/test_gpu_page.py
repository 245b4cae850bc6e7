"""The memory on the page about GPUs is what ``doctor`` would say."""

import re

import pytest
from pages import read
from transformers import LlamaConfig

from imagebind_llm.checkpoints.checks import memory_needed

ENCODER = 1_223_565_617  # tensors of imagebind_w3D.pth (tests/golden/manifests)
SHAPES = {
    "1B": LlamaConfig(
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=128256,
        tie_word_embeddings=True,
    ),
    "7B": LlamaConfig(),
    "13B": LlamaConfig(
        hidden_size=5120, intermediate_size=13824, num_hidden_layers=40, num_attention_heads=40
    ),
}


def counted(shape):
    """Numbers in the linear layers of the layers, the language model, the bind network and the injection."""
    width, layers = shape.hidden_size, shape.num_hidden_layers
    values = shape.num_key_value_heads * (width // shape.num_attention_heads)
    maps = layers * (2 * width * width + 2 * width * values + 3 * width * shape.intermediate_size)
    tables = 1 if shape.tie_word_embeddings else 2
    language = maps + (2 * layers + 1) * width + tables * shape.vocab_size * width
    bind = 1024 * width + width + 3 * (width + 3 * width * 4 * width)
    return maps, language, bind, layers * (width + shape.num_attention_heads)


def table(first):
    """The rows of the table whose head begins with this cell."""
    text = read("docs/gpu.md").partition(f"| {first} |")[2].partition("\n\n")[0]
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]
    return {row[0]: row[1:] for row in found}


@pytest.mark.parametrize("column", range(3))
def test_numbers_in_the_parts(column):
    maps, language, bind, injection = counted(list(SHAPES.values())[column])
    told = [float(row[column].replace(",", "")) for row in table("part").values()]
    known = [number / 1e6 for number in (language, maps, bind, injection, ENCODER)]
    assert told == pytest.approx(known, rel=0.0, abs=0.5)
    assert told[3] == round(known[3], 2 if column == 0 else 1)


@pytest.mark.parametrize("column", range(3))
def test_memory(column):
    shape = list(SHAPES.values())[column]
    maps, *parts = counted(shape)
    rows = table("precision")
    assert len(rows) == 6
    for name, cells in rows.items():
        total = sum(parts) + (0 if "encoder on the CPU" in name else ENCODER)
        needed = memory_needed({"total": total}, maps, shape, tokens=2048)
        precision = re.match(r"`?(\w+)", name)[1]
        assert float(cells[column]) == round(needed[precision] / 2**30, 1), name


def test_the_published_bind_network_has_608_million_numbers():
    assert counted(SHAPES["7B"])[2] == 608_190_464
