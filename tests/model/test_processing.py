"""Messages → tensors."""

import json

import pytest
import torch

from imagebind_llm import ImageBindLLMForConditionalGeneration, ImageBindLLMProcessor
from imagebind_llm.common.errors import CheckpointError, ConfigError, UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.media import MediaError


@pytest.fixture(scope="module")
def processor(tiny_model_folder):
    return ImageBindLLMProcessor.from_pretrained(tiny_model_folder)


@pytest.fixture(scope="module")
def dialogs(media_folder):
    def turn(words, *media):
        return {"role": "user", "content": [*media, {"type": "text", "text": words}]}

    red = {"type": "image", "path": media_folder / "red.png"}
    tone = {"type": "audio", "path": str(media_folder / "tone.wav"), "weight": 0.25}
    return [
        [turn("a long question about nothing")],
        [turn("mix?", red, tone)],
        [turn("one", red), {"role": "assistant", "content": "yes"}, turn("two", tone)],
    ]


def test_a_batch_is_padded_on_the_left_and_its_conditions_are_numbered_through(processor, dialogs):
    inputs = processor.apply_chat_template(dialogs, add_generation_prompt=True)
    assert inputs["input_ids"].shape == inputs["attention_mask"].shape == inputs["condition_ids"].shape
    assert inputs["attention_mask"][:, -1].tolist() == [1, 1, 1]
    assert inputs["attention_mask"][1, 0] == 0
    assert inputs["input_ids"][1, 0] == processor.tokenizer.pad_token_id
    assert set(inputs["condition_ids"][0].tolist()) == {-1}
    assert set(inputs["condition_ids"][1].tolist()) == {-1, 0}
    assert inputs["condition_ids"][2].unique().tolist() == [1, 2]
    media = inputs["media"]
    assert media.count == 3
    assert media.groups[Modality.AUDIO].index.tolist() == [0, 2]
    assert media.groups[Modality.AUDIO].weights.tolist() == [0.25, 0.25]
    assert media.groups[Modality.IMAGE].tensor.shape == (2, 3, 32, 32)


def test_rows_of_a_batch_equal_single_dialogs(processor, dialogs):
    batch = processor.apply_chat_template(dialogs, add_generation_prompt=True)
    for i, messages in enumerate(dialogs):
        one = processor.apply_chat_template(messages, add_generation_prompt=True)
        length = one["input_ids"].shape[1]
        assert torch.equal(batch["input_ids"][i, -length:], one["input_ids"][0])
        assert int(batch["attention_mask"][i].sum()) == length


def test_text_only_has_no_media(processor, dialogs):
    assert "media" not in processor.apply_chat_template(dialogs[0])


def test_labels_are_the_assistants_tokens(processor, dialogs):
    inputs = processor.apply_chat_template(dialogs[2], return_labels=True, padding_side="right")
    labels = inputs["labels"][0]
    assert processor.decode(labels[labels != -100]) == "yes<|im_end|>"


def test_text_instead_of_tokens(processor, dialogs):
    text = processor.apply_chat_template(dialogs[1], tokenize=False, add_generation_prompt=True)
    assert text == "<|im_start|>user\nmix?<|im_end|>\n<|im_start|>assistant\n"


def test_the_transformers_way(tiny_model_folder, processor, dialogs, bot, media_folder):
    from transformers import AutoModelForMultimodalLM, AutoProcessor

    loaded = AutoProcessor.from_pretrained(tiny_model_folder)
    assert type(loaded) is ImageBindLLMProcessor
    model = AutoModelForMultimodalLM.from_pretrained(tiny_model_folder)
    assert type(model) is ImageBindLLMForConditionalGeneration
    inputs = loaded.apply_chat_template(
        dialogs[1], tokenize=True, return_dict=True, add_generation_prompt=True
    ).to("cpu")
    ids = model.eval().generate(**inputs, max_new_tokens=8, do_sample=False)
    new = ids[0, inputs["input_ids"].shape[1] :]
    answer = bot.ask(
        "mix?",
        image=media_folder / "red.png",
        audio=(media_folder / "tone.wav", 0.25),
        max_new_tokens=8,
    )
    assert loaded.decode(new, skip_special_tokens=True).strip() == answer.text


