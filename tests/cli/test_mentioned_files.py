"""Files in what is said in a chat: found as they are typed, pasted and dropped, and asked about."""

import os
import shutil
import time

import pytest
from PIL import Image

from imagebind_llm.cli.mentioned_files import mentioned_files, words_without

NAMES = ("cat.png", "my cat.png", "it's (1).png", "café.png", "猫 图.png", "狗.png")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        Image.new("RGB", (8, 8), "red").save(tmp_path / name)
    return tmp_path


def found(line):
    return [(os.path.abspath(one.path), one.weight) for one in mentioned_files(line).files]


@pytest.mark.parametrize(
    ("line", "name", "left"),
    [
        ("{0}/cat.png", "cat.png", ""),
        ("{0}/my cat.png", "my cat.png", ""),
        ("'{0}/my cat.png'", "my cat.png", ""),
        ("{0}/my\\ cat.png", "my cat.png", ""),
        ("file://{0}/my%20cat.png", "my cat.png", ""),
        ("'file://{0}/it%27s%20(1).png'", "it's (1).png", ""),
        ("'{0}/it'\\''s (1).png'", "it's (1).png", ""),
        ("~/my cat.png", "my cat.png", ""),
        ("cat.png", "cat.png", ""),
        ("What is in {0}/my cat.png?", "my cat.png", "What is in this?"),
        ("What is in '{0}/my cat.png'?", "my cat.png", "What is in this?"),
        ("What is in {0}/my\\ cat.png?", "my cat.png", "What is in this?"),
        ("What is in file://{0}/my%20cat.png?", "my cat.png", "What is in this?"),
        ("What's in {0}/it's (1).png?", "it's (1).png", "What's in this?"),
        ("{0}/it\\'s\\ \\(1\\).png what is it?", "it's (1).png", "what is it?"),
        ("What is it? ~/café.png", "café.png", "What is it?"),
        ("Describe ./cat.png, please.", "cat.png", "Describe this, please."),
        ("Describe cat.png.", "cat.png", "Describe this."),
        ("看看{0}/猫 图.png里有什么？", "猫 图.png", "看看这个里有什么？"),
        ("看看狗.png。", "狗.png", "看看这个。"),
        ("{0}/狗.png，这是什么？", "狗.png", "这是什么？"),
    ],
)
def test_a_path_is_found_and_taken_out(home, line, name, left):
    line = line.format(home)
    assert found(line) == [(str(home / name), 1.0)]
    assert not mentioned_files(line).missing
    assert words_without(line, mentioned_files(line).files) == left


def test_several_files_and_weights(home):
    line = f"Is {home}/cat.png@0.25 like '{home}/my cat.png'@-1 or 狗.png?"
    assert found(line) == [
        (str(home / "cat.png"), 0.25),
        (str(home / "my cat.png"), -1.0),
        (str(home / "狗.png"), 1.0),
    ]
    assert words_without(line, mentioned_files(line).files) == "Is this like this or this?"
    dropped = f"'{home}/my cat.png' {home}/cat.png"
    assert [path for path, _ in found(dropped)] == [str(home / "my cat.png"), str(home / "cat.png")]
    assert not mentioned_files(dropped).rest(dropped).strip()


def test_a_name_that_is_not_utf_8(home):
    name = b"caf\xe9 1.png"
    shutil.copy(home / "cat.png", os.fsencode(home) + b"/" + name)
    path = os.fsdecode(os.fsencode(home) + b"/" + name)
    for line in (path, f"What is {path}?", f"'{path}'", f"file://{home}/caf%E9%201.png"):
        assert [one.path for one in mentioned_files(line).files] == [path]


@pytest.mark.parametrize(
    "line",
    [
        "Is it a cat and/or a dog, 24/7, he/she, 1/2, km/h?",
        "看猫和/或狗",
        "What is the difference between .png and .jpg?",
        "Is Node.js 3.5 older, e.g. than v1.2?",
        "see https://example.org/a.png and http://x.org/my/b.jpg, ftp://x.org/c.wav",
        "www.example.org/a.png or example.com/a.png",
        "what does /api/v1/users give",
        "is / a path? or // or ~?",
        "cat", "it's a 'cat'", "'", '"', "\\", "a\x00b.", "…",
    ],
)  # fmt: skip
def test_words_are_no_paths(home, line):
    (home / "cat").touch()  # a file of that name, which nobody means
    nothing = mentioned_files(line)
    assert (nothing.files, nothing.missing) == ((), ())
    assert words_without(line, ()) == line


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("{0}/dog.png", "{0}/dog.png"),
        ("What is in {0}/dog.png?", "{0}/dog.png"),
        ("What is in {0}/my dog.png?", "{0}/my dog.png"),
        ("What is in '{0}/my dog.png'?", "{0}/my dog.png"),
        ("what's in 'no cat.png' then?", "no cat.png"),
        ("{0}/my\\ dog.png", "{0}/my dog.png"),
        ("dog.JPG", "dog.JPG"),
        ("{0}/cat.png.none.png", "{0}/cat.png.none.png"),  # cat.png is there
        ("what is ~/dog.wav, then", "~/dog.wav"),
        ("{0}/dog", "{0}/dog"),
        ("file:///no/such.png", "file:///no/such.png"),
        ("看看 {0}/牛.png。", "{0}/牛.png"),
    ],
)
def test_a_path_to_nothing_is_seen(home, line, path):
    seen = mentioned_files(line.format(home))
    assert [one.path for one in seen.missing] == [path.format(home)]
    assert not seen.files


