"""``imagebind-llm ask``: one question, or a file of them."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagebind_llm.cli import options as shared
from imagebind_llm.cli import tool_options
from imagebind_llm.cli.batch_lines import answer_lines, read_lines
from imagebind_llm.cli.made_files import check_folder, save
from imagebind_llm.common.errors import UserError

if TYPE_CHECKING:
    from imagebind_llm.inference.assistant import Assistant
    from imagebind_llm.inference.request import Answer

app = typer.Typer()

_EXAMPLES = """
\b
Examples:
  imagebind-llm ask "What is this?" --image cat.png
  imagebind-llm ask "What do you hear?" --audio dog.wav --stream
  imagebind-llm ask "Describe it." --image a.png@0.7 --audio b.wav@0.3 --explain
  imagebind-llm ask "What is left?" --image beach.png --text "people@-0.5"
  imagebind-llm ask "What do you feel?" --media tactile=grip.npy --model my-model
  imagebind-llm ask --batch questions.jsonl > answers.jsonl
  imagebind-llm ask "Add the number you hear to the one you see." --image 7.png --audio 4.wav \\
      --tool calculator
  imagebind-llm ask "Draw what you hear." --audio eight.ogg --tool generator --save made
  imagebind-llm ask "Where is what you hear?" --image scene.png --audio dog.ogg --tool detector

\b
A line of a batch: {"question": "What is this?", "image": "cat.png", "audio": ["b.wav", 0.3]}
or {"messages": [{"role": "user", "content": [{"type": "image", "path": "cat.png"}, …]}]}.
Further keys: cache, cache_k, cache_temperature, cache_weight, max_new_tokens, temperature,
top_p, seed, system; "id" is handed through. Its answer is one line {"answer": …} or
{"error": …}, in the same order. The exit code is 2 if any line failed.
"""


@app.command(epilog=_EXAMPLES, short_help="Ask about media, or a file of questions.")
def ask(
    question: Annotated[str | None, typer.Argument(help="What to ask.")] = None,
    image: shared.ImageOption = None,
    video: shared.VideoOption = None,
    audio: shared.AudioOption = None,
    text: shared.TextOption = None,
    point: shared.PointOption = None,
    depth: shared.DepthOption = None,
    thermal: shared.ThermalOption = None,
    imu: shared.ImuOption = None,
    sensor: shared.SensorOption = None,
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
    batch: Annotated[
        str | None,
        typer.Option("--batch", metavar="FILE.jsonl", help="A request a line; - is standard input."),
    ] = None,
    batch_size: shared.BatchSizeOption = 32,
    stream: Annotated[bool, typer.Option("--stream", help="Print the answer as it is written.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also print the pictures the cache found.")
    ] = False,
    tool: tool_options.ToolOption = None,
    tools_file: tool_options.ToolsFileOption = None,
    tool_choice: tool_options.ToolChoiceOption = "auto",
    yes: tool_options.YesOption = False,
    save_: tool_options.SaveOption = Path(),
    json_: shared.JsonOption = False,
) -> None:
    """Ask a question about media, about a mixture of them, or about nothing."""
    shared.know_sensors(model)
    media = shared.read_media(
        image=image, video=video, audio=audio, text=text, point=point, depth=depth, thermal=thermal, imu=imu
    )
    media |= shared.read_sensors(sensor, media)
    settings: dict[str, Any] = {
        "cache": cache,
        "cache_k": cache_k,
        "cache_temperature": cache_temperature,
        "cache_weight": cache_weight,
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "seed": seed,
        "explain": explain,
    }
    placing = shared.placing(quantize, encoder_device, device_map, max_memory, offload_dir)
    from imagebind_llm.inference.request import Options, Request

    if batch is None:
        if stream and (json_ or explain):
            raise UserError("--stream prints words only; leave out --json and --explain, or --stream")
        if question is None:
            raise UserError("no question; give one, or --batch FILE.jsonl")
        given = tool_options.read_tools_given(tool, tools_file, tool_choice)
        if stream and given:
            raise UserError("--stream prints words as they are written; leave it out with --tool")
        request = Request.make(question, media, system=system, **settings)  # complain before loading
        shared.check_files(media)
        if given:
            check_folder(save_)
        bot = shared.open_assistant(model, device, dtype, cache_dir, **placing)
        if given:
            answer = tool_options.answer(bot, given, request, tool_choice, yes)
            _show(answer, json_, save(answer.made, save_))
            if any(call.refused for call in answer.calls):
                raise typer.Exit(tool_options.REFUSED)
        else:
            _ask_one(bot, request, stream, json_)
        kinds = [name for name, values in media.items() for _ in values]
        if cache_dir is not None and cache is None and kinds and not bot.uses_cache(kinds):
            typer.echo(
                f"note: the cache was not used: this model's default for {' + '.join(kinds)}; add --cache",
                err=True,
            )
        return
    if question is not None or media or stream or tool or tools_file or tool_choice != "auto":
        raise UserError(
            "--batch takes questions and media from its lines; leave out the question, media, --stream and "
            "--tool"
        )
    Options(**settings)  # complain once and before loading, not for every line
    if system is not None:
        settings["system"] = system
    with _opened(batch) as lines:
        bot = shared.open_assistant(model, device, dtype, cache_dir, batch_size=batch_size, **placing)
        code = _ask_many(bot, lines, settings)
    raise typer.Exit(code)


def _ask_one(bot: "Assistant", request: Any, stream: bool, as_json: bool) -> None:
    if stream:
        wrote = False
        for piece in bot.stream_request(request):
            typer.echo(piece, nl=False)
            sys.stdout.flush()
            wrote = True
        typer.echo()
        if not wrote:
            typer.echo(shared.EMPTY_ANSWER, err=True)
        return
    (answer,) = bot.ask_batch([request])
    if isinstance(answer, Exception):
        raise answer
    _show(answer, as_json)


def _show(answer: "Answer", as_json: bool, files: Sequence[Path] = ()) -> None:
    if as_json:
        written = {"files": [str(path) for path in files]} if files else {}
        shared.print_json({**answer.to_dict(), **written})
        return
    tool_options.show_words(answer, files)
    if answer.retrieved:
        typer.echo(f"\n{_explanation(answer)}")


def _explanation(answer: "Answer") -> str:
    used = "was moved towards" if answer.cached else "would be moved (with --cache) towards"
    lines = [f"The cache found these pictures, which the embedding {used}:"]
    lines += [
        f"{hit.rank:4}.  cosine {hit.similarity:.3f}  share {hit.share:4.0%}  "
        f"{hit.caption if hit.caption is not None else f'row {hit.index}'}"
        for hit in answer.retrieved
    ]
    return "\n".join(lines)


def _ask_many(bot: "Assistant", lines: Iterable[bytes], settings: dict[str, Any]) -> int:
    """Answer the requests in ``lines``; returns the exit code."""
    codes = []
    for values, code in answer_lines(bot, lines, settings):
        codes.append(code)
        shared.print_json(values)
        sys.stdout.flush()
    failed = len(codes) - codes.count(0)
    if failed:
        typer.echo(f"error: {failed} of {len(codes)} requests failed", err=True)
    return 1 if 1 in codes else 2 if failed else 0


@contextmanager
def _opened(name: str) -> Iterator[Iterable[bytes]]:
    """The lines as bytes, so that one which is no text spoils no other."""
    if name == "-":
        yield read_lines(sys.stdin.buffer)
    else:
        with open(name, "rb") as file:
            yield read_lines(file)
