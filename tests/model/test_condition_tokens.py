"""Conditions of several vectors: what tokens attend to, by the published formula, and what is refused."""

import copy
import importlib

import pytest
import torch
from support.tiny import KINDS, conditions, language_model, make_model, open_gates, tokens
from torch.testing import assert_close

from imagebind_llm.common.errors import ConfigError, UserError
from imagebind_llm.model.adaptation import add_biases, add_lora
from imagebind_llm.model.bind import BindNetwork
from imagebind_llm.model.configuration import ImageBindLLMConfig
from imagebind_llm.model.families import DecoderShape, decoder_layers, family_of
from imagebind_llm.model.injection import Injection

CLOSE = {"atol": 1e-5, "rtol": 1e-4}
every_kind = pytest.mark.parametrize("kind", sorted(KINDS))


def first_attention(model, **given):
    """Input, rotation and output of the first layer's attention in one pass."""
    family = family_of(model.config.text_config.model_type)
    attention = decoder_layers(model.language_model)[0].get_submodule(family.attention)
    found = {}

    def look(module, args, kwargs, output):
        states = args[0] if args else kwargs["hidden_states"]
        found.update(states=states, rotation=kwargs["position_embeddings"], output=output[0])

    handle = attention.register_forward_hook(look, with_kwargs=True)
    model(tokens(), **given)
    handle.remove()
    return attention, found


@torch.no_grad()
def test_the_published_formula():
    """As in the published code's ``Attention.forward`` for ``adapter_len > 1``, with its biases."""
    model = make_model("llama", "tokens")
    add_lora(model, rank=2)
    add_biases(model)
    for name, parameter in model.language_model.named_parameters():
        if "lora_B" in name or name.endswith("bias"):
            parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(3))
    _, plain = first_attention(model)
    open_gates(model)
    attention, found = first_attention(model, conditions=conditions())
    shape = model.injection.shape
    rotate = importlib.import_module(type(attention).__module__).apply_rotary_pos_emb

    def heads(rows, count):
        return rows.view(*rows.shape[:-1], count, shape.head_dim).transpose(1, 2)

    adapter = model.bind(conditions()) + model.injection.query[0]
    assert adapter.shape == (2, 3, shape.width)
    keys = heads(adapter @ attention.k_proj.weight.T, shape.kv_heads)
    values = heads(adapter @ attention.v_proj.weight.T, shape.kv_heads)
    groups = shape.heads // shape.kv_heads
    keys, values = (part.repeat_interleave(groups, dim=1) for part in (keys, values))
    queries = heads(attention.q_proj(found["states"]), shape.heads)
    queries, _ = rotate(queries, queries, *found["rotation"])
    scores = queries @ keys.transpose(2, 3) / shape.head_dim**0.5
    gate = model.injection.gate[0].tanh()[None, :, None, None]
    seen = (gate * scores.softmax(-1) @ values).transpose(1, 2).flatten(2)
    bias = attention.o_proj(torch.zeros_like(seen))
    assert bias.abs().max() > 0.1
    added = attention.o_proj(seen) - bias
    assert_close(found["output"], plain["output"] + added, **CLOSE)


@torch.no_grad()
@every_kind
def test_equal_vectors_are_one_vector(kind):
    """Whatever the scores are, the mean of equal values is their value: the published style of one vector."""
    settings = {"injection": {"query": False}}
    one = open_gates(make_model(kind, "value", **copy.deepcopy(settings)))
    several = open_gates(make_model(kind, "tokens", **settings))
    state = one.bind.state_dict()
    for name in ("project.weight", "project.bias"):
        state[name] = torch.cat([state[name]] * 3)
    several.bind.load_state_dict(state)
    seen = torch.tensor([[-1, -1, 0, 0, 0, 1, 1], [1, 1, 1, -1, -1, 0, 0]])
    given = {"conditions": conditions(), "condition_ids": seen}
    assert_close(several(tokens(), **given).logits, one(tokens(), **given).logits, **CLOSE)


@torch.no_grad()
@every_kind
def test_scores_are_those_of_the_family_with_its_norms_and_rotation(kind):
    """The layer's own attention over the same keys would choose alike: its modules give the queries."""
    model = open_gates(make_model(kind, "tokens"))
    seen = {}
    attention, _ = first_attention(model, conditions=conditions(1))
    module = importlib.import_module(type(attention).__module__)
    original = module.ALL_ATTENTION_FUNCTIONS.get_interface

    def caught(*args):
        function = original(*args)

        def keep(own, queries, keys, values, *rest, **settings):
            if own is attention:
                seen.update(queries=queries, scale=settings.get("scaling"))
            return function(own, queries, keys, values, *rest, **settings)

        return keep

    given = model.condition_deltas(conditions(1)).select(torch.zeros(2, 7, dtype=torch.long))
    asked = {}
    given.attended = lambda queries, position, scale, real=given.attended: (
        asked.setdefault(position, (queries, scale)),
        real(queries, position, scale),
    )[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.ALL_ATTENTION_FUNCTIONS, "get_interface", caught)
        model(tokens(), deltas=given)
    queries, scale = asked[0]
    assert_close(queries, seen["queries"], **CLOSE)
    assert scale == pytest.approx(seen["scale"])


