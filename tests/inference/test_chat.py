"""Dialogs with a memory."""

import pytest
import torch
from peft import LoraConfig, get_peft_model

from imagebind_llm import Assistant, UserError
from imagebind_llm.model.adaptation import set_stage
from imagebind_llm.model.dialog import build_dialog


def test_a_chat_is_the_whole_dialog_asked_again(bot, media_folder):
    chat = bot.chat(system="Be brief.", max_new_tokens=6)
    first = chat.send("what?", image=media_folder / "red.png")
    second = chat.send("and now?")
    assert [message["role"] for message in chat.messages] == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
    ]
    assert second.text == bot.ask(messages=chat.messages[:-1], max_new_tokens=6).text
    assert second.media == first.media  # the latest media stay in sight
    third = chat.send("this?", text="a dog")
    assert third.media[0].source == "a dog"


def test_streaming_a_turn_is_sending_it(bot, media_folder):
    one, two = bot.chat(max_new_tokens=6), bot.chat(max_new_tokens=6)
    assert "".join(one.stream("what?", image=media_folder / "red.png")) == (
        two.send("what?", image=media_folder / "red.png").text
    )
    assert one.messages == two.messages


def test_an_error_leaves_the_dialog_as_it_was(bot):
    chat = bot.chat(max_new_tokens=4)
    chat.send("hello")
    before = chat.messages
    with pytest.raises(UserError):
        chat.send("what?", image="nowhere.png")
    with pytest.raises(UserError, match="empty"):
        chat.send("  ")
    assert chat.messages == before
    chat.clear()
    assert chat.messages == []


def test_old_turns_are_forgotten_but_their_media_are_not(bot, media_folder):
    chat = bot.chat(max_new_tokens=4)
    chat.send("what is on it?", image=media_folder / "red.png")
    for number in range(8):
        answer = chat.send(f"question {number} " + "x" * 30)
        assert answer.media[0].source == media_folder / "red.png"
    assert chat.forgotten > 0
    dialog = build_dialog(chat.messages, bot.processor.tokenizer)
    assert len(dialog) <= 256
    assert len(dialog.conditions) == 1


def test_a_turn_reads_only_what_is_new_and_answers_the_same(bot, media_folder):
    """Equal to the dialog asked afresh, which reads all of it."""
    engine = bot.pipeline.driver.engine
    engine.reset()  # other chats may have begun with the same words
    chat = bot.chat(system="Be brief.", max_new_tokens=6)
    turns = [
        {"question": "what is it?", "image": media_folder / "red.png"},
        {"question": "and now?"},
        {"question": "this one?", "image": media_folder / "blue.png"},
        {"question": "and?"},
    ]
    read = []
    for turn in turns:
        before = engine.prefilled
        answer = chat.send(**turn)
        read.append((answer.prompt_tokens, engine.prefilled - before))
        assert answer.text == bot.ask(messages=chat.messages[:-1], max_new_tokens=6).text
    assert read[0][0] == read[0][1]
    for (_, _), (tokens, prefilled), (last, _) in zip(read, read[1:], read, strict=False):
        assert (
            prefilled < tokens - last + 10
        )  # the question, and of the answer what was not read as it was said


def test_another_picture_in_the_past_is_read_again(bot, media_folder):
    """Two dialogs of the same words: no token shows that their pictures differ."""
    answers = {}
    for name in ("red.png", "blue.png", "red.png"):
        chat = bot.chat(max_new_tokens=6)
        chat.send("what is it?", image=media_folder / name)
        said = chat.messages[-1]
        answer = chat.send("and now?")
        fresh = bot.ask(messages=[*chat.messages[:1], said, *chat.messages[2:3]], max_new_tokens=6)
        assert answer.text == fresh.text
        assert answers.setdefault(name, answer.text) == answer.text


def test_a_streamed_turn_counts_only_when_it_was_read_to_its_end(bot):
    chat = bot.chat(max_new_tokens=6)
    stream = chat.stream("hello")
    next(stream)
    stream.close()
    assert chat.messages == []
    stream = chat.stream("hello")
    text = "".join(stream)
    assert chat.messages[-1] == {"role": "assistant", "content": text}
    assert stream.answer.text == text
    with pytest.raises(UserError, match="empty"):
        chat.stream(" ")


@pytest.fixture
def trained(tiny_model_folder):
    return Assistant.from_pretrained(tiny_model_folder, device="cpu", cache=False)


def step(model):
    """One step of training, on all that the optimizer is given."""
    set_stage(model, ["pretrain", "language"])
    model.train()
    ids = torch.arange(3, 23)[None]
    conditions = torch.ones(1, model.config.embedding_dim)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    model(ids, labels=ids, conditions=conditions).loss.backward()
    optimizer.step()
    model.eval()


def fold_in(model):
    """What peft does when it merges: it writes where torch does not count."""
    wrapped = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.fill_(0.5)
    wrapped.merge_and_unload()


@pytest.mark.parametrize("change", [step, fold_in])
def test_a_chat_goes_on_with_the_weights_of_now(trained, media_folder, change):
    chat = trained.chat(max_new_tokens=8)
    chat.send("what?", image=media_folder / "red.png")
    change(trained.model)
    before = trained.pipeline.driver.engine.prefilled
    second = chat.send("and now?")
    assert trained.pipeline.driver.engine.prefilled - before == second.prompt_tokens  # all of it read again
    assert second.text == trained.ask(messages=chat.messages[:-1], max_new_tokens=8).text


def test_embeddings_are_those_of_the_weights_of_now(trained, media_folder):
    before = trained.embed(image=media_folder / "red.png")
    assert torch.equal(trained.embed(image=media_folder / "red.png"), before)
    with torch.no_grad():
        for parameter in trained.model.encoder.parameters():
            parameter.mul_(1.5)
    after = trained.embed(image=media_folder / "red.png")
    fresh = trained.embed(image=(media_folder / "red.png").read_bytes())
    assert torch.equal(after, fresh)
    assert not torch.equal(after, before)


@pytest.mark.parametrize(
    "begin",
    [
        lambda bot: bot.chat("What is this?"),
        lambda bot: bot.chat("What is this?", "red.png"),
        lambda bot: bot.chat(image="red.png"),
        lambda bot: bot.chat(media={"image": "red.png"}),
    ],
)
def test_a_chat_begins_without_a_question(bot, begin):
    with pytest.raises(UserError, match=r"chat\.send\(question.*system=…"):
        begin(bot)


def test_what_a_chat_says_about_itself(bot, media_folder):
    chat = bot.chat(system="Be brief.", max_new_tokens=4)
    assert repr(chat) == "Chat(0 turns, no media, with a system message)"
    chat.send("what?", image=media_folder / "red.png", text="a dog")
    chat.send("and now?")
    assert repr(chat) == "Chat(2 turns, about image, text, with a system message)"
