"""An assistant in other processes, and copies of it."""

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time

import pytest
import torch

from imagebind_llm import Assistant, UserError
from imagebind_llm.inference import forks


@pytest.fixture(scope="module")
def cached_bot(tiny_model_folder, tiny_cache_folder):
    return Assistant.from_pretrained(tiny_model_folder, device="cpu", cache=tiny_cache_folder)


FORKING = """
import os, sys, torch
from imagebind_llm import Assistant

torch.set_num_threads(3)  # else OpenMP has no threads to lose
bot = Assistant.from_pretrained(sys.argv[1], cache=sys.argv[3])
red, blue = (os.path.join(sys.argv[2], name) for name in ("red.png", "blue.png"))

def answers():
    return [bot.ask("what?", image=path, max_new_tokens=6, cache=True).text for path in (red, blue)]

bot.ask("what?", image=red, max_new_tokens=6, cache=True)
pid = os.fork()
if pid == 0:
    theirs = answers()
    print(theirs, flush=True)
    os._exit(0)
status = os.waitpid(pid, 0)[1]
print(answers())
sys.exit(status)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_answers_as_its_parent(tiny_model_folder, tiny_cache_folder, media_folder):
    done = subprocess.run(
        [sys.executable, "-c", FORKING, str(tiny_model_folder), str(media_folder), str(tiny_cache_folder)],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    child, parent = done.stdout.splitlines()
    assert child == parent


def ask(bot):
    return bot.ask("hello", max_new_tokens=6).text


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(bot, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    expected = ask(bot)
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply_async(ask, (bot,)).get(240) == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_in_the_middle_of_a_step_answers(bot, monkeypatch):
    """The parent's step goes on in another thread; the child has neither the thread nor its rows."""
    expected, reached, go_on = ask(bot), threading.Event(), threading.Event()
    forward = type(bot.model).forward

    def slow(self, *args, **kwargs):
        if threading.current_thread().name == "stepping":
            reached.set()
            go_on.wait(30)
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(type(bot.model), "forward", slow)
    thread = threading.Thread(target=ask, args=(bot,), name="stepping")
    thread.start()
    assert reached.wait(30)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if ask(bot) == expected else 1)
    deadline = time.monotonic() + 30
    while not (ended := os.waitpid(pid, os.WNOHANG))[0] and time.monotonic() < deadline:
        time.sleep(0.05)
    if not ended[0]:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    go_on.set()
    thread.join(30)
    assert ended == (pid, 0)
    assert ask(bot) == expected


def test_a_gpu_that_the_parent_opened_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    forks.refuse_lost_gpu(torch.device("cpu"))
    with pytest.raises(UserError, match="spawn"):
        forks.refuse_lost_gpu(torch.device("cuda", 0))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
def test_copies_answer_alike_and_share_nothing(cached_bot, media_folder, copied):
    def answer(bot):
        return bot.ask("what?", audio=media_folder / "tone.wav", max_new_tokens=6, cache=True).text

    expected = answer(cached_bot)
    again = copied(cached_bot)
    assert answer(again) == expected
    with torch.no_grad():
        for parameter in again.model.language_model.parameters():
            parameter.zero_()
    assert answer(cached_bot) == expected


def test_a_chat_is_copied_with_its_memory(bot, media_folder):
    chat = bot.chat(max_new_tokens=6)
    chat.send("what?", image=media_folder / "red.png")
    again = pickle.loads(pickle.dumps(chat))
    assert again.send("and now?").text == chat.send("and now?").text
    assert len(again.messages) == 4