@torch.no_grad()
@pytest.mark.parametrize("bind", [{"tokens": 1}, {"tokens": 1, "encoder_tokens": 0}])
@pytest.mark.parametrize("style", ["residual", "value"])
def test_one_token_is_the_model_of_before_bit_for_bit(style, bind):
    model = open_gates(make_model("llama", style))
    told = open_gates(make_model("llama", style, bind=bind))
    assert told.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(told.state_dict()[name], tensor), name
    given = {"conditions": conditions()}
    assert torch.equal(told(tokens(), **given).logits, model(tokens(), **given).logits)


@torch.no_grad()
def test_rows_use_only_their_own_of_many_conditions():
    """Packed rows: a token's result does not depend on what other rows and tokens see."""
    model = open_gates(make_model("llama", "tokens"))
    many = conditions(9)
    seen = torch.tensor([[4, 4, 4, 7, 7, -1, -1], [8, 8, 0, 0, 0, 0, 0]])
    found = model.condition_deltas(many).select(seen)
    assert found._used.shape == (2, 3)
    full = model(tokens(), conditions=many, condition_ids=seen).logits
    moved = torch.tensor([[0, 0, 0, 1, 1, -1, -1]])
    alone = model(tokens()[:1], conditions=many[[4, 7]], condition_ids=moved).logits
    assert_close(full[:1], alone, **CLOSE)


def test_gradients_reach_every_vector():
    model = open_gates(make_model("llama", "tokens"))
    seen = torch.tensor([[-1, -1, 0, 0, 0, 1, 1], [1, 1, 1, -1, -1, 0, 0]])
    model(tokens(), conditions=conditions(), condition_ids=seen, labels=tokens()).loss.backward()
    rows = model.bind.project.weight.grad.view(3, -1).abs().sum(1)
    assert (rows > 0).all()
    assert (model.injection.query.grad.flatten(2).abs().sum(2) > 0).all()
    assert (model.injection.gate.grad.abs() > 0).all()


def test_a_step_from_closed_gates_opens_them_only():
    model = make_model("llama", "tokens")
    model(tokens(), conditions=conditions(), labels=tokens()).loss.backward()
    assert model.injection.gate.grad.abs().sum() > 0
    assert model.bind.project.weight.grad.abs().sum() == 0


@pytest.mark.parametrize("tokens", [0, -1, 257, True, 1.5, "4", None, [2]])
def test_impossible_numbers_of_tokens_are_refused(tokens):
    with pytest.raises(ConfigError, match=r"bind\.tokens"):
        ImageBindLLMConfig(bind={"tokens": tokens})
    with pytest.raises(ConfigError, match=r"bind\.tokens"):
        BindNetwork(4, 8, tokens=tokens)


def test_the_residual_style_has_nothing_to_attend_with():
    shape = DecoderShape.of(language_model().config)
    with pytest.raises(ConfigError, match=r"bind\.tokens is 4, but injection style 'residual'"):
        Injection(shape, "residual", tokens=4)
    with pytest.raises(ConfigError, match=r"set injection\.style to 'value'"):
        ImageBindLLMConfig(bind={"tokens": 4})


def test_shapes_and_the_count_of_weights():
    network = BindNetwork(6, 8, depth=1, tokens=4)
    assert network(torch.randn(5, 6)).shape == (5, 4, 8)
    assert network.project.weight.shape == (32, 6)
    one = BindNetwork(6, 8, depth=1)
    assert one(torch.randn(5, 6)).shape == (5, 8)
    assert [p.shape for p in one.blocks.parameters()] == [p.shape for p in network.blocks.parameters()]


def test_vllm_refuses_what_it_cannot_attend_to():
    from imagebind_llm.serving.vllm.plain import check_supported

    check_supported(make_model("llama", "value"))
    with pytest.raises(UserError, match="3 vectors that tokens attend to"):
        check_supported(make_model("llama", "tokens"))


def test_the_doctor_and_info_say_how_many(tmp_path):
    from imagebind_llm.checkpoints.doctor import diagnose
    from imagebind_llm.checkpoints.summary import summary

    model = make_model("llama", "tokens")
    model.save_pretrained(tmp_path)
    assert diagnose(str(tmp_path), self_test=False).facts["model"]["injection"] == (
        "value, 3 layers, 3 tokens a condition"
    )
    assert summary(tmp_path)["bind"]["tokens"] == 3
