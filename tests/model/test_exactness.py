"""What injection must not change, and that what it adds is the same on every way through a model."""

import copy
import threading

import pytest
import torch
from support.tiny import KINDS, conditions, language_model, make_model, open_gates, tokens
from torch.testing import assert_close

from imagebind_llm.common.errors import ConfigError, UserError
from imagebind_llm.model.adaptation import add_lora, merge_lora
from imagebind_llm.model.families import DecoderShape, bare_projections, decoder_layers, family_of
from imagebind_llm.model.injection import Injection, resolve_layers

STYLES = ("residual", "value", "tokens")
CLOSE = {"atol": 1e-5, "rtol": 1e-4}

every_kind = pytest.mark.parametrize("kind", sorted(KINDS))
both_styles = pytest.mark.parametrize("style", STYLES)


def cached_logits(call, ids, split=4):
    """Logits of ``ids`` by a prefill of ``split`` tokens and single steps with the key-value cache."""
    out = call(ids[:, :split], slice(0, split), None)
    found = [out.logits]
    for step in range(split, ids.shape[1]):
        out = call(ids[:, step : step + 1], slice(step, step + 1), out.past_key_values)
        found.append(out.logits)
    return torch.cat(found, dim=1)


@torch.no_grad()
@every_kind
@both_styles
def test_closed_gates_and_no_condition_leave_the_logits_identical(kind, style):
    base = language_model(kind)
    ids = tokens()
    full = base(ids).logits
    stepwise = cached_logits(lambda t, _, past: base(t, past_key_values=past, use_cache=True), ids)
    model = make_model(kind, style)
    for seen, gates in ((None, "closed"), (torch.full_like(ids, -1), "open")):
        if gates == "open":
            open_gates(model)
        assert torch.equal(model(ids, conditions=conditions(), condition_ids=seen).logits, full)

        def call(chunk, where, past, seen=seen):
            part = None if seen is None else seen[:, where]
            return model(
                chunk, conditions=conditions(), condition_ids=part, past_key_values=past, use_cache=True
            )

        assert torch.equal(cached_logits(call, ids), stepwise)
    assert torch.equal(model(ids).logits, full)
    changed = model(ids, conditions=conditions()).logits
    assert not torch.allclose(changed, full, atol=1e-2)
    model.injection.detach()
    assert torch.equal(model.language_model(ids).logits, full)
    assert model.language_model.state_dict().keys() == base.state_dict().keys()
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.language_model.modules())


@torch.no_grad()
@every_kind
@both_styles
def test_cache_batch_padding_and_beams(kind, style):
    model = open_gates(make_model(kind, style))
    ids, seen = tokens(), torch.tensor([[-1, -1, 0, 0, 0, 1, 1], [2, 2, 2, -1, -1, 0, 0]])
    three = conditions(3)
    full = model(ids, conditions=three, condition_ids=seen).logits
    deltas = model.condition_deltas(three)

    def call(chunk, where, past):
        return model(chunk, deltas=deltas, condition_ids=seen[:, where], past_key_values=past, use_cache=True)

    assert_close(cached_logits(call, ids), full, **CLOSE)
    for row in range(2):
        alone = model(ids[row : row + 1], conditions=three, condition_ids=seen[row : row + 1]).logits
        assert_close(alone, full[row : row + 1], **CLOSE)
    settings = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False, "pad_token_id": 0}
    singles = [
        model.generate(input_ids=ids[:1], conditions=three, condition_ids=seen[:1], **settings)[0, 7:],
        model.generate(input_ids=ids[1:, 2:], conditions=three, condition_ids=seen[1:, 2:], **settings)[
            0, 5:
        ],
    ]
    padded, mask = ids.clone(), torch.ones_like(ids)
    padded[1, :2] = mask[1, :2] = 0
    together = model.generate(
        input_ids=padded, attention_mask=mask, conditions=three, condition_ids=seen, **settings
    )
    assert together[:, 7:].tolist() == [single.tolist() for single in singles]
    beams = {**settings, "num_beams": 3, "attention_mask": mask}
    pair = model.generate(input_ids=padded, conditions=three, condition_ids=seen, **beams)
    beams["attention_mask"] = torch.ones(1, 5, dtype=torch.long)
    alone = model.generate(input_ids=ids[1:, 2:], conditions=three, condition_ids=seen[1:, 2:], **beams)
    assert pair[1, 7:].tolist() == alone[0, 5:].tolist()


