"""From messages to tokens, and for every token the condition it sees.

**The dialog rule.** A turn's tokens see the media of that turn or, if it brings none, those of the latest
turn that did; before the first media they see nothing (-1). The assistant's tokens belong to the turn they
answer.

Training and inference both use :func:`build_dialog`, so a model is always asked in the form it was taught.
The text of a turn is the difference of two successive renders of the chat template; nothing is ever found
by counting tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

from imagebind_llm.common.errors import UserError
from imagebind_llm.model.messages import MediaItem, Message, Turn, read_messages

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["ALPACA_TEMPLATE", "Dialog", "MediaItem", "Message", "Segment", "build_dialog", "render_dialog"]

ALPACA_TEMPLATE = (
    "{{ bos_token or '' }}"
    "{%- if messages[0].role == 'system' %}{{ messages[0].content }}"
    "{%- else %}Below is an instruction that describes a task."
    " Write a response that appropriately completes the request."
    "{%- endif %}"
    "{%- for message in messages %}"
    "{%- if message.role == 'assistant' %}{{ message.content + (eos_token or '') }}"
    "{%- elif message.role != 'system' %}"
    "{{ '\n\n### Instruction:\n' + message.content + '\n\n### Response:' }}"
    "{%- endif %}{%- endfor %}"
)
"""The template of the published model (Alpaca, without input), for language models that bring none of their
own.

``### Response:`` closes the user's turn whether or not a generation prompt is asked for, as in the original.
"""

_SPLIT = "\ue0ff"
"""Put inside control tokens that a user typed, so that they are read as ordinary text. A private-use
character."""

_CACHE_SIZE = 8192


@dataclass(frozen=True)
class Segment:
    """A piece of rendered text that is tokenised on its own."""

    text: str
    condition: int
    labelled: bool


@dataclass(frozen=True)
class Dialog:
    """A dialog ready for the model.

    ``input_ids``, ``condition_ids`` and ``labels_mask`` are equally long: the tokens, the index into
    ``conditions`` that each sees (-1: none), and whether it is the assistant's (its end token included),
    hence trained on. ``conditions`` holds the media of each condition; they are opened later, by the
    processor.
    """

    input_ids: list[int]
    condition_ids: list[int]
    labels_mask: list[bool]
    conditions: list[list[MediaItem]]

    def __len__(self) -> int:
        return len(self.input_ids)


def build_dialog(
    messages: Sequence[Message],
    tokenizer: "PreTrainedTokenizerBase",
    add_generation_prompt: bool = False,
    **template_arguments: Any,
) -> Dialog:
    """Render, tokenise and label a dialog.

    Args:
        messages: see :mod:`imagebind_llm.model.messages`.
        tokenizer: of the language model; its chat template is used, or :data:`ALPACA_TEMPLATE` if it has
            none.
        add_generation_prompt: end with the opening of an assistant's turn.
        template_arguments: passed on to the chat template (``tools``, ``enable_thinking``, …).

    Raises:
        UserError: a message is malformed, or the template refuses the dialog or rewrites earlier turns.
    """
    turns = read_messages(messages)
    conditions: list[list[MediaItem]] = []
    seen: list[int] = []
    for turn in turns:
        if turn.media:
            conditions.append(list(turn.media))
        seen.append(len(conditions) - 1)
    input_ids: list[int] = []
    condition_ids: list[int] = []
    labels_mask: list[bool] = []
    encoder = _encoder(tokenizer)
    for segment in _segments(turns, seen, tokenizer, add_generation_prompt, template_arguments):
        ids, answer_length = encoder(segment.text)
        input_ids += ids
        condition_ids += [segment.condition] * len(ids)
        if segment.labelled:
            labels_mask += [True] * answer_length + [False] * (len(ids) - answer_length)
        else:
            labels_mask += [False] * len(ids)
    return Dialog(input_ids, condition_ids, labels_mask, conditions)


def render_dialog(
    messages: Sequence[Message],
    tokenizer: "PreTrainedTokenizerBase",
    add_generation_prompt: bool = False,
    **template_arguments: Any,
) -> str:
    """The text that :func:`build_dialog` tokenises. Media leave no trace in it."""
    turns = read_messages(messages)
    rendered: str = _Renderer(turns, tokenizer, template_arguments)(len(turns), add_generation_prompt)
    return rendered.replace(_SPLIT, "")


def _segments(
    turns: list[Turn],
    seen: list[int],
    tokenizer: "PreTrainedTokenizerBase",
    add_generation_prompt: bool,
    arguments: Mapping[str, Any],
) -> list[Segment]:
    """Cut the rendered dialog where the condition or the speaker changes."""
    render = _Renderer(turns, tokenizer, arguments)
    segments: list[Segment] = []
    done = ""

    def cut(rendered: str, number: int, labelled: bool) -> None:
        nonlocal done
        if not rendered.startswith(done):
            raise UserError(
                f"the chat template of {_name(tokenizer)} rewrites earlier turns when message {number} is "
                "added, so tokens cannot be assigned to turns; use a template that only appends"
            )
        text, condition = rendered[len(done) :], seen[number]
        done = rendered
        if segments and (segments[-1].condition, segments[-1].labelled) == (condition, labelled):
            segments[-1] = Segment(segments[-1].text + text, condition, labelled)
        elif text:
            segments.append(Segment(text, condition, labelled))

    for number, turn in enumerate(turns):
        if turn.role == "assistant":
            cut(render(number, True), max(number - 1, 0), False)
            cut(render(number + 1, False), number, True)
        elif turn.role == "system" and number + 1 < len(turns):
            # Some templates fold the system message into the first user turn: then it is that turn's text.
            rendered = render(number + 1, False, strict=False)
            if rendered is not None and render(number + 2, False).startswith(rendered):
                cut(rendered, number, False)
        else:
            cut(render(number + 1, False), number, False)
    if add_generation_prompt:
        cut(render(len(turns), True), len(turns) - 1, False)
    return segments


class _Renderer:
    """Renders the first ``count`` turns with the tokenizer's chat template."""

    def __init__(
        self, turns: list[Turn], tokenizer: "PreTrainedTokenizerBase", arguments: Mapping[str, Any]
    ) -> None:
        control = _control_tokens(tokenizer)
        self._messages = [
            {"role": turn.role, "content": _disarm(turn.text, control), **turn.extra} for turn in turns
        ]
        self._tokenizer = tokenizer
        self._template = None if tokenizer.chat_template else ALPACA_TEMPLATE
        self._arguments = arguments
        self._known: dict[tuple[int, bool], str] = {}

    def __call__(self, count: int, generation_prompt: bool, strict: bool = True) -> Any:
        """The text; with ``strict=False`` None where the template refuses."""
        if count == 0:
            return ""
        key = (count, generation_prompt)
        if key not in self._known:
            try:
                text = self._tokenizer.apply_chat_template(
                    self._messages[:count],
                    chat_template=self._template,
                    add_generation_prompt=generation_prompt,
                    tokenize=False,
                    **self._arguments,
                )
            except Exception as error:  # templates raise whatever they like, including on purpose
                if not strict:
                    return None
                raise UserError(
                    f"the chat template of {_name(self._tokenizer)} refuses this dialog at message "
                    f"{count - 1} ({self._messages[count - 1]['role']}): {error}"
                ) from error
            self._known[key] = str(text)
        return self._known[key]