def test_prompts_with_media_of_their_own(processor, dialogs, media_folder):
    """A rendered prompt and its media are what the whole dialog gives."""
    prompts = [
        processor.apply_chat_template(dialog, tokenize=False, add_generation_prompt=True)
        for dialog in dialogs[:2]
    ]
    whole = processor.apply_chat_template(dialogs[1], add_generation_prompt=True)
    tone = (str(media_folder / "tone.wav"), 0.25)
    one = processor(text=prompts[1], images=media_folder / "red.png", audio=tone, return_tensors="pt")
    assert torch.equal(one["input_ids"], whole["input_ids"])
    assert set(one["condition_ids"][0].tolist()) == {0}
    for modality in (Modality.IMAGE, Modality.AUDIO):
        assert torch.equal(one["media"].groups[modality].tensor, whole["media"].groups[modality].tensor)
    assert one["media"].groups[Modality.AUDIO].weights.tolist() == [0.25]
    cloud = str(media_folder / "cloud.npy")
    two = processor(text=prompts, images=[None, media_folder / "red.png"], point=[[cloud, cloud], None])
    assert two["attention_mask"].sum(1).tolist() == [len(processor.tokenizer.encode(p)) for p in prompts]
    assert two["condition_ids"][:, -1].tolist() == [0, 1]
    assert two["media"].groups[Modality.POINT].index.tolist() == [0, 0]
    assert "media" not in processor(text="Hi")
    for wrong, complaint in [
        ({}, "there is no text"),
        ({"text": prompts, "images": "red.png"}, "2 prompts need a list of as many image entries"),
        ({"text": "Hi", "smell": "a.npy"}, "smell"),
        ({"text": "Hi", "return_tensors": "np"}, "only 'pt'"),
    ]:
        with pytest.raises(UserError, match=complaint):
            processor(**wrong)


def test_transformers_pipeline(tiny_model_folder, dialogs, bot, media_folder):
    from transformers import ProcessorMixin, pipeline

    answers = pipeline("image-text-to-text", model=str(tiny_model_folder), device="cpu")
    assert isinstance(answers.processor, ProcessorMixin)
    assert "media" in repr(answers.processor)
    said = answers(text=dialogs[1], max_new_tokens=8, return_full_text=False)[0]["generated_text"]
    red, tone = media_folder / "red.png", (media_folder / "tone.wav", 0.25)
    assert said.strip() == bot.ask("mix?", image=red, audio=tone, max_new_tokens=8).text
    prompt = answers.processor.apply_chat_template(dialogs[1], tokenize=False, add_generation_prompt=True)
    again = answers(images=str(red), text=prompt, max_new_tokens=8, return_full_text=False)
    assert isinstance(again[0]["generated_text"], str)


def test_saved_and_loaded_settings_agree(processor, tmp_path):
    processor.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    again = ImageBindLLMProcessor.from_pretrained(tmp_path)
    assert again.media == processor.media
    assert again.tokenizer.get_vocab() == processor.tokenizer.get_vocab()
    assert json.loads((tmp_path / "processor_config.json").read_text())["media"]["audio"]["mel_bins"] == 64


@pytest.mark.parametrize(
    ("content", "error", "complaint"),
    [
        ("{", CheckpointError, "is not JSON"),
        ("[]", CheckpointError, "no mapping 'media'"),
        ('{"media": {"smell": {}}}', ConfigError, "smell"),
        (None, CheckpointError, "has no processor_config.json"),
    ],
)
def test_broken_folders_are_refused(processor, tmp_path, content, error, complaint):
    processor.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    settings = tmp_path / "processor_config.json"
    settings.unlink() if content is None else settings.write_text(content)
    with pytest.raises(error, match=complaint):
        ImageBindLLMProcessor.from_pretrained(tmp_path)


def test_a_broken_file_is_a_media_error(processor, media_folder):
    with pytest.raises(MediaError, match=r"broken\.png"):
        processor.apply_chat_template(
            [{"role": "user", "content": [{"type": "image", "path": media_folder / "broken.png"}]}]
        )
