"""The reference's numbers, reproduced; and mistakes that must not pass for it."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imagebind_llm.common.modality import Modality
from imagebind_llm.encoders.imagebind import ImageBindModel, imagebind_from_state_dict
from imagebind_llm.encoders.imagebind.transformer import Mlp

NAMES = ["vision", "vision_video", "text", "audio", "depth", "thermal", "imu", "point"]
TOKENS = 2e-5
MODALITY = {"vision": Modality.IMAGE, "vision_video": Modality.VIDEO}


def run(model: ImageBindModel, name: str, batch: Tensor) -> dict[str, Tensor]:
    """Everything that was recorded for the input ``name``, under the recorded names."""
    seen: dict[str, Tensor] = {}

    def record(module: nn.Module, before: str | None, after: str | None) -> None:
        def hook(_: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
            if before:
                seen[f"{name}.{before}"] = args[0]
            if after:
                seen[f"{name}.{after}"] = out

        def whole(module, args, kwargs, out):
            if kwargs.get("first"):  # only what is read out was computed: look at the whole stream, too
                stream = module.forward(*args, **{**kwargs, "first": False})
                torch.testing.assert_close(out, stream[:, :1], atol=TOKENS, rtol=0)
                out = stream
            hook(module, args, out)

        handles.append(module.register_forward_hook(whole, with_kwargs=True))

    handles: list = []
    if name == "point":
        encoder = model.point_trunk.point_encoder
        record(encoder.pos_embed, "centers", None)
        record(encoder.encoder, None, "group_features")
        record(encoder, None, "encoder_concat")
        record(model.point_trunk, None, "pc_embed")
    else:
        record(model.modality_trunks[name.removesuffix("_video")], "trunk_in0", "trunk_out0")
    try:
        with torch.no_grad():
            out = model.features(MODALITY.get(name) or Modality(name), batch)
    finally:
        for handle in handles:
            handle.remove()
    seen = {key: value[0] if key.endswith("0") else value for key, value in seen.items()}
    return seen | {f"{name}.embed": out.embedding, f"{name}.prenorm": out.prenorm}


def assert_parity(
    model: ImageBindModel, name: str, inputs: dict[str, Tensor], outputs: dict[str, Tensor]
) -> None:
    results = run(model, name, inputs[name])
    expected = {key: value for key, value in outputs.items() if key.rpartition(".")[0] == name}
    assert set(results) == set(expected)
    for key, value in expected.items():
        tolerance = TOKENS
        if key.endswith(".embed"):
            tolerance = 3e-6 * max(1.0, float(value.norm(dim=-1).max()))
        elif key.endswith(".centers"):
            tolerance = 0.0
        difference = float((results[key] - value).abs().max())
        assert difference <= tolerance, f"{key} differs by {difference}"


@pytest.fixture(scope="module")
def model(reference_config, reference_weights) -> ImageBindModel:
    return imagebind_from_state_dict(reference_config, reference_weights)


@pytest.mark.parametrize("name", NAMES)
def test_reference_numbers(model, name, reference_inputs, reference_outputs):
    assert_parity(model, name, reference_inputs, reference_outputs)


def test_every_recorded_input_is_tested(reference_inputs):
    assert set(reference_inputs) == set(NAMES)


def test_scale_is_clipped(model, reference_inputs):
    assert model.modality_postprocessors["thermal"][1].log_logit_scale.exp() > 100
    out = model.features(Modality.THERMAL, reference_inputs["thermal"])
    torch.testing.assert_close(out.embedding.norm(dim=-1), torch.full((2,), 100.0))


@pytest.mark.parametrize("name", ["vision", "text", "audio", "imu", "point"])
def test_tanh_gelu_is_noticed(model, name, monkeypatch, reference_inputs, reference_outputs):
    monkeypatch.setattr(Mlp, "forward", lambda self, x: self.fc2(F.gelu(self.fc1(x), approximate="tanh")))
    with pytest.raises(AssertionError, match="differs by"):
        assert_parity(model, name, reference_inputs, reference_outputs)


@pytest.mark.parametrize("name", ["audio", "depth", "thermal", "imu"])
def test_missing_bias_key_is_noticed(
    name, reference_config, reference_weights, reference_inputs, reference_outputs
):
    part = getattr(reference_config, name)
    without = dataclasses.replace(part, trunk=dataclasses.replace(part.trunk, bias_kv=False))
    weights = {
        key: value
        for key, value in reference_weights.items()
        if not (key.startswith(f"modality_trunks.{name}.") and key.endswith(("bias_k", "bias_v")))
    }
    model = imagebind_from_state_dict(dataclasses.replace(reference_config, **{name: without}), weights)
    with pytest.raises(AssertionError, match="differs by"):
        assert_parity(model, name, reference_inputs, reference_outputs)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "vision_video"])
def test_wrong_epsilon_is_noticed(
    name, reference_config, reference_weights, reference_inputs, reference_outputs
):
    part = getattr(reference_config, name)
    other = 1e-6 if name == "point" else 1e-5
    wrong = dataclasses.replace(part, trunk=dataclasses.replace(part.trunk, norm_eps=other))
    config = dataclasses.replace(reference_config, **{name: wrong})
    model = imagebind_from_state_dict(config, reference_weights)
    with pytest.raises(AssertionError, match="differs by"):
        assert_parity(model, name, reference_inputs, reference_outputs)


def test_text_is_cut_after_its_last_readout(model, reference_inputs):
    """Fewer tokens are run for a short text, and the answer is that of the full length."""
    ids = reference_inputs["text"][:1]
    lengths = []
    handle = model.modality_trunks["text"].register_forward_hook(
        lambda _, args, out: lengths.append(out.shape[1])
    )
    with torch.no_grad():
        alone = model.encode(Modality.TEXT, ids)
        together = model.encode(Modality.TEXT, reference_inputs["text"])
    handle.remove()
    assert lengths == [int(ids.argmax()) + 1, 77]
    torch.testing.assert_close(alone[0], together[0], atol=2e-6, rtol=0)