def _name(tokenizer: "PreTrainedTokenizerBase") -> str:
    return repr(tokenizer.name_or_path) if tokenizer.name_or_path else "this tokenizer"


def _disarm(text: str, control: tuple[str, ...]) -> str:
    """``text`` with its control tokens broken up, so that nobody can fake a turn by typing ``<|im_end|>``."""
    text = text.replace(_SPLIT, "")
    for token in control:
        if token in text:
            text = text.replace(token, token[0] + _SPLIT + token[1:])
    return text


def _control_tokens(tokenizer: "PreTrainedTokenizerBase") -> tuple[str, ...]:
    """The tokenizer's special tokens, longest first."""
    return tuple(sorted({t for t in tokenizer.all_special_tokens if len(t) > 1}, key=len, reverse=True))


_ENCODERS: "WeakKeyDictionary[Any, tuple[int, Any]]" = WeakKeyDictionary()


def _encoder(tokenizer: "PreTrainedTokenizerBase") -> Any:
    """A cached ``text -> (ids, length up to and including the last special token)`` for ``tokenizer``.

    System prompts, headers and stock questions repeat endlessly in training, so they are tokenised once.
    The cache is dropped when the vocabulary grows.
    """
    size, encode = _ENCODERS.get(tokenizer, (-1, None))
    if encode is None or size != len(tokenizer):
        encode = _new_encoder(tokenizer)
        _ENCODERS[tokenizer] = (len(tokenizer), encode)
    return encode


def _new_encoder(tokenizer: "PreTrainedTokenizerBase") -> Any:
    special = frozenset(tokenizer.all_special_ids)
    weak = ref(tokenizer)  # the closure must not keep the tokenizer alive, or it would never be forgotten

    @lru_cache(maxsize=_CACHE_SIZE)
    def encode(text: str) -> tuple[tuple[int, ...], int]:
        alive = weak()
        assert alive is not None
        ids: list[int] = []
        for piece in text.split(_SPLIT):
            if piece:
                ids += alive.encode(piece, add_special_tokens=False, verbose=False)
        # An answer ends with its end token; the line break that templates write after it is not learnt.
        last = next((i for i in reversed(range(len(ids))) if ids[i] in special), len(ids) - 1)
        if str(alive.decode(ids[last + 1 :])).strip():
            last = len(ids) - 1
        return tuple(ids), last + 1

    return encode
