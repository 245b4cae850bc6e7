"""Fewer bits, several devices, offloading: the answers stay (nearly) what they were."""

import json
from pathlib import Path

import pytest
import torch
from support.llm_folders import run_cli
from support.tiny_model import write_tiny_model
from transformers import AutoModelForCausalLM

from imagebind_llm import Assistant
from imagebind_llm.common.errors import UserError
from imagebind_llm.inference.loading import Placement, read_memory
from imagebind_llm.model.adaptation import add_lora
from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

EXAMPLES = Path(__file__).parents[2] / "examples" / "inputs"


def logits(bot: Assistant) -> torch.Tensor:
    random = torch.Generator().manual_seed(3)
    seen = torch.nn.functional.normalize(torch.randn(2, bot.model.config.embedding_dim, generator=random))
    ids = torch.randint(3, 200, (2, 12), generator=random)
    with torch.no_grad():
        return bot.model(ids, conditions=seen).logits


def distance(found: torch.Tensor, true: torch.Tensor) -> float:
    return float((found - true).norm() / true.norm())


def on_disk(*layers: int) -> dict[str, str]:
    """The tiny Llama's three layers, some of them on disk."""
    small = dict.fromkeys(("model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head"), "cpu")
    return small | {f"model.layers.{layer}": "disk" if layer in layers else "cpu" for layer in range(3)}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """The same tiny model, injected in both styles, one of them with low-rank updates."""
    root = tmp_path_factory.mktemp("placed")
    found = {"residual": write_tiny_model(root / "residual")}
    model = ImageBindLLMForConditionalGeneration.from_pretrained(found["residual"])
    torch.manual_seed(2)
    add_lora(model, 4)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(root / "lora")
    for file in found["residual"].iterdir():
        if not (root / "lora" / file.name).exists():
            (root / "lora" / file.name).write_bytes(file.read_bytes())
    return {**found, "lora": root / "lora"}


@pytest.mark.parametrize("name", ["residual", "lora"])
@pytest.mark.parametrize("kind", ["int8", "int8-weights"])
def test_eight_bits_change_little(folders, name, kind):
    pytest.importorskip("torchao")
    true = logits(Assistant.from_pretrained(folders[name], device="cpu"))
    bot = Assistant.from_pretrained(folders[name], device="cpu", quantization=kind)
    kinds = {type(parameter).__name__ for parameter in bot.model.language_model.parameters()}
    assert "Int8Tensor" in kinds, kinds
    for part in (bot.model.encoder, bot.model.bind, bot.model.injection):
        assert {type(parameter) for parameter in part.parameters()} == {torch.nn.Parameter}
    assert 0 < distance(logits(bot), true) < 0.08


def test_layers_on_disk_give_the_same_logits(folders, tmp_path):
    for name in ("residual", "lora"):
        true = logits(Assistant.from_pretrained(folders[name], device="cpu"))
        bot = Assistant.from_pretrained(
            folders[name],
            device="cpu",
            device_map=on_disk(1, 2),
            offload_folder=tmp_path / name,
        )
        layers = bot.model.language_model.model.layers
        assert next(layers[2].parameters()).is_meta
        assert not next(layers[0].parameters()).is_meta
        assert distance(logits(bot), true) < 1e-5


def test_values_are_injected_from_disk_too(folders, tmp_path):
    source = ImageBindLLMForConditionalGeneration.from_pretrained(folders["residual"])
    from imagebind_llm.model.assembly import assemble
    from imagebind_llm.model.processing import ImageBindLLMProcessor

    processor = ImageBindLLMProcessor.from_pretrained(folders["residual"])
    base = AutoModelForCausalLM.from_config(source.config.text_config)
    base.load_state_dict(source.language_model.state_dict())
    model = assemble(base, source.encoder, processor.media, injection={"style": "value"})
    torch.nn.init.constant_(model.injection.gate, 0.9)
    folder = tmp_path / "value"
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    true = logits(Assistant.from_pretrained(folder, device="cpu"))
    spread = Assistant.from_pretrained(
        folder,
        device="cpu",
        device_map=on_disk(1),
        offload_folder=tmp_path / "offload",
    )
    assert distance(logits(spread), true) < 1e-5


