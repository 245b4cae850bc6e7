"""``imagebind-llm chat``: a dialog in the terminal, or from a pipe."""

import io
import sys
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagebind_llm.cli import options as shared
from imagebind_llm.cli import tool_options
from imagebind_llm.cli.made_files import check_folder, save
from imagebind_llm.common.errors import UserError, one_line, short
from imagebind_llm.common.modality import Modality

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagebind_llm.cli.mentioned_files import Found
    from imagebind_llm.inference.assistant import Assistant
    from imagebind_llm.inference.chat import Chat
    from imagebind_llm.inference.request import Answer

app = typer.Typer()

_HELP = """\
/image PATH[@WEIGHT]   attach an image to the next message; likewise
/video /audio /point /depth /thermal /imu PATH[@WEIGHT], /text WORDS[@WEIGHT]
                       (a path may be quoted, have \\ before spaces, or be a file: URL)
/retry                 answer the last question again
/edit WORDS            ask something else instead of the last question, about what was attached to it
/undo                  take the last question and its answer back
/clear                 forget the dialog and what is attached
/save FILE.json        keep the dialog and its media; /load FILE.json goes on with it
/export FILE           write it to be read: FILE.html or FILE.md, with the pictures and sounds inside
/help                  this
/quit                  leave (or Ctrl-D)
PATH                   alone or in a message: attaches that file, as what its content says
Media stay in sight until a later message brings others.
After a command that failed the next message is not asked; repeat it if it should be."""

_COMMANDS = ("help", "retry", "edit", "undo", "clear", "save", "load", "export", "quit", "exit")
_NOT_ASKED = {
    True: "(the message after it is not asked)",
    False: "(the message is not asked)",
}
"""What is said of a file that cannot be attached, by whether it stood alone."""

_EXAMPLES = """
\b
Examples:
  imagebind-llm chat
  imagebind-llm chat --model my-model --temperature 0.1
  imagebind-llm chat --load talk.json --window 20
  imagebind-llm chat --tool calculator --tool generator --save made
  printf '/image cat.png\\nWhat is this?\\nWhat colour is it?\\n' | imagebind-llm chat
"""


@app.command(epilog=_EXAMPLES, short_help="Talk about media over several turns.")
def chat(
    model: shared.ModelOption = "nano",
    device: shared.DeviceOption = "auto",
    dtype: shared.DtypeOption = "auto",
    quantize: shared.QuantizeOption = None,
    encoder_device: shared.EncoderDeviceOption = None,
    device_map: shared.DeviceMapOption = None,
    max_memory: shared.MemoryOption = None,
    offload_dir: shared.OffloadOption = None,
    cache: shared.CacheOption = None,
    cache_dir: shared.CacheFolderOption = None,
    cache_k: shared.CacheKOption = None,
    cache_temperature: shared.CacheTemperatureOption = None,
    cache_weight: shared.CacheWeightOption = None,
    max_new_tokens: shared.NewTokensOption = None,
    temperature: shared.TemperatureOption = 0.0,
    top_p: shared.TopPOption = 0.75,
    seed: shared.SeedOption = None,
    system: shared.SystemOption = None,
    window: Annotated[
        int | None, typer.Option("--window", min=1, help="Most questions that the model reads.")
    ] = None,
    summary: Annotated[
        bool,
        typer.Option(
            "--summary", help="Let the model sum up what it does not read any more (not every model can)."
        ),
    ] = False,
    load: Annotated[
        Path | None, typer.Option("--load", metavar="FILE", help="Go on with a dialog that /save wrote.")
    ] = None,
    tool: tool_options.ToolOption = None,
    tools_file: tool_options.ToolsFileOption = None,
    tool_choice: tool_options.ToolChoiceOption = "auto",
    yes: tool_options.YesOption = False,
    save_: tool_options.SaveOption = Path(),
) -> None:
    """Talk about media over several turns; /image, /audio, … attach them to the next message.

    A file that is named in a message, or dropped on the terminal, is attached as well. What is shown after an
    answer is how likely the model was to say exactly that, which is not how likely it is right.

    With --tool, calls are shown before the answer, which is printed when it is complete.

    From a pipe, each line is a message or a command; the exit code is 2 if any of them failed, else 3 if a
    call was refused.
    """
    from imagebind_llm.inference.request import Options

    settings: dict[str, Any] = {
        "cache": cache,
        "cache_k": cache_k,
        "cache_temperature": cache_temperature,
        "cache_weight": cache_weight,
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "seed": seed,
    }
    Options(**settings)  # complain before loading
    settings |= {"system": system, "window": window, "summary": summary}
    from imagebind_llm.skills.dialogs.transcripts import load_chat, load_transcript

    if load is not None:
        load_transcript(load)
    given = tool_options.read_tools_given(tool, tools_file, tool_choice)
    if given:
        check_folder(save_)
    placing = shared.placing(quantize, encoder_device, device_map, max_memory, offload_dir)
    bot = shared.open_assistant(model, device, dtype, cache_dir, **placing)
    if isinstance(sys.stdin, io.TextIOWrapper):
        # what is not UTF-8 comes through: a file's name may be anything, and words are checked later
        sys.stdin.reconfigure(errors="surrogateescape")
    who: Any = bot
    if given:
        who = tool_options.tool_user(bot, given, yes)
        settings["tool_choice"] = tool_choice
    dialog = who.chat(**settings) if load is None else load_chat(who, load, **settings)
    raise typer.Exit(_Session(bot, dialog, sys.stdin.isatty(), save_ if given else None).run())


