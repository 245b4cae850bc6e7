"""Dialogs whose past is changed, shortened or summed up."""

import pytest

from imagebind_llm import UserError
from imagebind_llm.inference.chat import SUMMARY_TOKENS, Chat
from imagebind_llm.inference.request import Answer
from imagebind_llm.model.messages import read_messages


@pytest.fixture
def chat(bot, media_folder):
    """Three questions; the first brings a picture, the second a sound."""
    chat = bot.chat(system="Be brief.", max_new_tokens=6)
    chat.send("what?", image=media_folder / "red.png")
    chat.send("and this?", audio=(media_folder / "tone.wav", 0.5), text="a dog")
    chat.send("which one?")
    return chat


def test_undo_takes_the_last_question_back(bot, chat, media_folder):
    assert chat.undo() == ("which one?", {})
    assert len(chat.history) == 4
    question, media = chat.undo()
    assert question == "and this?"
    assert media == {"audio": [(media_folder / "tone.wav", 0.5)], "text": [("a dog", 1.0)]}
    again = chat.send(question, **media)
    fresh = bot.chat(system="Be brief.", max_new_tokens=6)
    fresh.send("what?", image=media_folder / "red.png")
    assert again.text == fresh.send("and this?", **media).text
    chat.clear()
    with pytest.raises(UserError, match="nothing has been asked"):
        chat.undo()


def test_regenerating_asks_the_same_again(chat):
    before = chat.history
    assert chat.regenerate().text == before[-1]["content"]
    assert chat.history == before
    other = {chat.regenerate(temperature=5.0, top_p=1.0, seed=seed).text for seed in range(6)}
    assert len(other) > 1
    assert chat.history[:-1] == before[:-1]
    assert chat.regenerate().text == before[-1]["content"]  # the options were for one answer
    with pytest.raises(UserError, match="did you mean 'seed'"):
        chat.regenerate(sed=1)
    assert chat.history == before


def test_editing_replaces_what_came_after(bot, chat, media_folder):
    answer = chat.edit(0, "what colour?")
    assert len(chat.history) == 2
    assert [item.source for item in answer.media] == [media_folder / "red.png"]  # its picture stays
    assert answer.text == bot.ask(messages=chat.messages[:-1], max_new_tokens=6).text
    chat.send("and?")
    answer = chat.edit(-1, "and this?", image=media_folder / "blue.png")
    assert [item.source for item in answer.media] == [media_folder / "blue.png"]


@pytest.mark.parametrize("turn", [3, -4, True, 1.0, "1"])
def test_a_question_that_is_not_there_cannot_be_edited(chat, turn):
    with pytest.raises(UserError, match="there are 3, numbered from 0"):
        chat.edit(turn, "what?")


def test_an_edit_that_fails_changes_nothing(chat):
    before = chat.history, chat.messages
    for question, media in (("  ", {}), ("what?", {"image": "nowhere.png"})):
        with pytest.raises(UserError):
            chat.edit(0, question, **media)
        assert (chat.history, chat.messages) == before


def test_the_window_counts_questions(bot, media_folder):
    chat = bot.chat(max_new_tokens=4, window=2)
    for number in range(4):
        media = {"image": media_folder / "red.png"} if number == 0 else {}
        answer = chat.send(f"question {number}", **media)
    asked = [message for message in chat.messages if message["role"] == "user"]
    assert [part["text"] for message in asked for part in message["content"] if part["type"] == "text"] == [
        "question 2",
        "question 3",
    ]
    assert asked[0]["content"][0]["image"] == media_folder / "red.png"
    assert answer.media[0].source == media_folder / "red.png"
    assert chat.forgotten == 2
    assert len(chat.history) == 8
    with pytest.raises(UserError, match="window is 0"):
        bot.chat(window=0)
    with pytest.raises(UserError, match="summary is 'yes'"):
        bot.chat(summary="yes")