@torch.no_grad()
@both_styles
def test_generation_sees_the_condition_of_the_last_prompt_token(style):
    model = open_gates(make_model("llama", style))
    ids, seen, two = tokens(), torch.tensor([[0, 0, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, 1, -1]]), conditions()
    steps = 4
    out = model.generate(
        input_ids=ids, conditions=two, condition_ids=seen, max_new_tokens=steps, do_sample=False,
        eos_token_id=None, return_dict_in_generate=True, output_logits=True, use_cache=True,
    )  # fmt: skip
    extended = torch.cat((seen, seen[:, -1:].expand(-1, steps)), dim=1)
    full = model(out.sequences, conditions=two, condition_ids=extended).logits[:, 6:-1]
    assert_close(torch.stack(out.logits, dim=1), full, **CLOSE)
    without_cache = model.generate(
        input_ids=ids, conditions=two, condition_ids=seen, max_new_tokens=steps, do_sample=False,
        eos_token_id=None, use_cache=False,
    )  # fmt: skip
    assert torch.equal(without_cache, out.sequences)


@torch.no_grad()
@pytest.mark.parametrize(
    "way",
    [
        {"prefill_chunk_size": 3},
        {"cache_implementation": "static", "disable_compile": True},
        {"embeds": True},
    ],
    ids=["chunked prefill", "static cache", "embeddings"],
)
@both_styles
def test_other_ways_to_generate_give_the_same_tokens(way, style):
    way = dict(way)
    model = open_gates(make_model("llama", style))
    seen = torch.tensor([[0, 0, 0, 1, 1, -1, 0], [1, 1, -1, 0, 0, 0, 1]])
    settings = {"condition_ids": seen, "conditions": conditions(), "max_new_tokens": 5, "do_sample": False}
    settings |= {"eos_token_id": None, "attention_mask": torch.ones_like(seen)}
    expected = model.generate(input_ids=tokens(), **settings)[:, 7:]
    if way.pop("embeds", False):
        embeds = model.get_input_embeddings()(tokens())
        assert torch.equal(model.generate(inputs_embeds=embeds, **settings), expected)
    else:
        assert torch.equal(model.generate(input_ids=tokens(), **settings, **way)[:, 7:], expected)


@torch.no_grad()
def test_deltas_are_computed_once_per_generation(monkeypatch):
    model = open_gates(make_model())
    calls = []
    bind = model.bind.forward
    monkeypatch.setattr(model.bind, "forward", lambda given: calls.append(1) or bind(given))
    model.generate(input_ids=tokens(), conditions=conditions(), max_new_tokens=6, eos_token_id=None)
    assert len(calls) == 1


def test_a_step_that_sees_the_same_is_gathered_once():
    """What is kept between decode steps never outlives a change of what rows see, nor enters a gradient."""
    model = open_gates(make_model())
    deltas = model.condition_deltas(conditions())
    ids = torch.tensor([[0], [1], [-1]])
    with torch.no_grad():
        first = deltas.select(ids)
        assert deltas.select(ids.clone()) is first
        assert deltas.select(ids.expand(3, 2)) is not first
        ids[0] = 1  # in place
        changed = deltas.select(ids)
        states = torch.zeros(3, 1, deltas.tensor.shape[-1])
        for position, layer in enumerate(deltas.tensor):
            assert torch.equal(first.add_to(states, position)[:, 0], torch.stack([*layer, layer[0] * 0]))
            expected = torch.stack([layer[1], layer[1], layer[0] * 0])
            assert torch.equal(changed.add_to(states, position)[:, 0], expected)
    learned = deltas.select(ids)
    assert learned is not changed
    assert learned.add_to(torch.zeros(3, 1, deltas.tensor.shape[-1]), 0).requires_grad