@pytest.mark.parametrize("part", ["/a ", "看a.png", "中/", "'", '"\\', "a.png", "'a ", "/tmp/", "\\ "])
def test_odd_lines_take_no_long_time(home, part):
    started = time.monotonic()
    mentioned_files(part * (4096 // len(part)))
    mentioned_files(part * 100_000)
    assert time.monotonic() - started < 30


# --- in a chat


def test_a_question_about_a_file_in_it(run, bot, tiny_model_folder, home):
    stdin = f"what is {home}/my cat.png?\nfile://{home}/my%20cat.png\nand now?\n"
    code, out, err = run("chat", "--model", tiny_model_folder, "--max-new-tokens", 6, stdin=stdin)
    chat = bot.chat(max_new_tokens=6)
    said = [
        chat.send("what is this?", image=home / "my cat.png"),
        chat.send("and now?", image=home / "my cat.png"),
    ]
    assert (code, out) == (0, "".join(f"{answer}\n" for answer in said))
    assert err.splitlines() == [
        f"(attached: image {home}/my cat.png)",
        f"(attached to the next message: image {home}/my cat.png)",
    ]


def test_a_name_of_chinese_and_one_of_latin_1(run, bot, tiny_model_folder, home):
    latin = os.fsencode(home) + b"/caf\xe9.png"
    shutil.copy(home / "cat.png", latin)
    stdin = f"看看{home}/猫 图.png\n".encode() + b"/clear\nwhat is " + latin + b"?\n"
    code, out, err = run("chat", "--model", tiny_model_folder, stdin=stdin)
    assert code == 0
    expected = [bot.ask(words, image=home / "cat.png").text for words in ("看看这个", "what is this?")]
    assert out == "".join(f"{text}\n" for text in expected)
    assert "猫 图.png" in err
    assert "caf?.png" in err


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("what is {0}/dog.png?", "error: no file '{0}/dog.png'; nothing attached (the message is not asked)"),
        (
            "is {0}/cat.png like dog.png?",
            "error: no file 'dog.png'; nothing attached (the message is not asked)",
        ),
        ("what is {0}/notes.txt?", "notes.txt holds text; attach words with /text WORDS; nothing attached"),
        ("what is {0}/odd.bin?", "of no kind that its content or suffix tells"),
        ("what is {0}/torn.png?", "torn.png"),
        ("what is {0}/map.npy?", "could be several things"),
    ],
)
def test_a_question_is_not_asked_without_its_file(run, bot, tiny_model_folder, home, line, complaint):
    import numpy as np

    (home / "notes.txt").write_text("words")
    (home / "odd.bin").write_bytes(bytes(range(7)) * 40)
    (home / "torn.png").write_bytes((home / "cat.png").read_bytes()[:40])
    np.save(home / "map.npy", np.zeros((9, 9), np.float32))
    code, out, err = run("chat", "--model", tiny_model_folder, stdin=f"{line.format(home)}\nhello\n")
    assert (code, out) == (2, bot.ask("hello").text + "\n")
    assert len(err.splitlines()) == 1
    assert complaint.format(home) in err.replace("…", "")[:2000] or "..." in err
    assert "nothing attached (the message is not asked)" in err


def test_a_file_alone_that_is_not_there_holds_the_next_message(run, tiny_model_folder, home):
    code, out, err = run("chat", "--model", tiny_model_folder, stdin="dog.png\nwhat is it?\n")
    assert (code, out) == (2, "")
    assert err == "error: no file 'dog.png'; nothing attached (the message after it is not asked)\n"


def test_confidence_is_shown_at_a_terminal_only(run, bot, tiny_model_folder, monkeypatch):
    from test_cli import typed_in

    sure = bot.ask("hello").confidence
    assert 0 < sure < 1
    assert "confidence" not in run("chat", "--model", tiny_model_folder, stdin="hello\n")[2]
    typed_in(monkeypatch, "hello")
    assert f"(confidence {sure:.2g})\n" in run("chat", "--model", tiny_model_folder)[2]
