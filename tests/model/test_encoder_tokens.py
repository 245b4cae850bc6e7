"""Conditions with groups of the encoder's tokens: exactness without, mixtures, the cache, what is refused."""

import json

import pytest
import torch
from support.tiny import D, conditions, make_model, open_gates, tokens
from torch.testing import assert_close

from imagebind_llm.common.errors import CheckpointError, ConfigError
from imagebind_llm.common.modality import Modality
from imagebind_llm.media.batch import MediaBatch, MediaPart
from imagebind_llm.model.bind import BindNetwork
from imagebind_llm.model.conditioning import mix, mixtures, move_towards_cache
from imagebind_llm.model.configuration import ImageBindLLMConfig
from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration
from imagebind_llm.model.parts import with_stand_ins

BIND = {"tokens": 2, "encoder_tokens": 4}
VALUE = {"style": "value"}


def with_parts(count=2, groups=4, seed=4):
    found = torch.randn(count, 1 + groups, D, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(found, dim=-1)


def small():
    return open_gates(make_model("llama", "value", bind=BIND))


@pytest.fixture(scope="module")
def whole(tiny_model_folder):
    """The tiny model with its encoder, around a new bind network that asks for tokens of pictures."""
    plain = ImageBindLLMForConditionalGeneration.from_pretrained(tiny_model_folder)
    values = {**plain.config.to_dict(), "bind": BIND, "injection": VALUE}
    config = ImageBindLLMConfig(
        **{
            key: values[key]
            for key in ("text_config", "encoder_config", "embedding_dim", "bind", "injection")
        }
    )
    torch.manual_seed(1)
    model = ImageBindLLMForConditionalGeneration(config).eval()
    model.encoder.load_state_dict(plain.encoder.state_dict())
    model.language_model.load_state_dict(plain.language_model.state_dict())
    return open_gates(model)


@torch.no_grad()
def test_each_group_becomes_a_vector_by_the_same_map_and_blocks():
    network = BindNetwork(6, 8, depth=1, tokens=2, encoder_tokens=3)
    rows = torch.randn(5, 4, 6)
    found = network(rows)
    assert found.shape == (5, 5, 8)
    assert network.tokens == 5
    assert network.project.weight.shape == (16, 6)
    plain = BindNetwork(6, 8, depth=1, tokens=2)
    plain.load_state_dict({k: v for k, v in network.state_dict().items() if "project_tokens" not in k})
    assert torch.equal(found[:, :2], plain(rows[:, 0]))
    for group in range(3):
        assert_close(found[:, 2 + group], network.blocks[0](network.project_tokens(rows[:, 1 + group])))


@torch.no_grad()
def test_a_vector_stands_in_where_there_are_no_tokens():
    model = small()
    given = with_stand_ins(conditions(), 4)
    assert given.shape == (2, 5, D)
    assert_close(model(tokens(), conditions=conditions()).logits, model(tokens(), conditions=given).logits)
    assert not torch.allclose(
        model(tokens(), conditions=conditions()).logits, model(tokens(), conditions=with_parts()).logits
    )
    with pytest.raises(ValueError, match=r"\[2, 4, 28\]; expected \[N, 28\] or \[N, 5, 28\]"):
        model(tokens(), conditions=with_parts(groups=3))
    with pytest.raises(ValueError, match=r"expected \[N, 28\]$"):
        make_model("llama", "value")(tokens(), conditions=with_parts())


@torch.no_grad()
def test_each_group_counts():
    model = small()
    before = model(tokens(), conditions=with_parts()).logits
    for group in range(5):
        changed = with_parts()
        changed[:, group] = -changed[:, group]
        assert (model(tokens(), conditions=changed).logits - before).abs().max() > 1e-4, group


def test_gradients_reach_their_map():
    model = small()
    model(tokens(), conditions=with_parts(), labels=tokens()).loss.backward()
    assert (model.bind.project_tokens.weight.grad.abs().sum(1) > 0).all()
    assert (model.injection.query.grad.flatten(2).abs().sum(2) > 0).all()
    assert model.injection.query.shape[1] == 6


def test_mixtures_lay_their_groups_on_top_of_each_other():
    rows = with_parts(3)
    weights, index = torch.tensor([2.0, -1.0, 1.0]), torch.tensor([0, 0, 1])
    mixed = mix(rows, weights, index, 2)
    for part in range(5):
        assert torch.equal(mixed[:, part], mix(rows[:, part], weights, index, 2))
    assert_close(mixtures([[(rows[0], 2.0), (rows[1], -1.0)], [(rows[2], 1.0)]]), mixed)


def test_the_cache_moves_vectors_and_their_groups_go_along():
    class Cache:
        def enhance(self, embeddings, **settings):
            assert embeddings.shape == (1, D)
            return target

    target = conditions(1, seed=8)
    rows = torch.cat((with_parts(1), with_stand_ins(conditions(1), 4), with_parts(1, seed=5)))
    for chosen in (0, 1):
        found = move_towards_cache(rows, [chosen == 0, chosen == 1, False], Cache(), {})
        assert torch.equal(found[chosen, :1], target)
        assert_close(found[chosen, 1:] - rows[chosen, 1:], (target - rows[chosen, :1]).expand(4, D))
        others = [number for number in range(3) if number != chosen]
        assert torch.equal(found[others], rows[others])
    assert_close(move_towards_cache(rows, [False, True, False], Cache(), {})[1], target.expand(5, D))


@torch.no_grad()
def test_media_bring_their_tokens_where_they_are_asked_for(whole):
    generator = torch.Generator().manual_seed(2)
    picture = torch.randn(3, 32, 32, generator=generator)
    depth = torch.randn(1, 32, 32, generator=generator)
    batch = MediaBatch.collate(
        [[MediaPart(Modality.IMAGE, picture)], [MediaPart(Modality.DEPTH, depth)],
         [MediaPart(Modality.IMAGE, picture), MediaPart(Modality.DEPTH, depth)]]
    )  # fmt: skip
    rows = whole.embed_media(batch)
    assert rows.shape == (3, 5, 28)
    seen = whole.encoder.encode(Modality.IMAGE, picture[None])[0]
    assert_close(rows[0, 0], seen, atol=1e-5, rtol=0)
    assert (rows[0, 1:] - seen).abs().max() > 0.01
    felt = whole.encoder.encode(Modality.DEPTH, depth[None])[0]
    assert_close(rows[1], felt.expand(5, 28), atol=1e-5, rtol=0)
    assert_close(rows[2], (rows[0] + rows[1]) / 2, atol=1e-5, rtol=0)
    ids = torch.randint(3, 200, (3, 6), generator=generator)
    told = whole.generate(input_ids=ids, media=batch, max_new_tokens=4, do_sample=False)
    assert torch.equal(
        told, whole.generate(input_ids=ids, conditions=rows, max_new_tokens=4, do_sample=False)
    )
    assert_close(whole(ids, media=batch).logits, whole(ids, conditions=rows).logits)


@torch.no_grad()
def test_saved_and_loaded_strictly(whole, tmp_path):
    whole.save_pretrained(tmp_path)
    again = ImageBindLLMForConditionalGeneration.from_pretrained(tmp_path)
    assert again.config.bind["encoder_tokens"] == 4
    ids, given = torch.arange(3, 9)[None], with_parts(1)
    assert torch.equal(again(ids, conditions=given).logits, whole(ids, conditions=given).logits)
    values = json.loads((tmp_path / "config.json").read_text())
    values["bind"]["encoder_tokens"] = 0
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="other shapes than its config"):
        ImageBindLLMForConditionalGeneration.from_pretrained(tmp_path)


