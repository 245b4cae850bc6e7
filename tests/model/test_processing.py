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
        ("[]", CheckpointError, "holds a list; expected an object"),
        ("{}", CheckpointError, "no mapping 'media'"),
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


def both_ways(processor, dialogs):
    """The processor called with prompts, and with dialogs."""
    prompts = processor.apply_chat_template(dialogs, tokenize=False)
    return (
        lambda **settings: processor(text=prompts, **settings),
        lambda **settings: processor.apply_chat_template(dialogs, **settings),
        lambda **settings: processor.apply_chat_template(dialogs, processor_kwargs=settings),
    )


@pytest.mark.parametrize("way", range(3))
def test_padding_and_truncation_do_what_transformers_says(processor, dialogs, way):
    call = both_ways(processor, dialogs)[way]
    plain = call()
    width = plain["input_ids"].shape[1]
    lengths = plain["attention_mask"].sum(1).tolist()
    wide = call(padding="max_length", max_length=width + 3)
    assert wide["input_ids"].shape == wide["condition_ids"].shape == (3, width + 3)
    assert torch.equal(wide["input_ids"][:, 3:], plain["input_ids"])
    assert torch.equal(wide["condition_ids"][:, 3:], plain["condition_ids"])
    assert not wide["attention_mask"][:, :3].any()
    right = call(padding="max_length", max_length=width + 3, padding_side="right")
    assert right["attention_mask"].sum(1).tolist() == lengths
    assert not right["attention_mask"][:, -3:].any()
    cut = call(truncation=True, max_length=5)
    assert cut["input_ids"].shape == cut["condition_ids"].shape == (3, 5)
    for row in range(3):
        first = width - lengths[row]
        assert torch.equal(cut["input_ids"][row], plain["input_ids"][row, first : first + 5])
        assert torch.equal(cut["condition_ids"][row], plain["condition_ids"][row, first : first + 5])
    both = call(truncation=True, padding="max_length", max_length=width - 1)
    assert both["input_ids"].shape == (3, width - 1)
    assert torch.equal(call(truncation=True, max_length=1000)["input_ids"], plain["input_ids"])
    assert torch.equal(call(padding="longest", truncation=False)["input_ids"], plain["input_ids"])


def test_labels_are_cut_and_padded_with_their_tokens(processor, dialogs):
    plain = processor.apply_chat_template(dialogs[2:], return_labels=True, padding_side="right")
    settings = {"return_labels": True, "padding_side": "right", "padding": "max_length", "truncation": True}
    for length in (3, plain["input_ids"].shape[1] + 4):
        inputs = processor.apply_chat_template(dialogs[2:], max_length=length, **settings)
        kept = min(length, plain["input_ids"].shape[1])
        assert inputs["labels"].shape == inputs["input_ids"].shape == (1, length)
        assert torch.equal(inputs["labels"][:, :kept], plain["labels"][:, :kept])
        assert (inputs["labels"][:, kept:] == -100).all()


def test_the_left_is_cut_where_the_tokenizer_says_so(processor, dialogs, monkeypatch):
    plain = processor.apply_chat_template(dialogs[1])
    monkeypatch.setattr(processor.tokenizer, "truncation_side", "left")
    cut = processor.apply_chat_template(dialogs[1], truncation=True, max_length=5)
    assert torch.equal(cut["input_ids"], plain["input_ids"][:, -5:])
    assert torch.equal(cut["condition_ids"], plain["condition_ids"][:, -5:])


@pytest.mark.parametrize("way", range(3))
@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"max_length": 9}, "truncation=True or padding='max_length'"),
        ({"truncation": True, "max_length": 0}, "at least 1"),
        ({"padding": False}, "add padding=True"),
        ({"padding": "longst"}, "padding is 'longst'"),
        ({"truncation": "only_second"}, "truncation is 'only_second'"),
        ({"padding_side": "top"}, "padding_side is 'top'"),
        ({"max_lenght": 9}, "did you mean 'max_length'"),
        ({"truncatoin": True}, "did you mean 'truncation'"),
        ({"smell": True}, "unknown .* 'smell'; use one of"),
    ],
)
def test_settings_that_cannot_be_honoured_are_refused(processor, dialogs, way, settings, complaint):
    with pytest.raises(UserError, match=complaint) as raised:
        both_ways(processor, dialogs)[way](**settings)
    assert "\n" not in str(raised.value)


def test_a_length_that_nobody_knows_is_asked_for(processor, dialogs, monkeypatch):
    monkeypatch.setattr(processor.tokenizer, "model_max_length", int(1e30))
    with pytest.raises(UserError, match="max_length=…"):
        processor.apply_chat_template(dialogs[0], truncation=True)
    monkeypatch.setattr(processor.tokenizer, "model_max_length", 4)
    assert processor.apply_chat_template(dialogs[0], truncation=True)["input_ids"].shape == (1, 4)


