"""The first second of a command: what is imported, what is printed and when, what a slip of the pen gets."""

import gc
import io
import json
import logging
import re
import subprocess
import sys

import pytest
import typer

from imagebind_llm import __version__
from imagebind_llm.cli import main, status
from imagebind_llm.cli.app import app


def python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


class _Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Call it in the test: both streams are then one terminal, which keeps what was written in order."""

    def make(kind="xterm"):
        screen = _Terminal()
        monkeypatch.setenv("TERM", kind)
        monkeypatch.setattr(sys, "stdout", screen)
        monkeypatch.setattr(sys, "stderr", screen)
        return screen

    return make


_ASK = """
import json, sys
from imagebind_llm.cli import main, status
seen = []
show = status.show
status.show = lambda text: (seen.append((text, "torch" in sys.modules)), show(text))
try:
    main(["ask", "what?", "--image", sys.argv[2], "--model", sys.argv[1], "--device", "cpu"])
except SystemExit as leaving:
    heavy = [name for name in ("peft", "faiss", "pyarrow", "sklearn", "matplotlib") if name in sys.modules]
    print(json.dumps({"code": leaving.code, "seen": seen, "heavy": heavy}))
"""


def test_ask_imports_what_it_needs_and_says_so_first(media_folder):
    """nano has low-rank updates: they are folded without peft."""
    done = python(_ASK, "nano", media_folder / "red.png")
    *_, last = done.stdout.splitlines()
    values = json.loads(last)
    assert values["code"] == 0, done.stderr
    assert values["seen"] == [["starting …", False], ["loading nano …", False]]
    assert values["heavy"] == []
    assert done.stderr == ""  # also where torchao is installed


def test_python_snippets_are_without_noise():
    code = (
        "from imagebind_llm import Assistant\n"
        "import imagebind_llm.model.processing, sys\n"
        "print('transformers.modeling_utils' in sys.modules)\n"
    )
    done = python(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_only_the_known_noise_is_dropped():
    shown = []
    handler = logging.Handler()
    handler.emit = lambda record: shown.append(record.getMessage())
    torchao, tree = loggers = [logging.getLogger(name) for name in ("torchao", "torch.utils._pytree")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.WARNING)
    try:
        torchao.warning("Failed to load /some/where/_C_mxfp8.so: no such file")
        torchao.warning("Something else")
        tree.warning("%s is an Enum subclass and is now natively supported by torch.compile", "X")
        tree.warning("Another thing")
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
    assert shown == ["Something else", "Another thing"]


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_the_version(option, capsys):
    with pytest.raises(SystemExit) as leaving:
        main([option])
    assert leaving.value.code == 0
    assert capsys.readouterr().out == f"imagebind-llm {__version__}\n"


def test_the_version_and_slips_import_no_torch():
    code = (
        "import sys\n"
        "from imagebind_llm.cli import main\n"
        "for words in (['-V'], ['aks'], ['ask', 'x', '--imge', 'a']):\n"
        "    try: main(words)\n"
        "    except SystemExit: pass\n"
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)\n"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["aks", "x"], "no such command 'aks'; did you mean ask?; see: imagebind-llm --help"),
        (["cache", "buidl"], "no such command 'buidl'; did you mean build?; see: imagebind-llm cache --help"),
        (
            ["ask", "--imge", "a"],
            "no such option: --imge; did you mean --image?; see: imagebind-llm ask --help",
        ),
        (["ask", "--no-cahe", "a"], "did you mean --no-cache?"),
        (["chat", "--modle", "a"], "did you mean --model?"),
        (["--versoin"], "did you mean --version?"),
    ],
)
def test_slips(words, complaint, capsys):
    with pytest.raises(SystemExit) as leaving:
        main(words)
    err = capsys.readouterr().err
    assert leaving.value.code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert complaint in err


def test_help_of_every_command_has_examples():
    def walk(command, name, parent):
        context = command.make_context(name, [], parent=parent, resilient_parsing=True)
        yield name, command.get_help(context)
        for member in command.list_commands(context) if hasattr(command, "list_commands") else ():
            yield from walk(command.get_command(context, member), f"{name} {member}", context)

    texts = dict(walk(typer.main.get_command(app), "imagebind-llm", None))
    assert len(texts) > 20
    assert [
        name for name, text in texts.items() if not re.search(r"\bexamples?\b", text, re.IGNORECASE)
    ] == []
    assert "Examples:" in texts["imagebind-llm"]


def test_the_line_is_erased_by_the_first_output(terminal):
    screen = terminal()
    status.show("one …")
    status.show("two …")
    print("words")
    print("more", file=sys.stderr)
    assert screen.getvalue() == "\r\x1b[Kone …\r\x1b[Ktwo …\r\x1b[Kwords\nmore\n"
    status.end()
    assert sys.stdout is sys.stderr is screen


def test_a_command_leaves_no_line_behind(terminal):
    screen = terminal()
    with pytest.raises(SystemExit):
        main(["ask"])
    shown, _, left = screen.getvalue().rpartition("\r\x1b[K")
    assert "starting …" in shown
    assert left == "error: no question; give one, or --batch FILE.jsonl\n"
    assert sys.stderr is screen


def test_no_line_without_a_terminal_that_can_erase(terminal, capsys):
    status.show("one …")
    assert capsys.readouterr().err == ""
    screen = terminal("dumb")
    status.show("one …")
    assert screen.getvalue() == ""


def test_a_pipe_is_told_only_when_it_takes_long(monkeypatch, capsys):
    with status.loading("nano"):
        pass
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(status, "_LONG", 0.0)
    told = status.threading.Event()
    tell = status._tell
    monkeypatch.setattr(status, "_tell", lambda text: (tell(text), told.set()))
    with status.loading("nano"):
        assert told.wait(30)
    assert capsys.readouterr().err == "loading nano …\n"


def test_the_collector_works_again_after_loading():
    assert gc.isenabled()
    inside = []

    def fail():
        with status.loading("nano"):
            inside.append(gc.isenabled())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert inside == [False]
    assert gc.isenabled()