@torch.no_grad()
def test_sampling_and_streaming():
    from transformers import TextStreamer

    class Ids(TextStreamer):
        def __init__(self):
            self.seen = []

        def put(self, value):
            self.seen += value.flatten().tolist()

        def end(self):
            self.seen.append("end")

    model = open_gates(make_model())
    streamer = Ids()
    torch.manual_seed(0)
    out = model.generate(
        input_ids=tokens(1), conditions=conditions(1), max_new_tokens=6, do_sample=True, top_p=0.75,
        temperature=0.8, streamer=streamer, eos_token_id=None,
    )  # fmt: skip
    assert streamer.seen == [*out[0].tolist(), "end"]
    torch.manual_seed(0)
    several = model.generate(
        input_ids=tokens(), conditions=conditions(), max_new_tokens=3, do_sample=True, num_return_sequences=3
    )
    assert several.shape[0] == 6


@pytest.mark.parametrize("kind", ["llama", "gpt_neox", "gemma2"])
@both_styles
def test_gradient_checkpointing_gives_equal_gradients(kind, style):
    gradients = []
    for checkpointing in (False, True):
        model = open_gates(make_model(kind, style)).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
            assert any(getattr(m, "gradient_checkpointing", False) for m in model.modules())
        ids = tokens()
        model(ids, conditions=conditions(), labels=ids, use_cache=False).loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
        assert model.bind.project.weight.grad.abs().sum() > 0
    for name, gradient in gradients[0].items():
        assert_close(gradients[1][name], gradient, atol=1e-7, rtol=1e-5, msg=name)


@torch.no_grad()
@both_styles
def test_packed_row_equals_separate_rows(style):
    model = open_gates(make_model("llama", style))
    first, second = tokens(1, 4), tokens(1, 3, seed=8)
    packed = torch.cat((first, second), dim=1)
    part = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    allowed = (part[:, None] == part[None]) & torch.ones(7, 7, dtype=torch.bool).tril()
    mask = torch.zeros(1, 1, 7, 7).masked_fill(~allowed, torch.finfo(torch.float32).min)
    found = model(
        packed,
        attention_mask=mask,
        position_ids=torch.tensor([[0, 1, 2, 3, 0, 1, 2]]),
        conditions=conditions(),
        condition_ids=part[None],
    ).logits
    assert_close(found[:, :4], model(first, conditions=conditions()[:1]).logits, **CLOSE)
    assert_close(found[:, 4:], model(second, conditions=conditions()[1:]).logits, **CLOSE)


@torch.no_grad()
@both_styles
def test_threads_do_not_see_each_other(style):
    model = open_gates(make_model("llama", style))
    expected = {seed: model(tokens(seed=seed), conditions=conditions(seed=seed)).logits for seed in range(4)}
    wrong = []

    def work(seed):
        for _ in range(10):
            if not torch.equal(
                model(tokens(seed=seed), conditions=conditions(seed=seed)).logits, expected[seed]
            ):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@torch.no_grad()
@pytest.mark.parametrize("style", ["value", "tokens"])
def test_a_copy_is_independent(style):
    model = open_gates(make_model("llama", style))
    before = model(tokens(), conditions=conditions()).logits
    twin = copy.deepcopy(model)
    twin.injection.gate.zero_()
    twin.language_model.model.layers[0].self_attn.v_proj.weight.zero_()
    assert torch.equal(model(tokens(), conditions=conditions()).logits, before)
    twin.injection.detach()
    assert torch.equal(model(tokens(), conditions=conditions()).logits, before)


@torch.no_grad()
@both_styles
def test_compiled_graph_has_no_break(style):
    model = open_gates(make_model("llama", style))
    deltas, ids = model.condition_deltas(conditions()), tokens()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    seen = torch.tensor([[0] * 7, [1] * 7])
    found = compiled(ids, deltas=deltas, condition_ids=seen, use_cache=False).logits
    assert_close(found, model(ids, deltas=deltas, condition_ids=seen, use_cache=False).logits, **CLOSE)


@torch.no_grad()
@every_kind
def test_value_style_is_attention_to_one_more_token(kind):
    """The delta is what the output projection makes of gated values, as the family's own modules have it."""
    model = open_gates(make_model(kind, "value"))
    family, shape = family_of(kind), model.injection.shape
    bound = model.bind(conditions())
    found = model.injection.deltas(bound).tensor
    for index, layer in enumerate(decoder_layers(model.language_model)):
        attention = layer.get_submodule(family.attention)
        states = bound + model.injection.query[index]
        values = values_of(kind, attention, states, shape)
        gated = values * torch.tanh(model.injection.gate[index])[:, None]
        output = layer.get_submodule(family.output)
        expected = output(gated.flatten(1)) - output(torch.zeros_like(gated.flatten(1)))
        assert_close(found[index], expected, **CLOSE)