def test_the_media_in_sight_are_those_of_the_latest_turn_that_brought_some(bot, media_folder):
    chat = bot.chat(max_new_tokens=4, window=1)
    chat.send("one", image=media_folder / "red.png")
    chat.send("two", image=media_folder / "blue.png")
    assert chat.send("three").media[0].source == media_folder / "blue.png"


def test_undoing_remembers_what_was_forgotten(bot):
    chat = bot.chat(max_new_tokens=4, window=1)
    for number in range(3):
        chat.send(f"question {number}")
    chat.undo()
    chat.undo()
    assert chat.forgotten == 0
    assert chat.messages == chat.history


class Talker:
    """Answers with numbers; a token is a word."""

    def __init__(self) -> None:
        self.asked = []

    def ask(self, request):
        self.asked.append(request)
        return Answer(f"answer {len(self.asked)}", "stop", self.count(request.messages), 2, 0.0)

    @staticmethod
    def count(messages):
        return sum(len(turn.text.split()) for turn in read_messages(messages))

    def chat(self, context_length=None, **options):
        return Chat(self.ask, None, self.count, context_length, **options)


def test_what_is_forgotten_is_summed_up(media_folder):
    talker = Talker()
    chat = talker.chat(window=2, summary=True, system="Be brief.", temperature=0.5)
    chat.send("one", image=media_folder / "red.png")
    chat.send("two")
    assert (chat.summary, len(talker.asked)) == ("", 2)
    chat.send("three")
    summing = talker.asked[2]
    assert [message["role"] for message in summing.messages] == ["system", "user", "assistant", "user"]
    assert summing.messages[1]["content"][0]["image"] == media_folder / "red.png"
    assert "Summarise" in summing.messages[-1]["content"]
    assert (summing.options.max_new_tokens, summing.options.temperature) == (SUMMARY_TOKENS, 0.0)
    said = "Be brief.\n\nEarlier in this conversation: answer 3"
    assert talker.asked[3].messages[0] == {"role": "system", "content": said}
    assert talker.asked[3].options.temperature == 0.5
    assert chat.messages[0]["content"] == said
    chat.send("four")
    assert talker.asked[4].messages[0]["content"] == said  # the next summary is made from the last one
    assert [turn.text for turn in read_messages(talker.asked[4].messages)][1:3] == ["two", "answer 2"]
    assert (chat.forgotten, chat.summary) == (2, "answer 5")


def test_a_summary_is_of_what_fits_and_leaves_room_for_the_answer():
    talker = Talker()
    chat = talker.chat(context_length=120, summary=True, max_new_tokens=20)
    for number in range(6):
        chat.send(f"question {number} " + "word " * 30)
        for request in talker.asked:
            assert talker.count(request.messages) <= 120 - min(request.options.max_new_tokens, 30)
    assert chat.forgotten
    assert chat.summary.startswith("answer")


def test_where_no_summary_fits_there_is_none():
    talker = Talker()
    chat = talker.chat(context_length=40, summary=True, max_new_tokens=4)
    for number in range(4):
        chat.send(f"question {number} " + "word " * 10)
    assert chat.forgotten
    assert chat.summary == ""
    assert len(talker.asked) == 4


def test_restoring_goes_on_with_a_dialog(bot, chat):
    other = bot.chat(max_new_tokens=6)
    other.restore(chat.history, "Be brief.")
    assert other.messages == chat.messages
    assert other.send("so?").text == chat.send("so?").text


@pytest.mark.parametrize(
    ("roles", "told"),
    [
        (["assistant"], "expected 'user'"),
        (["user", "user"], "message 1 is of the role 'user'"),
        (["user", "assistant", "user"], "message 2, the last, has no answer"),
        (["user", "tool"], "expected 'assistant'"),
    ],
)
def test_what_is_out_of_turn_is_not_restored(chat, roles, told):
    before = chat.history
    with pytest.raises(UserError, match=told):
        chat.restore([{"role": role, "content": "words"} for role in roles])
    assert chat.history == before