@pytest.mark.parametrize("count", [-1, 256, True, 1.5, "4", None])
def test_impossible_numbers_of_groups_are_refused(count):
    with pytest.raises(ConfigError, match=r"bind\.encoder_tokens"):
        ImageBindLLMConfig(bind={"encoder_tokens": count}, injection=VALUE)


def test_the_residual_style_has_nothing_to_attend_with():
    with pytest.raises(ConfigError, match=r"bind\.encoder_tokens is 4, .* set injection\.style to 'value'"):
        ImageBindLLMConfig(bind={"encoder_tokens": 4})


def test_an_encoder_without_such_tokens_is_refused(whole):
    values = {"embedding_dim": 28, "injection": VALUE, "encoder_config": whole.config.encoder_config}
    config = ImageBindLLMConfig(
        text_config=whole.config.text_config, bind={**BIND, "tokens_of": ["image", "text"]}, **values
    )
    with pytest.raises(ConfigError, match=r"gives no tokens of text \(it does of audio, depth, image"):
        ImageBindLLMForConditionalGeneration(config)

    class Plain(torch.nn.Module):
        settings = {"type": "plain"}  # noqa: RUF012

    config = ImageBindLLMConfig(text_config=whole.config.text_config, bind=BIND, **values)
    with pytest.raises(ConfigError, match="encoders of type plain give no tokens; set bind"):
        ImageBindLLMForConditionalGeneration(config, encoder=Plain())


def test_the_doctor_counts_them(tmp_path):
    from imagebind_llm.checkpoints.doctor import diagnose

    small().save_pretrained(tmp_path)
    facts = diagnose(str(tmp_path), self_test=False).facts["model"]
    assert facts["injection"] == "value, 3 layers, 6 tokens a condition"