def values_of(kind, attention, states, shape):
    """``[N, heads, head_dim]`` values without bias, the way the family's attention splits its projections."""
    if kind == "gpt_neox":
        stacked = attention.query_key_value(states) - attention.query_key_value(torch.zeros_like(states))
        return stacked.view(len(states), shape.heads, 3 * shape.head_dim).chunk(3, dim=-1)[2]
    if kind == "phi3":
        stacked = attention.qkv_proj(states)
        start = (shape.heads + shape.kv_heads) * shape.head_dim
        values = stacked[:, start:]
    else:
        values = attention.v_proj(states) - attention.v_proj(torch.zeros_like(states))
    grouped = values.view(len(states), shape.kv_heads, shape.head_dim)
    return grouped.repeat_interleave(shape.heads // shape.kv_heads, dim=1)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["llama", "qwen2", "phi3", "gpt_neox"])
@both_styles
def test_merged_updates_give_the_same_logits(kind, style):
    model = open_gates(make_model(kind, style))
    add_lora(model, rank=3, scale=2.0)
    for name, parameter in model.language_model.named_parameters():
        if "lora_B" in name:
            parameter.normal_(std=0.3)
    before = model(tokens(), conditions=conditions()).logits
    merge_lora(model)
    assert_close(model(tokens(), conditions=conditions()).logits, before, **CLOSE)
    left = [name for name, _ in model.language_model.named_modules() if name.endswith("lora_A")]
    maps = len(bare_projections(family_of(kind), model.injection.style, model.bind.tokens))
    assert maps == {"residual": 0, "value": 1, "tokens": 2 if kind in ("llama", "qwen2") else 1}[style]
    assert len(left) == 3 * maps
    assert (model.config.lora is None) == (style == "residual")


def test_values_from_a_folded_projection_are_refused():
    model = make_model("llama", "value")
    add_lora(model, rank=3)
    model.language_model.model.layers[1].self_attn.v_proj.merge()
    with pytest.raises(ConfigError, match="folded"):
        model.condition_deltas(conditions())


@torch.no_grad()
@both_styles
def test_some_layers(style):
    model = open_gates(make_model("llama", style, injection={"layers": 2}))
    assert model.injection.layers == (1, 2)
    assert model.injection.gate.shape[0] == 2
    base = make_model("llama", style)
    hidden = [
        m(tokens(), conditions=conditions(), output_hidden_states=True).hidden_states for m in (model, base)
    ]
    assert torch.equal(hidden[0][1], hidden[1][1])
    assert not torch.allclose(hidden[0][-1], hidden[1][-1])


def test_layer_choice():
    assert resolve_layers(None, 3) == (0, 1, 2)
    assert resolve_layers([2, 0], 3) == (0, 2)
    for wrong in (0, 4, [3], [-1], [1, 1], [], "odd", True, 1.5, ["0"], [True]):
        with pytest.raises(ConfigError):
            resolve_layers(wrong, 3)


def test_refusals():
    base = language_model("llama")
    shape = DecoderShape.of(base.config)
    Injection(shape).attach(base)
    with pytest.raises(ConfigError, match="already has an injection"):
        Injection(shape, "value").attach(base)
    with pytest.raises(ConfigError, match="kv_heads=5"):
        Injection(shape).attach(language_model("qwen2"))
    with pytest.raises(ConfigError, match="'bloom' are not known; known are gemma"):
        family_of("bloom")
    model = make_model()
    for wrong, message in (
        ({"condition_ids": torch.full((2, 7), 2), "conditions": conditions()}, "span 2 … 2"),
        ({"condition_ids": torch.full((2, 7), -2), "conditions": conditions()}, "span -2"),
        ({"condition_ids": torch.zeros(2, 6, dtype=torch.long), "conditions": conditions()}, r"\[2, 6\]"),
        ({"conditions": conditions(3)}, "3 conditions for 2 rows"),
        ({"condition_ids": torch.zeros(2, 7, dtype=torch.long)}, "neither conditions nor media"),
        ({"conditions": conditions(), "deltas": model.condition_deltas(conditions())}, "only one"),
    ):
        with pytest.raises(UserError, match=message):
            model(tokens(), **wrong)


@torch.no_grad()
@both_styles
def test_in_bfloat16(style):
    model = open_gates(make_model("llama", style)).to(torch.bfloat16)
    base = language_model("llama").to(torch.bfloat16)
    nothing = torch.full((2, 7), -1)
    assert torch.equal(
        model(tokens(), conditions=conditions(), condition_ids=nothing).logits, base(tokens()).logits
    )
    assert model(tokens(), conditions=conditions()).logits.dtype == torch.bfloat16


@torch.no_grad()
@every_kind
def test_the_output_projection_sees_only_the_positions_asked_for(kind):
    model = open_gates(make_model(kind))
    ids, given = tokens(), {"conditions": conditions()}
    full = model(ids, **given).logits
    widths = []
    head = model.get_output_embeddings()
    handle = head.register_forward_pre_hook(lambda _, args: widths.append(args[0].shape[1]))
    assert_close(model(ids, **given, logits_to_keep=1).logits, full[:, -1:], **CLOSE)
    assert_close(model(ids, **given, logits_to_keep=3).logits, full[:, -3:], **CLOSE)
    some = torch.tensor([1, 4])
    assert_close(model(ids, **given, logits_to_keep=some).logits, full[:, some], **CLOSE)
    model.generate(ids, **given, max_new_tokens=2, eos_token_id=None, do_sample=False)
    handle.remove()
    assert widths == [1, 3, 2, 1, 1]


@torch.no_grad()
def test_language_models_that_know_no_logits_to_keep(monkeypatch):
    model = open_gates(make_model())
    ids, given = tokens(), {"conditions": conditions()}
    full = model(ids, **given).logits
    expected = model.generate(ids, **given, max_new_tokens=4, do_sample=False)
    kind = type(model.language_model)
    real = kind.forward

    def forward(
        self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None,
        inputs_embeds=None, use_cache=None, condition_deltas=None, output_attentions=None,
        output_hidden_states=None,
    ):  # fmt: skip
        return real(
            self, input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids,
            past_key_values=past_key_values, inputs_embeds=inputs_embeds, use_cache=use_cache,
            condition_deltas=condition_deltas,
        )  # fmt: skip

    monkeypatch.setattr(kind, "forward", forward)
    assert torch.equal(model(ids, **given, logits_to_keep=2).logits, full[:, -2:])
    some = torch.tensor([1, 4])
    assert torch.equal(model(ids, **given, logits_to_keep=some).logits, full[:, some])
    assert torch.equal(model.generate(ids, **given, max_new_tokens=4, do_sample=False), expected)


def test_a_loss_needs_all_logits():
    model = make_model()
    with pytest.raises(UserError, match="logits_to_keep was given together with labels"):
        model(tokens(), labels=tokens(), logits_to_keep=1)


@torch.no_grad()
@both_styles
@pytest.mark.parametrize("guesses", [1, 3, 6])
def test_looked_up_tokens_see_what_their_prompt_sees(style, guesses):
    """Prompt lookup only makes it faster: each guess is judged with the condition of the prompt's end."""
    model = open_gates(make_model("llama", style))
    ids = tokens(1, 4).repeat(1, 4)  # something to look up
    seen = torch.tensor([[-1] * 5 + [0] * 5 + [1] * 6])
    settings = {"max_new_tokens": 24, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    calls = []
    model.register_forward_pre_hook(
        lambda _, __, kwargs: calls.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    for given in ({"conditions": conditions(), "condition_ids": seen}, {"conditions": conditions()[:1]}, {}):
        plain = model.generate(input_ids=ids, **given, **settings)
        calls.clear()
        looked_up = model.generate(
            input_ids=ids, **given, **settings, prompt_lookup_num_tokens=guesses, max_matching_ngram_size=1
        )
        assert torch.equal(looked_up, plain)
        assert max(calls[1:]) > 1, "no guess was made"


def test_assistants_that_know_no_conditions_are_refused():
    model, other = make_model(), language_model(seed=6)
    with pytest.raises(UserError, match="prompt_lookup_num_tokens"):
        model.generate(input_ids=tokens(1), conditions=conditions(1), assistant_model=other, max_new_tokens=4)
    settings = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    plain = model.generate(input_ids=tokens(1), **settings)
    assert torch.equal(model.generate(input_ids=tokens(1), assistant_model=other, **settings), plain)
