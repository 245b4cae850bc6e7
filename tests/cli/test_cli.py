"""The command line, through a tiny random model."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from imagebind_llm import Assistant
from imagebind_llm.cli.options import read_medium
from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.inference.driver import Completion, Driver
from imagebind_llm.inference.engine import Event


@pytest.fixture
def ask(run, tiny_model_folder):
    return lambda *arguments, **more: run(
        "ask", "--model", tiny_model_folder, "--device", "cpu", *arguments, **more
    )


def one_error_line(code, out, err, *, expect=2):
    assert code == expect, err
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1, err
    return err


# ask


def test_ask_prints_the_answer_and_nothing_else(ask, bot, media_folder):
    code, out, err = ask("what?", "--image", media_folder / "red.png")
    assert (code, err) == (0, "")
    assert out == bot.ask("what?", image=media_folder / "red.png").text + "\n"


def test_ask_streams_the_same(ask, bot, media_folder):
    code, out, err = ask("what?", "--image", media_folder / "red.png", "--stream")
    assert (code, err) == (0, "")
    assert out == bot.ask("what?", image=media_folder / "red.png").text + "\n"


def test_ask_as_json_with_weights(ask, bot, media_folder):
    red, tone = media_folder / "red.png", media_folder / "tone.wav"
    code, out, _ = ask(
        "what?", "--image", f"{red}@0.7", "--audio", f"{tone}@-0.3", "--text", "a dog@2", "--json"
    )
    assert code == 0
    values = json.loads(out)
    assert set(values) == {
        "answer",
        "finish_reason",
        "prompt_tokens",
        "new_tokens",
        "seconds",
        "media",
        "cached",
        "confidence",
        "nearest",
    }
    assert [(m["modality"], m["source"], m["weight"]) for m in values["media"]] == [
        ("image", str(red), 0.7),
        ("audio", str(tone), -0.3),
        ("text", "a dog", 2.0),
    ]
    expected = bot.ask("what?", image=(red, 0.7), audio=(tone, -0.3), text=("a dog", 2.0))
    assert values["answer"] == expected.text


def test_generation_options_arrive(ask, bot):
    code, out, _ = ask(
        "hello", "--max-new-tokens", 5, "--temperature", 3, "--top-p", 1, "--seed", 7, "--system", "S"
    )
    expected = bot.ask("hello", max_new_tokens=5, temperature=3.0, top_p=1.0, seed=7, system="S")
    assert (code, out) == (0, expected.text + "\n")


def test_explain_prints_what_the_cache_found(ask, media_folder, tiny_cache_folder):
    tone = ("what?", "--audio", media_folder / "tone.wav", "--cache-dir", tiny_cache_folder, "--cache-k", 3)
    code, out, _ = ask(*tone, "--explain")
    assert code == 0
    assert out.count("picture ") == 3
    assert "was moved towards" in out
    code, out, _ = ask(*tone, "--explain", "--json", "--no-cache")
    values = json.loads(out)
    assert not values["cached"]
    assert [hit["rank"] for hit in values["retrieved"]] == [1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "no question"),
        (["x", "--image", "nowhere.png"], "'nowhere.png': there is no such file"),
        (["x", "--image", "file:///no/where.png"], "there is no such file"),
        (["x", "--image", "file://server/a.png"], "'file://server/a.png' names the machine"),
        (["x", "--image", "file:///no%00where.png"], "holds a zero byte"),
        (["x", "--image", "https://x.org/a.png"], "is remote"),
        (["x", "--image", "/"], "--image '/': it is a folder; give the file itself"),
        (["x", "--media", "imu=/"], "--imu '/': it is a folder; give the file itself"),
        (["x", "--image", "/dev/null"], "--image '/dev/null': it is a pipe, socket or device; give a file"),
        (["x", "--image", "{media}/broken.png"], "broken.png"),
        (["x", "--image", "{media}/red.png@much"], "the weight 'much' is not a number"),
        (["x", "--text", "@0.5"], "--text '@0.5' is a weight alone; write the words before the @"),
        (["x", "--image", "@2"], "--image '@2' is a weight alone; write the file before the @"),
        (["x", "--image", "{media}/red.png@nan"], "not finite"),
        (["x", "--image", "{media}/red.png@0"], "total weight of 0"),
        (["x", "--image", "https://example.org/a.png"], "is remote"),
        (["x", "--cache", "--text", "dog"], "this model has none"),
        (["x", "--explain", "--text", "dog"], "this model has no cache"),
        (["x", "--cache-dir", "nowhere", "--text", "dog"], "no cache folder at 'nowhere'"),
        (["x", "--temperature", "-1"], "temperature is -1"),
        (["x", "--device", "tpu9"], "no device 'tpu9'"),
        (["x", "--stream", "--json"], "--stream prints words only"),
        (["x", "--batch", "-"], "--batch takes questions"),
        (["--batch", "nowhere.jsonl"], "'nowhere.jsonl': No such file"),
    ],
)
def test_bad_input_is_one_line_and_code_2(ask, media_folder, arguments, complaint):
    arguments = [argument.format(media=media_folder) for argument in arguments]
    assert complaint in one_error_line(*ask(*arguments))


@pytest.mark.parametrize("command", [("ask", "x"), ("cache", "search")])
def test_paths_are_looked_at_before_a_model_is_loaded(
    run, tiny_model_folder, media_folder, tmp_path, monkeypatch, command
):
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(Assistant, "from_pretrained", lambda *_, **__: pytest.fail("loaded"))
    for path, complaint in (
        (tmp_path, "it is a folder; give the file itself"),
        (f"file://{tmp_path}", "it is a folder"),
        (tmp_path / "pipe", "it is a pipe, socket or device"),
        (f"{tmp_path}/pipe@0.5", "it is a pipe, socket or device"),
        (tmp_path / "nowhere.png", "there is no such file"),
        (f"file://{tmp_path}/nowhere.png", "there is no such file"),
        (media_folder / "red.png" / "a.png", "Not a directory"),
        ("https://x.org/a.png", "is remote"),
        (f"{media_folder}/red.png@48000", "of at most 100"),
    ):
        for option in (["--image", path], ["--media", f"image={path}"]):
            said = one_error_line(*run(*command, *option, "--model", tiny_model_folder))
            assert complaint in said


def test_a_missing_model_is_one_line(run, tmp_path):
    assert "no model" in one_error_line(*run("ask", "x", "--model", tmp_path / "nowhere"))


def test_a_language_model_alone_is_told_of_new(run, tmp_path, bot):
    bot.model.language_model.config.save_pretrained(tmp_path)
    bot.processor.tokenizer.save_pretrained(tmp_path)
    err = one_error_line(*run("ask", "x", "--model", tmp_path))
    assert f"imagebind-llm new --llm {tmp_path}" in err


def test_an_unknown_kind_of_device_is_one_short_line(ask):
    assert len(one_error_line(*ask("x", "--device", "foo"))) < 120


def test_an_empty_answer_is_told(run, ask, bot, tiny_model_folder, monkeypatch):
    end = bot.processor.tokenizer.eos_token_id
    nothing = Completion([end], "stop")
    monkeypatch.setattr(Driver, "complete", lambda self, jobs: [nothing] * len(jobs))
    monkeypatch.setattr(Driver, "stream", lambda self, job: iter([Event(0, end, "stop")]))
    said = ("\n", "note: the model's answer is empty\n")
    assert ask("hello")[1:] == ask("hello", "--stream")[1:] == said
    assert run("chat", "--model", tiny_model_folder, "--device", "cpu", stdin="hello\n")[1:] == said


def test_unknown_options_and_commands_have_code_2(run):
    for wrong, complaint in [
        (("ask", "x", "--smell", "rose.png"), "no such option: --smell"),
        (("sing",), "no such command 'sing'; see: imagebind-llm --help"),
        (("--loud",), "no such option: --loud; see: imagebind-llm --help"),
        (("cache", "build"), "missing option '--out'; see: imagebind-llm cache build --help"),
        (("ask", "x", "--batch-size", "many"), "invalid value for '--batch-size'"),
    ]:
        assert complaint in one_error_line(*run(*wrong))
    code, out, err = run("cache")
    assert code in (0, 2)
    assert "Commands:" in out + err


def test_a_cache_of_another_encoder_is_named(ask, tmp_path, bot):
    from imagebind_llm.cache import build_cache

    vectors = np.random.default_rng(1).normal(size=(20, 28)).astype(np.float32)
    build_cache(vectors, encoder_fingerprint="0123456789abcdef").save(tmp_path / "other")
    line = one_error_line(*ask("x", "--text", "dog", "--cache-dir", tmp_path / "other"))
    assert "0123456789abcdef" in line
    assert bot.encoder_fingerprint in line


def test_our_own_faults_have_code_1_and_hint_at_debug(ask, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("boom 93")

    monkeypatch.setattr(Assistant, "ask_batch", fail)
    line = one_error_line(*ask("x"), expect=1)
    assert "boom 93" in line
    assert "--debug" in line
    code, _, err = ask("x", "--debug")
    assert code == 1
    assert "Traceback" in err


# batch


def test_batch_answers_line_by_line_in_order(ask, bot, media_folder, tmp_path):
    red = str(media_folder / "red.png")
    lines = [
        {"id": 1, "question": "what?", "image": red},
        {"question": "hello"},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}], "max_new_tokens": 4},
    ]
    file = tmp_path / "q.jsonl"
    file.write_text("\n\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    code, out, err = ask("--batch", file, "--max-new-tokens", 6)
    assert (code, err) == (0, "")
    answers = [json.loads(line) for line in out.splitlines()]
    assert [a["answer"] for a in answers] == [
        bot.ask("what?", image=red, max_new_tokens=6).text,
        bot.ask("hello", max_new_tokens=6).text,
        bot.ask("hi", max_new_tokens=4).text,
    ]
    assert answers[0]["id"] == 1
    assert "id" not in answers[1]


def test_batch_from_a_pipe_with_errors_has_code_2(ask):
    stdin = '{"question": "hello"}\nnonsense\n{"question": "x", "image": "nowhere.png"}\n[]\n{"id": "e"}\n'
    code, out, err = ask("--batch", "-", stdin=stdin)
    assert code == 2
    answers = [json.loads(line) for line in out.splitlines()]
    assert [("answer" in a, "error" in a, a.get("line")) for a in answers] == [
        (True, False, None),
        (False, True, 2),
        (False, True, 3),
        (False, True, 4),
        (False, True, 5),
    ]
    assert answers[4]["id"] == "e"
    assert err == "error: 4 of 5 requests failed\n"


# media arguments


def test_a_batch_line_that_is_no_text_spoils_no_other(ask, tmp_path):
    """Bytes that are not UTF-8, JSON nested without end, half a character, and more that parsers choke on."""
    lines = [
        b'\xef\xbb\xbf{"question": "hello"}',
        b'{"question": "caf\xe9"}',
        b"[" * 100_000,
        b'{"question": "\\ud800 what?"}',
        b'{"messages": [{"role": "user", "content": [{"type": "text", "text": "\\udcff"}]}]}',
        b'{"question": "what?", "image": "a\\u0000b"}',
        b'{"question": "what?", "text": 7}',
        b'{"question": "hello"}',
    ]
    (tmp_path / "odd.jsonl").write_bytes(b"\n".join(lines))
    for source in ("file", "pipe"):
        given = ("--batch", tmp_path / "odd.jsonl") if source == "file" else ("--batch", "-")
        code, out, err = ask(*given, "--max-new-tokens", 4, stdin=b"\n".join(lines))
        assert (code, err) == (2, "error: 6 of 8 requests failed\n")
        answers = [json.loads(line) for line in out.splitlines()]
        assert answers[0]["answer"] == answers[-1]["answer"]
        assert [found.get("line") for found in answers] == [None, 2, 3, 4, 5, 6, 7, None]
        assert not [found for found in answers if "should not happen" in found.get("error", "")]
        for found, complaint in zip(
            answers[1:-1],
            ("not UTF-8", "not JSON", "half of a", "half of a", "null", "expected a string"),
            strict=True,
        ):
            assert complaint in found["error"]


ODD_LINES = [
    (b'{"question": "x", "id": NaN}', "NaN is no number in JSON"),
    (b'{"question": "x", "temperature": Infinity}', "Infinity is no number in JSON"),
    (b'{"question": "x", "temperature": 1e999}', "too large a number"),
    (b'{"question": "x", "temperature": 1%s}' % (b"0" * 400), "temperature is 1000"),
    (b'{"question": "x", "image": ["a.png", 1%s]}' % (b"0" * 400), "the weight is 1000"),
    (b'{"question": "x", "seed": 1%s}' % (b"0" * 2000), "a number of 2001 digits"),
    (b'{"question": "x", "question": "y"}', "stands twice"),
    (b'{"question": "x", "audio": {"array": [0, 0], "sampling_rate": "16000"}}', "a sample rate of a str"),
    (b'{"question": "x", "audio": {"array": [0, 0], "sampling_rate": null}}', "a sample rate of a NoneType"),
    (b'{"question": "x", "audio": {"array": [0, 0], "sampling_rate": [1]}}', "a sample rate of a list"),
    (b'{"question": "x", "audio": [[0.5, 0.25], 48000]}', "audio"),
    (b'{"messages": [{"role": "user", "content": [{"type": ["image"]}]}]}', "the type is ['image']"),
    (
        b'{"messages": [{"role": "user", "content": [{"type": "image", "url": "file://[abc"}]}]}',
        "'file://[abc' is no URL",
    ),
    (
        b'{"messages": [{"role": "user", "content": [{"type": "image", "url": "data:,\\ud800"}]}]}',
        "half of a character",
    ),
    (b'{"messages": [{"role": "Assistant", "content": "x"}]}', "did you mean 'assistant'?"),
    (b'{"messages": [{"role": "user", "content": "x", "eos_token": "y"}]}', "unknown key in message 0"),
    *(
        (form % (b"[" * depth, b"]" * depth), "deep" if depth > 64 else "")
        for depth in (60, 200, 990, 5000)
        for form in (
            b'{"question": "x", "system": %s%s}',
            b'{"messages": %s%s}',
            b'{"question": "x", "image": %s%s}',
            b"%s%s",
        )
    ),
    (b'{"id": %s%s, "question": "x"}' % (b"[" * 5000, b"]" * 5000), "deep"),
    (b'{"question": "x", "num_beams": 1000000}', "unknown request setting 'num_beams'"),
]


def test_every_odd_line_of_a_batch_is_one_error_and_spoils_no_other(ask, bot, tmp_path):
    (tmp_path / "odd.jsonl").write_bytes(b"\n".join([line for line, _ in ODD_LINES] + [b'"hello"']))
    code, out, err = ask("--batch", tmp_path / "odd.jsonl")
    *errors, last = map(json.loads, out.splitlines())
    assert code == 2
    assert err == f"error: {len(ODD_LINES)} of {len(ODD_LINES) + 1} requests failed\n"
    assert last["answer"] == bot.ask("hello").text
    for number, (found, (_, complaint)) in enumerate(zip(errors, ODD_LINES, strict=True), start=1):
        assert found["line"] == number
        assert complaint in found["error"], number
        assert "should not happen" not in found["error"]
        assert len(found["error"]) < 500


def test_long_lines_are_passed_over_and_endless_ones_end_the_batch(ask, bot, tmp_path, monkeypatch):
    from imagebind_llm.cli import batch_lines

    monkeypatch.setattr(batch_lines, "_LONGEST", 4096)
    monkeypatch.setattr(batch_lines, "_SKIPPED", 1 << 20)
    monkeypatch.setattr(batch_lines, "_BLOCK", 4096)
    file = tmp_path / "long.jsonl"
    file.write_bytes(b'"hello"\n"%s"\n"hello"\n' % (b"x" * 900_000))
    code, out, err = ask("--batch", file)
    first, second, third = map(json.loads, out.splitlines())
    assert (code, first["answer"]) == (2, third["answer"])
    assert "longer than" in second["error"]
    file.write_bytes(b'"hello"\n"%s"\n"hello"\n' % (b"x" * 2_000_000))
    code, out, err = ask("--batch", file)
    (only,) = map(json.loads, out.splitlines())
    assert (code, only["answer"]) == (2, first["answer"])
    assert err.startswith("error: line 2 is longer than")
    assert err.count("\n") == 1


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="needs /dev/zero")
def test_an_endless_batch_takes_little_memory(ask):
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code, out, err = ask("--batch", "/dev/zero")
    one_error_line(code, out, err)
    assert "line 1 is longer than" in err
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_batch_settings_are_checked_once_and_before_loading(run, monkeypatch, tmp_path):
    (tmp_path / "two.jsonl").write_text('"hello"\n"hello"\n')
    monkeypatch.setattr(Assistant, "from_pretrained", lambda *_, **__: pytest.fail("a model was loaded"))
    refused = run("ask", "--batch", tmp_path / "two.jsonl", "--cache-k", 0)
    assert "cache_k is 0" in one_error_line(*refused)
    assert "top_p is 2.0" in one_error_line(*run("chat", "--top-p", 2))


def test_batch_settings_also_hold_for_plain_questions(ask, tmp_path):
    (tmp_path / "one.jsonl").write_text('"hello"\n')
    _, out, _ = ask("--batch", tmp_path / "one.jsonl", "--max-new-tokens", 2)
    assert json.loads(out)["new_tokens"] <= 2


def test_a_missing_library_is_one_line(
    run, ask, monkeypatch, tiny_model_folder, tiny_cache_folder, media_folder
):
    run.models.clear()  # a cache that is open needs no library
    cached = ("--cache-dir", tiny_cache_folder)
    for module, package, arguments in (
        ("faiss", "faiss-cpu", ("--text", "dog", "--cache", *cached)),
        ("soundfile", "soundfile", ("--audio", media_folder / "tone.wav", "--no-cache")),
    ):
        with monkeypatch.context() as without:
            without.setitem(sys.modules, module, None)
            complaint = one_error_line(*ask("what?", *arguments))
        assert f"needs the package {package!r}, which is not installed; run: pip install" in complaint
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "pyarrow", None)
        refused = run("embed", media_folder / "red.png", "--out", "x.parquet", "--model", tiny_model_folder)
    assert "this command needs the package 'pyarrow'" in one_error_line(*refused)


def test_a_question_that_is_no_text_is_one_line(ask):
    question = os.fsdecode(b"caf\xe9")
    assert "half of a character" in one_error_line(*ask(question))
    assert "half of a character" in one_error_line(*ask("what?", "--system", question))


def test_paths_with_at_signs_and_weights(media_folder):
    home = str(media_folder / "at@home.png")
    red = str(media_folder / "red.png")
    assert read_medium(Modality.IMAGE, home) == (home, 1.0)
    assert read_medium(Modality.IMAGE, f"{home}@0.25") == (home, 0.25)
    assert read_medium(Modality.IMAGE, f"{red}@-2e-1") == (red, -0.2)
    assert read_medium(Modality.IMAGE, "no@where.png") == ("no@where.png", 1.0)
    assert read_medium(Modality.TEXT, "mail me@home") == ("mail me@home", 1.0)
    assert read_medium(Modality.TEXT, "a dog@-1") == ("a dog", -1.0)
    with pytest.raises(UserError, match="'half' is not a number"):
        read_medium(Modality.IMAGE, f"{red}@half")


# chat


def test_chat_through_a_pipe(run, bot, tiny_model_folder, media_folder):
    red = media_folder / "red.png"
    stdin = f"/image {red}\nwhat?\n\nand now?\n/clear\nhello\n/quit\nnever read\n"
    code, out, err = run("chat", "--model", tiny_model_folder, "--max-new-tokens", 6, stdin=stdin)
    chat = bot.chat(max_new_tokens=6)
    expected = [chat.send("what?", image=red).text, chat.send("and now?").text]
    expected.append(bot.ask("hello", max_new_tokens=6).text)
    assert (code, err) == (0, "")
    assert out == "\n".join(expected) + "\n"


def test_chat_goes_on_after_errors_and_says_so_at_the_end(run, bot, tiny_model_folder):
    stdin = b"caf\xe9?\n/smell rose\n/image\n/image x.png@inf\n/image nowhere.png\nwhat?\nhello\n"
    code, out, err = run("chat", "--model", tiny_model_folder, stdin=stdin)
    assert code == 2
    assert out.endswith(bot.ask("hello").text + "\n")
    assert [line[:7] for line in err.splitlines()] == ["error: "] * 5
    assert "/help" in err
    assert "error: /image 'x.png@inf': the weight" in err
    assert "half of a character" in err
    assert "nowhere.png" in err


def test_chat_looks_at_an_attachment_at_once(run, bot, tiny_model_folder, media_folder, monkeypatch):
    broken, red = media_folder / "broken.png", media_folder / "red.png"
    stdin = f"/image nope.png\n/image {broken}\nwhat?\nhello\n/image {red}\n"
    code, out, err = run("chat", "--model", tiny_model_folder, stdin=stdin)
    assert (code, out) == (2, bot.ask("hello").text + "\n")  # no answer about a picture that is not there
    first, second, third = err.splitlines()
    assert "nope.png" in first
    assert "the message after it is not asked" in first
    assert "broken.png" in second
    assert "no message came after" in third
    assert "red.png" in third

    typed_in(monkeypatch, "/image nope.png", "hello")
    code, out, err = run("chat", "--model", tiny_model_folder)
    assert code == 0
    assert "nope.png" in err
    assert "error: not asked, as /image failed; attach it again, or repeat this without it\n" in err
    assert bot.ask("hello").text not in out
    assert "attached" not in err


def typed_in(monkeypatch, *lines):
    """Let ``lines`` be typed at a terminal."""

    class Terminal(io.TextIOWrapper):
        def isatty(self):
            return True

    typed = iter(lines)
    monkeypatch.setattr("builtins.input", lambda _: next(typed, None) or (_ for _ in ()).throw(EOFError))
    monkeypatch.setattr(io, "TextIOWrapper", Terminal)


@pytest.mark.parametrize(
    ("failing", "held"),
    [
        ("/image nope.png", "/image"),
        ("/imgae {red}", "/imgae"),
        ("/IMAGE {red}", "/IMAGE"),
        ("/image", "/image"),
        ("/image {red}@48000", "/image"),
        ("{red}.none.png", "{red}.none.png"),
        ("/nowhere.png", "/nowhere.png"),
    ],
)
def test_a_question_is_held_after_a_command_that_failed(
    run, bot, tiny_model_folder, media_folder, monkeypatch, failing, held
):
    red = media_folder / "red.png"
    failing, held = failing.format(red=red), held.format(red=red)
    asked, seen = bot.ask("hello").text, bot.ask("hello", image=red).text
    with monkeypatch.context() as patch:
        typed_in(patch, failing, "hello", "hello")
        code, out, err = run("chat", "--model", tiny_model_folder)
    assert code == 0
    assert out.count(asked + "\n") == 1
    assert err.count(f"error: not asked, as {held} failed") == 1
    with monkeypatch.context() as patch:
        typed_in(patch, failing, f"/image {red}", "hello")
        _, out, err = run("chat", "--model", tiny_model_folder)
    assert f"{seen}\n" in out
    assert "not asked" not in err
    code, out, err = run("chat", "--model", tiny_model_folder, stdin=f"{failing}\nhello\n")
    assert (code, out) == (2, "")
    assert "(the message after it is not asked)" in err


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("/IMAGE x", "/image"),
        ("/imgae x", "/image"),
        ("/vidoe x", "/video"),
        ("/Quit", "/quit"),
        ("/hlep", "/help"),
    ],
)
def test_a_slip_in_a_command_is_asked_about(run, tiny_model_folder, typed, meant):
    code, _, err = run("chat", "--model", tiny_model_folder, stdin=f"{typed}\n")
    assert code == 2
    assert f"did you mean {meant}? /help lists them" in err


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("'{0}/my cat.png'", "my cat.png"),
        ('"{0}/my cat.png"', "my cat.png"),
        ("{0}/my\\ cat.png", "my cat.png"),
        ("{0}/my cat.png", "my cat.png"),
        ("'{0}/my cat.png' ", "my cat.png"),
        ("{0}/it\\'s\\ \\(1\\).png", "it's (1).png"),
        ("{0}/it's (1).png", "it's (1).png"),
        ("'{0}/it'\\''s (1).png'", "it's (1).png"),
        ("file://{0}/my%20cat.png", "my cat.png"),
        ("'file://{0}/it%27s%20(1).png'", "it's (1).png"),
        ("~/my cat.png", "my cat.png"),
        ("~/my\\ cat.png", "my cat.png"),
        ("{0}/a\\b.png", "a\\b.png"),
    ],
)
def test_paths_as_they_are_typed_and_dropped(tmp_path, monkeypatch, typed, name):
    from imagebind_llm.cli.typed_paths import typed_medium

    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / name).touch()
    typed = typed.format(tmp_path).strip()
    assert typed_medium(Modality.IMAGE, typed, "/image") == (str(tmp_path / name), 1.0)
    assert typed_medium(Modality.IMAGE, f"{typed}@-0.5", "/image") == (str(tmp_path / name), -0.5)


def test_typed_paths_that_are_none(tmp_path):
    from imagebind_llm.cli.typed_paths import typed_medium

    for words in ("it's.png", "no where.png", "'a", ""):
        assert typed_medium(Modality.IMAGE, words, "/image") == (words, 1.0)
    assert typed_medium(Modality.TEXT, "it's a \\ 'cat'", "/text") == ("it's a \\ 'cat'", 1.0)
    for words, complaint in (
        ("'a.png' 'b.png'", "if these are 2 files, attach each with a /image of its own"),
        ("file://server/a.png", "names the machine 'server'"),
        ("https://x.org/a.png", "is remote"),
    ):
        with pytest.raises(UserError, match=complaint) as caught:
            typed_medium(Modality.IMAGE, words, "/image")
        assert "/image" in str(caught.value)


def test_chat_takes_a_quoted_path(run, bot, tiny_model_folder, media_folder, tmp_path):
    shutil.copy(media_folder / "red.png", tmp_path / "my cat.png")
    stdin = f"/image '{tmp_path}/my cat.png'\nwhat?\n/image '{tmp_path}/no cat.png'\nwhat?\n"
    code, out, err = run("chat", "--model", tiny_model_folder, stdin=stdin)
    assert (code, out) == (2, bot.ask("what?", image=media_folder / "red.png").text + "\n")
    assert f"{tmp_path}/no cat.png: cannot be opened (No such file or directory)" in err


def test_ask_takes_a_file_url(ask, bot, media_folder, tmp_path):
    shutil.copy(media_folder / "red.png", tmp_path / "my cat.png")
    code, out, err = ask("what?", "--image", f"file://{tmp_path}/my%20cat.png@0.5")
    assert (code, err) == (0, "")
    assert out == bot.ask("what?", image=(media_folder / "red.png", 0.5)).text + "\n"


def test_embed_takes_file_urls(run, tiny_model_folder, media_folder, tmp_path):
    (tmp_path / "in").mkdir()
    shutil.copy(media_folder / "red.png", tmp_path / "in" / "my cat.png")
    for given in (f"file://{tmp_path}/in/my%20cat.png", f"FILE://localhost{tmp_path}/in"):
        out = tmp_path / "x.csv"
        code, _, err = run("embed", given, "--out", out, "--model", tiny_model_folder)
        assert (code, err) == (0, "")
        assert out.read_text().splitlines()[1].startswith(f"{tmp_path}/in/my cat.png,image,")


# embed


@pytest.fixture
def embed(run, tiny_model_folder):
    return lambda *arguments: run("embed", *arguments, "--model", tiny_model_folder)


def test_embed_writes_every_format(embed, bot, media_folder, tmp_path):
    import csv

    import pyarrow.parquet as pq

    files = [media_folder / "red.png", media_folder / "tone.wav"]
    expected = bot.embed(image=files[0], audio=files[1]).numpy()
    for suffix in ("parquet", "npy", "csv"):
        code, out, _ = embed(*files, "--out", tmp_path / f"x.{suffix}", "--json")
        assert code == 0
        assert json.loads(out)["count"] == 2
    table = pq.read_table(tmp_path / "x.parquet")
    assert table["path"].to_pylist() == [str(file) for file in files]
    assert table["modality"].to_pylist() == ["image", "audio"]
    np.testing.assert_allclose(np.stack(table["embedding"].to_pylist()), expected, atol=1e-5)
    assert table.schema.metadata[b"encoder"].decode() == bot.encoder_fingerprint
    np.testing.assert_allclose(np.load(tmp_path / "x.npy"), expected, atol=1e-5)
    with open(tmp_path / "x.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[1]["path"] == str(files[1])
    np.testing.assert_allclose([float(rows[0][f"e{i}"]) for i in range(28)], expected[0], atol=1e-5)


def test_embed_takes_folders_and_leaves_bad_files_out(embed, media_folder, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("red.png", "broken.png", "blue.png"):
        (tmp_path / "in" / name).write_bytes((media_folder / name).read_bytes())
    code, _, err = embed(tmp_path / "in", "--modality", "image", "--out", tmp_path / "x.npy")
    assert code == 2
    assert "broken.png" in err
    assert "error: 1 of 3 files were left out" in err
    assert np.load(tmp_path / "x.npy").shape == (2, 28)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["{media}/red.png", "--out", "x.xlsx"], "ends in '.xlsx'; expected .parquet, .csv, .npy"),
        (["nowhere.png", "--out", "x.npy"], "'nowhere.png': there is no such file"),
        (["{tmp}/pipe", "--out", "x.npy"], "pipe': it is a pipe, socket or device; give a file"),
        (["file://{tmp}/pipe", "--out", "x.npy"], "pipe': it is a pipe, socket or device"),
        (["file://{tmp}/nowhere.png", "--out", "x.npy"], "there is no such file"),
        (["file://server/a.png", "--out", "x.npy"], "names the machine 'server'"),
        (["https://x.org/a.png", "--out", "x.npy"], "is remote"),
        (["{media}/red.png", "--out", "x.npy", "--modality", "smell"], "unknown modality 'smell'"),
        (["{media}/red.png", "--out", "{media}"], "is a folder; give the name of a file"),
        (["{media}/red.png", "--out", "{tmp}/folder.npy"], "is a folder; give the name of a file"),
        (["{media}/red.png", "--out", "{media}/red.png/x.npy"], "red.png' is a file"),
        (["{media}/red.png", "--out", "{tmp}/locked/new/x.npy"], "locked' may not be written to"),
    ],
)
def test_embed_refuses_before_it_works(run, embed, monkeypatch, media_folder, tmp_path, arguments, complaint):
    (tmp_path / "folder.npy").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "locked").mkdir()
    may = os.access  # the tests may run as root, who may write anywhere
    monkeypatch.setattr(os, "access", lambda path, mode: str(path)[-6:] != "locked" and may(path, mode))
    monkeypatch.setattr(Assistant, "from_pretrained", lambda *_, **__: pytest.fail("a model was loaded"))
    places = {"media": media_folder, "tmp": tmp_path}
    assert complaint in one_error_line(*embed(*[a.format(**places) for a in arguments]))


def test_embed_names_its_own_option_and_each_file_once(embed, media_folder, tmp_path):
    np.save(tmp_path / "map.npy", np.ones((8, 8)))
    code, _, err = embed(
        tmp_path / "map.npy",
        media_folder / "broken.png",
        media_folder / "red.png",
        "--out",
        tmp_path / "x.npy",
    )
    assert code == 2
    assert "say which modality it is, for example with --modality depth" in err
    assert err.count("map.npy") == err.count("broken.png") == 1


def test_embed_reads_the_words_in_text_files(embed, bot, media_folder, tmp_path):
    (tmp_path / "notes.txt").write_text("a dog barks")
    (tmp_path / "words").write_text("a red cat")
    out = tmp_path / "x.npy"
    assert embed(tmp_path / "notes.txt", "--out", out)[0] == 0
    assert np.allclose(np.load(out), bot.embed(text=["a dog barks"]), atol=1e-6)
    assert embed(tmp_path / "words", tmp_path / "notes.txt", "--modality", "text", "--out", out)[0] == 0
    assert np.allclose(np.load(out), bot.embed(text=["a red cat", "a dog barks"]), atol=1e-6)
    code, _, err = embed(media_folder / "red.png", "--modality", "text", "--out", out)
    assert code == 2
    assert "red.png': text: bytes that are not UTF-8" in err


@pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes")
def test_files_whose_names_are_no_text(ask, embed, media_folder, tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    shutil.copy(media_folder / "red.png", path)
    code, out, err = ask("what?", "--image", path, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out.encode().decode("utf-8"))["media"][0]["source"] == path
    for suffix in (".csv", ".parquet", ".npy"):
        assert embed(path, "--out", tmp_path / f"x{suffix}")[0] == 0
    assert "/caf\\xe9.png,image," in (tmp_path / "x.csv").read_text()


# cache


def test_cache_from_build_to_search_and_use(run, ask, bot, tiny_model_folder, media_folder, tmp_path):
    pictures = tmp_path / "pictures"
    (pictures / "warm").mkdir(parents=True)
    random = np.random.default_rng(5)
    for i in range(12):
        Image.fromarray(random.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(
            pictures / "warm" / f"{i}.png"
        )
    (pictures / "captions.tsv").write_text("warm/3.png\tthe third\n")
    (pictures / "torn.png").write_bytes(b"not a picture")
    folder = tmp_path / "my-cache"
    model = ("--model", tiny_model_folder)
    code, out, err = run(
        "cache", "build", pictures, "--out", folder, "--captions", pictures / "captions.tsv", "--json", *model
    )
    assert code == 0, err
    built = json.loads(out)
    assert (built["count"], built["left_out"], built["encoder_fingerprint"]) == (
        12,
        1,
        bot.encoder_fingerprint,
    )
    assert "torn.png" in err

    code, out, _ = run("cache", "info", folder, "--json")
    facts = json.loads(out)
    assert (code, facts["count"], facts["dim"], facts["kind"]) == (0, 12, 28, "exact")

    code, out, _ = run(
        "cache",
        "search",
        "--image",
        pictures / "warm" / "3.png",
        "--k",
        4,
        "--cache-dir",
        folder,
        "--out",
        tmp_path / "sheet.png",
        "--json",
        *model,
    )
    hits = json.loads(out)
    assert code == 0
    assert len(hits) == 4
    assert hits[0]["caption"] == "the third"
    assert hits[0]["similarity"] == pytest.approx(1, abs=1e-4)
    sheet = Image.open(tmp_path / "sheet.png")
    assert sheet.width > 4 * 100
    pixels = np.asarray(sheet.convert("RGB"), float)
    query, best = pixels[40:80, 40:80], pixels[40:80, -80:-40]
    assert query.std() > 20  # the picture itself, not its name
    assert best.std() > 20

    code, out, _ = ask(
        "what?", "--audio", media_folder / "tone.wav", "--cache-dir", folder, "--json", "--cache-k", 5
    )
    assert json.loads(out)["cached"]


def test_cache_search_says_that_there_are_no_thumbnails(
    run, tiny_model_folder, tiny_cache_folder, media_folder, tmp_path
):
    search = ("cache", "search", "--model", tiny_model_folder, "--cache-dir", tiny_cache_folder)
    code, _, err = run(*search, "--audio", media_folder / "tone.wav", "--out", tmp_path / "found.png")
    assert code == 0
    assert err == "note: this cache keeps no thumbnails; captions (or row numbers) are drawn instead\n"


def test_a_cache_that_was_given_is_opened_in_any_case(ask, media_folder, tiny_cache_folder, tmp_path):
    (tmp_path / "empty").mkdir()
    image = ("--image", media_folder / "red.png")
    assert "has no manifest.json" in one_error_line(*ask("what?", *image, "--cache-dir", tmp_path / "empty"))
    code, _, err = ask("what?", *image, "--cache-dir", tiny_cache_folder)
    assert code == 0
    assert err == "note: the cache was not used: this model's default for image; add --cache\n"
    for more in (("--cache",), ("--no-cache",)):
        assert ask("what?", *image, "--cache-dir", tiny_cache_folder, *more)[2] == ""


def test_cache_refuses_captions_that_cannot_be_meant(run, media_folder, tmp_path):
    captions = tmp_path / "captions.tsv"
    for content, complaint in (
        (b"red.png\tcaf\xe9\n", "is not UTF-8"),
        (b"red.png a cat\n", "line 1 has no tab"),
        (b"other/red.png\ta cat\n", "none of the 1 names"),
        (b"", "none of the 0 names"),
    ):
        captions.write_bytes(content)
        refused = run("cache", "build", media_folder, "--out", tmp_path / "c", "--captions", captions)
        assert complaint in one_error_line(*refused)


def test_cache_search_takes_any_modality_by_name(
    run, ask, tiny_model_folder, tiny_cache_folder, media_folder
):
    search = ("cache", "search", "--model", tiny_model_folder, "--cache-dir", tiny_cache_folder, "--json")
    red = media_folder / "red.png"
    by_name = run(*search, "--k", 2, "--media", f"image={red}")
    assert by_name[0] == 0
    assert by_name == run(*search, "--k", 2, "--image", red)
    assert "there is no such file" in one_error_line(*run(*search, "--media", "image=nowhere.png"))


def test_cache_refuses(run, tiny_model_folder, tmp_path):
    assert "nothing to search for" in one_error_line(*run("cache", "search", "--model", tiny_model_folder))
    assert "no cache" in one_error_line(*run("cache", "search", "--text", "x", "--model", tiny_model_folder))
    assert "no cache folder" in one_error_line(*run("cache", "info", tmp_path / "nowhere"))
    assert "--kind is 'best'" in one_error_line(
        *run("cache", "build", tmp_path, "--out", tmp_path / "c", "--kind", "best")
    )
    assert "there is no folder" in one_error_line(
        *run("cache", "build", tmp_path / "none", "--out", tmp_path / "c")
    )


# info and help


def test_info_knows_the_model_without_loading_it(run, tiny_model_folder, bot):
    code, out, _ = run("info", tiny_model_folder, "--json")
    assert code == 0
    model = json.loads(out)["model"]
    assert model["parameters"]["total"] == sum(tensor.numel() for tensor in bot.model.state_dict().values())
    assert model["fingerprints"]["encoder"] == bot.encoder_fingerprint
    assert model["language_model"]["layers"] == 3
    assert len(model["encoder"]["modalities"]) == 8
    code, out, _ = run("info", tiny_model_folder)
    assert "width: 40" in out


def test_version_and_help_of_every_command(run):
    from imagebind_llm import __version__

    assert run("--version")[1] == f"imagebind-llm {__version__}\n"
    code, out, _ = run("--help")
    assert code == 0
    commands = [
        line.split()[0] for line in out.partition("Commands:")[2].splitlines() if line.startswith("  ")
    ]
    commands = [name for name in commands if name.islower() and name.isalpha()]
    assert {"ask", "chat", "embed", "cache", "info", "train"} <= set(commands)
    for name in ("ask", "chat", "embed", "info", "cache build", "cache info", "cache search"):
        code, out, _ = run(*name.split(), "--help")
        assert code == 0
        assert f"imagebind-llm {name}" in out.partition("Example")[2]


# processes


def python(code, **more):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False, **more
    )


def test_importing_the_package_or_asking_for_help_imports_no_torch():
    code = (
        "import sys, imagebind_llm\n"
        "from imagebind_llm.cli import main\n"
        "for words in ('', 'ask', 'cache build', 'train', 'eval', 'eval retrieval', 'data fetch'):\n"
        "    words = [*words.split(), '--help']\n"
        "    try: main(words)\n"
        "    except SystemExit as leaving: assert not leaving.code, words\n"
        "heavy = {'torch', 'transformers', 'numpy', 'faiss', 'pyarrow', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr


def test_all_public_names_exist():
    import imagebind_llm

    for name in imagebind_llm.__all__:
        assert getattr(imagebind_llm, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = imagebind_llm.nothing


_SLOW = """
import sys, time
from imagebind_llm import cli
from imagebind_llm.cli import info
import typer
@info.app.callback(invoke_without_command=True)
def slow():
    {body}
cli.main(['info'])
"""


def test_an_interruption_is_quiet():
    code = _SLOW.format(body="print('ready', flush=True); time.sleep(60)")
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # a shell's background job ignores it
    ) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.strip() == ""


def test_a_closed_pipe_is_quiet():
    code = _SLOW.format(body="[print('x' * 1000) for _ in range(1000)]")
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")