def test_the_rate_of_an_array(processor, dialogs):
    wave = torch.sin(torch.arange(48_000) * 0.05).numpy()

    def heard(**given):
        return processor(text="Hi", **given)["media"].groups[Modality.AUDIO].tensor

    expected = heard(audio={"array": wave, "sampling_rate": 48_000})
    for audio in (wave, [wave], (wave, 1.0)):
        assert torch.equal(heard(audio=audio, sampling_rate=48_000), expected)
    assert not torch.equal(heard(audio=wave), expected)
    for wrong in ({"audio": "tone.wav"}, {}, {"audio": {"array": wave, "sampling_rate": 8000}}):
        with pytest.raises(UserError, match="sampling_rate"):
            processor(text="Hi", sampling_rate=48_000, **wrong)
    with pytest.raises(UserError, match="say it with its sound"):
        processor.apply_chat_template(dialogs[0], sampling_rate=48_000)


def test_arguments_of_the_template(processor, dialogs, monkeypatch):
    template = "{% for m in messages %}{{ m.content }}{% if loud %}!{% endif %}{% endfor %}"
    monkeypatch.setattr(processor.tokenizer, "chat_template", template)
    assert processor.apply_chat_template(dialogs[0], tokenize=False, loud=True).endswith("nothing!")
    with pytest.raises(UserError, match="did you mean 'loud'"):
        processor.apply_chat_template(dialogs[0], tokenize=False, lound=True)


def test_media_beside_bare_parts(processor, dialogs, media_folder):
    red, tone = media_folder / "red.png", (media_folder / "tone.wav", 0.25)
    bare = [
        {
            "role": "user",
            "content": [
                {"type": "image"},
                {"type": "audio", "weight": 0.25},
                {"type": "text", "text": "mix?"},
            ],
        }
    ]
    expected = processor.apply_chat_template(dialogs[1], add_generation_prompt=True)
    found = processor.apply_chat_template(bare, add_generation_prompt=True, images=red, audio=[tone[0]])
    prompt = processor.apply_chat_template(bare, add_generation_prompt=True, tokenize=False)
    called = processor(text=prompt, images=red, audio=tone)
    several = processor.apply_chat_template(
        [dialogs[0], bare], add_generation_prompt=True, images=[None, [red]], audio=[None, tone[0]]
    )
    for inputs in (found, called, several):
        assert torch.equal(inputs["input_ids"][-1:, -expected["input_ids"].shape[1] :], expected["input_ids"])
        for modality in (Modality.IMAGE, Modality.AUDIO):
            group, wanted = inputs["media"].groups[modality], expected["media"].groups[modality]
            assert torch.equal(group.tensor, wanted.tensor)
            assert torch.equal(group.weights, wanted.weights)
    for settings, complaint in [
        ({"images": [red, red], "audio": tone[0]}, "images= holds 1 more"),
        ({"images": [], "audio": tone[0]}, "more parts {'type': 'image'}"),
        ({"images": red}, "exactly one of"),
        ({}, "exactly one of"),
        ({"images": red, "audio": tone[0], "videos": red}, "videos= holds 1 more"),
    ]:
        with pytest.raises(UserError, match=complaint):
            processor.apply_chat_template(bare, **settings)
    with pytest.raises(UserError, match="2 dialogs need a list of as many images"):
        processor.apply_chat_template([bare, bare], images=red)


def test_transformers_pipeline_with_images_and_text(tiny_model_folder, bot, media_folder):
    from transformers import pipeline

    answers = pipeline("image-text-to-text", model=str(tiny_model_folder), device="cpu")
    processor, settings = answers.processor, {"max_new_tokens": 8, "return_full_text": False}
    bare = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "what?"}]}]
    prompt = processor.apply_chat_template(bare, tokenize=False, add_generation_prompt=True)
    paths = [str(media_folder / name) for name in ("red.png", "blue.png")]

    def expected(path):  # all tokens of a ready prompt see its media
        inputs = processor(text=prompt, images=path)
        output = bot.model.generate(**inputs, max_new_tokens=8, do_sample=False)
        return processor.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)

    said = [expected(path) for path in paths]
    assert said[0] != said[1]
    for path, words in zip(paths, said, strict=True):
        assert answers(images=path, text=prompt, **settings)[0]["generated_text"] == words
        assert answers(path, text=prompt, **settings)[0]["generated_text"] == words
        assert answers({"images": path, "text": prompt}, **settings)[0]["generated_text"] == words
    both = answers(images=paths, text=[prompt, prompt], **settings)
    assert [item["generated_text"] for item in both] == said
    with pytest.raises(UserError, match="did you mean 'max_length'"):
        answers(text=[{"role": "user", "content": "Hi"}], max_lenght=5)
