"""An assistant whose model asks for the encoder's tokens: one rule, whichever way media come in."""

import pytest
import torch
from torch.testing import assert_close

from imagebind_llm import Assistant, ImageBindLLMConfig, ImageBindLLMForConditionalGeneration
from imagebind_llm.common.modality import Modality
from imagebind_llm.media.batch import MediaBatch, MediaPart
from imagebind_llm.model.messages import Embedded


@pytest.fixture(scope="module")
def seeing(bot):
    """The tiny model's language model and encoder around another bind network."""
    values = bot.model.config.to_dict()
    names = ("text_config", "encoder_config", "embedding_dim", "media")
    config = ImageBindLLMConfig(
        **{name: values[name] for name in names},
        bind={"tokens": 1, "encoder_tokens": 4},
        injection={"style": "value"},
    )
    torch.manual_seed(1)
    model = ImageBindLLMForConditionalGeneration(config).eval()
    model.encoder.load_state_dict(bot.model.encoder.state_dict())
    model.language_model.load_state_dict(bot.model.language_model.state_dict())
    model.generation_config = bot.model.generation_config
    torch.nn.init.constant_(model.injection.gate, 2.0)
    return Assistant(model, bot.processor)


def told(assistant, **media):
    """The conditions of a question about media."""
    perception = assistant._perception
    from imagebind_llm.inference.request import Options
    from imagebind_llm.model.messages import media_items

    pending = perception.start_conditions([media_items(media)], Options(), perception.batch())
    (found,) = perception.finish_conditions([pending])
    return found.rows


def test_conditions_are_those_of_the_model(seeing, media_folder):
    red, blue = str(media_folder / "red.png"), str(media_folder / "blue.png")
    rows = told(seeing, image=[red, blue], text="a dog")
    load = seeing.processor.media.load
    parts = [
        MediaPart(Modality(kind), load(Modality(kind), source, seeing.processor.limits))
        for kind, source in (("image", red), ("image", blue), ("text", "a dog"))
    ]
    assert rows.shape == (1, 5, 28)
    assert_close(rows, seeing.model.embed_media(MediaBatch.collate([parts])), atol=1e-5, rtol=0)
    again = told(seeing, image=[red, blue], text="a dog")  # remembered
    assert torch.equal(again, rows)


def test_embeddings_are_still_single_vectors(seeing, bot, media_folder):
    picture = str(media_folder / "red.png")
    assert_close(seeing.embed(image=picture), bot.embed(image=picture), atol=1e-5, rtol=0)
    assert seeing.condition(image=picture).shape == (28,)
    vector = seeing.embed(image=picture)[0]
    given = told(seeing, image=Embedded(vector.numpy()))
    assert_close(given, vector.expand(1, 5, 28), atol=1e-6, rtol=0)


def test_answers_about_pictures_and_about_what_has_no_tokens(seeing, media_folder):
    picture = str(media_folder / "red.png")
    requests = [
        {"question": "what?", "image": picture},
        {"question": "what?", "text": "a dog"},
        {"question": "what?", "image": picture, "text": "a dog"},
        "just words",
    ]
    alone = [seeing.ask_batch([request])[0].text for request in requests]
    assert [answer.text for answer in seeing.ask_batch(requests)] == alone
    bind = seeing.model.bind
    before = bind.project_tokens.weight.clone()
    with torch.no_grad():
        bind.project_tokens.weight.neg_()
        bind.project_tokens.bias.add_(1.0)
    try:
        assert seeing.ask_batch(requests[:1])[0].text != alone[0]
        assert seeing.ask_batch(requests[3:])[0].text == alone[3]
    finally:
        with torch.no_grad():
            bind.project_tokens.weight.copy_(before)
            bind.project_tokens.bias.sub_(1.0)