class _Session:
    """Reads lines and acts on them."""

    def __init__(self, bot: "Assistant", dialog: "Chat", interactive: bool, made: Path | None) -> None:
        self._bot = bot
        self._dialog = dialog
        self._interactive = interactive
        self._made = made
        """Where files go that tools make; None without tools."""
        self._refused = False
        self._attached: dict[str, list[tuple[str, float]]] = {}
        self._failed = False
        self._held = ""
        """A command that failed. The next message is not asked: it is about what could not be attached."""
        self._told = 0

    def run(self) -> int:
        """Until the end; returns the exit code."""
        if self._interactive:
            _enable_line_editing()
            typer.echo("Say something; /help shows how to attach media, /quit leaves.")
        while (line := self._read()) is not None:
            line = line.strip()
            if not line:
                continue
            if line.split(maxsplit=1)[0] in ("/quit", "/exit"):
                break
            try:
                self._act(line)
            except UserError as error:
                self._failed = True
                typer.echo(f"error: {error}", err=True)
        if self._attached and not self._interactive:
            self._failed = True
            unused = ", ".join(source for values in self._attached.values() for source, _ in values)
            typer.echo(f"error: no message came after {unused} was attached; ask something", err=True)
        if self._interactive:
            return 0
        return 2 if self._failed else tool_options.REFUSED if self._refused else 0

    def _read(self) -> str | None:
        if not self._interactive:
            return sys.stdin.readline() or None
        try:
            return input("you> ")
        except EOFError:
            typer.echo()
            return None

    def _act(self, line: str) -> None:
        command, _, rest = line[1:].partition(" ")
        if not _is_command(line):
            self._say(line)
            return
        if command == "help":
            typer.echo(_HELP)
        elif command == "clear":
            self._dialog.clear()
            self._attached.clear()
            self._held = ""
        elif command in ("retry", "edit", "undo"):
            self._take_back(command, rest.strip())
        elif command in ("save", "load", "export"):
            self._file(command, rest.strip())
        else:
            try:
                self._attach(command, rest.strip())
            except UserError as error:
                self._held = one_line(f"/{command}", 60)
                if self._interactive:
                    raise
                raise UserError(f"{error} (the message after it is not asked)") from None

    def _take_back(self, command: str, words: str) -> None:
        """Take the last question back, and ask it again or another one instead, unless it is undone.

        Raises:
            UserError: nothing has been asked, or the new question cannot be; then the dialog is as it was.
        """
        if (command == "edit") != bool(words):
            raise UserError(
                "/edit needs the new question" if command == "edit" else f"/{command} takes no words"
            )
        before = self._dialog.history
        question, media = self._dialog.undo()
        if command == "undo":
            self._notice(f"taken back: {one_line(question, 60)}")
            return
        try:
            self._ask(words or question, dict(self._attached) or media)
        finally:
            if len(self._dialog.history) < len(before):  # it failed, or was stopped
                self._dialog.restore(before)
        self._attached.clear()

    def _file(self, command: str, name: str) -> None:
        """Keep the dialog in a file, write it to be read, or go on with one that was kept.

        Raises:
            UserError: there is nothing to keep, or the file is none for it.
        """
        from imagebind_llm.cli.typed_paths import unquoted
        from imagebind_llm.skills.dialogs.reading import export_dialog
        from imagebind_llm.skills.dialogs.transcripts import load_transcript, save_transcript

        if not name:
            raise UserError(f"/{command} needs the name of a file")
        path = Path(unquoted(name, f"/{command}")).expanduser()
        if command == "load":
            self._dialog.restore(*load_transcript(path))
            self._attached.clear()
            self._notice(f"going on after {len(self._dialog.history) // 2} questions")
            return
        history = self._dialog.history
        if not history:
            raise UserError(f"there is nothing to {command} yet")
        if command == "export":
            export_dialog(history, path, self._dialog.system)
        else:
            save_transcript(history, path, self._dialog.system)
        self._notice(f"written: {path}")

    def _attach(self, command: str, rest: str) -> None:
        """Attach a medium to the next message.

        It is opened now, so that a broken file is told of before a question is typed, and lost, for it.

        Raises:
            UserError: no such command, or the medium cannot be read.
        """
        from imagebind_llm.cli.typed_paths import typed_medium
        from imagebind_llm.model.messages import media_items

        if command not in Modality.known():
            raise UserError(f"unknown command {short('/' + command)}; {_meant(command)}/help lists them")
        if not rest:
            raise UserError(f"/{command} needs {'words' if command == 'text' else 'a path'}")
        medium = typed_medium(Modality.parse(command), rest, f"/{command}")
        self._bot.processor.load(media_items({command: medium}))
        self._attached.setdefault(command, []).append(medium)
        if self._interactive:  # mended; a script cannot know that it has to be
            self._held = ""
        self._notice(f"attached to the next message: {command} {rest}")

    def _say(self, line: str) -> None:
        """Ask, about the files that the line names; a line of nothing else attaches them to the next message.

        Raises:
            UserError: a file that is not there, or is no medium; then nothing is attached or asked.
        """
        from imagebind_llm.cli.mentioned_files import mentioned_files, words_without

        found = mentioned_files(line)
        alone = bool(found.files or found.missing) and not _has_words(found.rest(line))
        try:
            if found.missing:
                raise UserError(f"no file {short(found.missing[0].path)}; nothing attached")
            taken = self._opened(found.files)
        except UserError as error:
            self._not_said(line, alone)
            if alone and self._interactive:
                raise
            raise UserError(f"{error} {_NOT_ASKED[alone]}") from None
        for one, modality in taken:
            self._attached.setdefault(modality, []).append((one.path, one.weight))
            where = " to the next message" if alone else ""
            typer.echo(f"(attached{where}: {modality} {one_line(one.path)})", err=True)
        if alone:
            self._held = "" if self._interactive else self._held
            return
        self._answer(words_without(line, found.files))

    def _opened(self, files: "Sequence[Found]") -> list[tuple["Found", str]]:
        """The files, and of which modality each is.

        Raises:
            UserError: one is no medium, a damaged one, or could be of several modalities.
        """
        from imagebind_llm.media.detect import guess
        from imagebind_llm.model.messages import media_items

        found = []
        for one in files:
            try:
                modality = guess(one.path)
                if modality is Modality.TEXT:
                    raise UserError(f"{one_line(one.path)} holds text; attach words with /text WORDS")
                self._bot.processor.load(media_items({modality.value: (one.path, one.weight)}))
            except UserError as error:
                raise UserError(f"{error}; nothing attached") from None
            found.append((one, modality.value))
        return found

    def _not_said(self, line: str, alone: bool) -> None:
        """A line with a file that cannot be attached: like a command that failed, if it is nothing else."""
        if alone:
            self._held = one_line(line)
        elif not self._interactive:
            self._attached.clear()

    def _answer(self, question: str) -> None:
        if self._held:
            failed, self._held = self._held, ""
            if self._interactive:
                raise UserError(f"not asked, as {failed} failed; attach it again, or repeat this without it")
            self._attached.clear()
            return
        media: dict[str, Any] = dict(self._attached)
        self._attached.clear()  # also when it fails: a broken file must not stick
        self._ask(question, media)

    def _ask(self, question: str, media: dict[str, Any]) -> None:
        say = self._stream if self._made is None else self._use_tools
        answer = say(question, media)
        if answer is not None and answer.confidence is not None:
            self._notice(f"confidence {answer.confidence:.2g}")
        if self._dialog.forgotten > self._told:
            self._told = self._dialog.forgotten
            self._notice(
                f"the dialog is longer than the model's context; forgot {self._told} of the oldest turns"
            )

    def _use_tools(self, question: str, media: dict[str, Any]) -> "Answer | None":
        """Print an answer with tools; None if it was stopped.

        Raises:
            UserError: a file that a tool made cannot be written. The question has been answered then.
        """
        assert self._made is not None, "there are tools"
        try:
            answer = self._dialog.send(question, **media)
        except KeyboardInterrupt:
            if not self._interactive:
                raise
            typer.echo(" …")  # stop this answer, not the dialog
            return None
        self._refused = self._refused or any(call.refused for call in answer.calls)
        try:
            files = save(answer.made, self._made)
        except OSError as error:
            tool_options.show_words(answer, ())
            raise UserError(f"what was made cannot be written to {self._made} ({error.strerror})") from None
        tool_options.show_words(answer, files)
        return answer

    def _stream(self, question: str, media: dict[str, Any]) -> "Answer | None":
        """Print an answer as it is written; None if it was stopped."""
        wrote, pieces = False, None
        try:
            pieces = self._dialog.stream(question, **media)
            for piece in pieces:
                typer.echo(piece, nl=False)
                sys.stdout.flush()
                wrote = True
        except KeyboardInterrupt:
            if not self._interactive:
                raise
            typer.echo(" …", nl=False)  # stop this answer, not the dialog
            wrote = True
        finally:
            if wrote:
                typer.echo()
        if not wrote:
            typer.echo()
            typer.echo(shared.EMPTY_ANSWER, err=True)
        return None if pieces is None else pieces.answer

    def _notice(self, text: str) -> None:
        if self._interactive:
            typer.echo(f"({text})", err=True)


def _is_command(line: str) -> bool:
    """Whether a line is a command, be it one that there is not, and not the path of a file."""
    from imagebind_llm.cli.mentioned_files import mentioned_files

    word = line.split(maxsplit=1)[0]
    if not word.startswith("/") or word[1:] in (*Modality.known(), *_COMMANDS):
        return word.startswith("/")
    found = mentioned_files(line)
    return "/" not in word[1:] and not any(one.start == 0 for one in (*found.files, *found.missing))


def _has_words(text: str) -> bool:
    return any(letter.isalnum() for letter in text)


def _meant(command: str) -> str:
    """The question whether a command like it was meant, if there is one."""
    known = [*Modality.known(), *_COMMANDS]
    found = get_close_matches(command.lower()[:40], known, n=1)
    return f"did you mean /{found[0]}? " if found else ""


def _enable_line_editing() -> None:
    with suppress(ImportError):  # not on every system
        import readline  # noqa: F401 - importing it gives input() its history and editing