def test_memory_limits_send_layers_to_disk(folders, tmp_path):
    bot = Assistant.from_pretrained(
        folders["residual"],
        device="cpu",
        device_map="auto",
        max_memory={"cpu": "100KB"},
        offload_folder=tmp_path,
    )
    assert any(parameter.is_meta for parameter in bot.model.language_model.parameters())
    assert bot.ask("Hi?", max_new_tokens=3).new_tokens > 0
    with pytest.raises(UserError, match="does not fit"):
        Assistant.from_pretrained(
            folders["residual"], device="cpu", device_map="auto", max_memory={"cpu": "100KB"}
        )


def test_a_model_that_lies_on_disk_as_a_whole_answers(folders, tmp_path):
    """But for its embedding, which tells where inputs go."""
    true = logits(Assistant.from_pretrained(folders["residual"], device="cpu"))
    for number, device_map in enumerate(("auto", {"": "disk"}, {"model": "disk", "lm_head": "cpu"})):
        bot = Assistant.from_pretrained(
            folders["residual"],
            device="cpu",
            device_map=device_map,
            max_memory={"cpu": "1KB"} if device_map == "auto" else None,
            offload_folder=tmp_path / str(number),
        )
        model = bot.model.language_model
        assert not model.get_input_embeddings().weight.is_meta
        assert all(next(layer.parameters()).is_meta for layer in model.model.layers)
        assert bot.ask("Hi?", max_new_tokens=3).new_tokens > 0
        assert distance(logits(bot), true) < 1e-5


def test_the_encoder_may_lie_elsewhere(folders):
    bot = Assistant.from_pretrained(folders["residual"], device="cpu", encoder_device="meta")
    assert {parameter.device.type for parameter in bot.model.encoder.parameters()} == {"meta"}
    assert {parameter.device.type for parameter in bot.model.bind.parameters()} == {"cpu"}


def test_bad_placements_are_one_line(folders, capsys):
    with pytest.raises(UserError, match="unknown quantization 'int3'"):
        Placement(quantization="int3")
    with pytest.raises(UserError, match="memory limits need a device map"):
        Placement(max_memory={"cpu": "1GB"})
    with pytest.raises(UserError, match="for example"):
        read_memory("cpu=lots")
    assert read_memory("0=8GiB, cpu=6.5GB") == {0: "8GiB", "cpu": "6.5GB"}
    assert run_cli("ask", "Hi?", "--model", folders["residual"], "--quantize", "int3") == 2
    assert "unknown quantization" in capsys.readouterr().err


def test_low_rank_updates_and_bitsandbytes_do_not_mix(folders):
    with pytest.raises(UserError, match="low-rank updates"):
        Assistant.from_pretrained(folders["lora"], device="cpu", quantization="4bit")


def test_nano_says_the_same_in_eight_bits():
    pytest.importorskip("torchao")
    asked = [
        {"question": "What is this?", "image": str(path)} for path in sorted(EXAMPLES.glob("*.png"))[:6]
    ] + [{"question": "What do you hear?", "audio": str(path)} for path in sorted(EXAMPLES.glob("*.wav"))[:4]]
    assert len(asked) >= 4
    true = [answer.text for answer in Assistant.from_pretrained("nano", device="cpu").ask_batch(asked)]
    bot = Assistant.from_pretrained("nano", device="cpu", quantization="int8")
    found = [answer.text for answer in bot.ask_batch(asked)]
    assert sum(a == b for a, b in zip(true, found, strict=True)) >= 0.8 * len(asked), json.dumps(
        [true, found]
    )
