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

from imagebind_llm.common.errors import UserError, one_line
from imagebind_llm.common.names import refuse_unknown
from imagebind_llm.model.control import INVISIBLE, SPLIT, Control, encode_words
from imagebind_llm.model.messages import MediaItem, Message, Turn, plain, read_messages, read_words
from imagebind_llm.model.templates import Budget, TemplateLimitError, names_read, render

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "ALPACA_TEMPLATE",
    "Dialog",
    "MediaItem",
    "Message",
    "Segment",
    "build_dialog",
    "encode_prompt",
    "render_dialog",
]

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

_CACHE_SIZE = 8192
_CACHED_LENGTH = 4096
"""Characters of the longest text whose tokens are remembered."""
_RENDERS_KEPT = 4


_USUAL = 8
"""Characters of a token, more than most texts have on average."""


class TooLongError(UserError):
    """A dialog has more tokens than are allowed."""


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
    most_tokens: int | None = None,
    **template_arguments: Any,
) -> Dialog:
    """Render, tokenise and label a dialog.

    Args:
        messages: see :mod:`imagebind_llm.model.messages`.
        tokenizer: of the language model; its chat template is used, or :data:`ALPACA_TEMPLATE` if it has
            none.
        add_generation_prompt: end with the opening of an assistant's turn.
        most_tokens: refuse a longer dialog, without tokenising all of it. None: any length.
        template_arguments: passed on to the chat template (``tools``, ``documents``, ``enable_thinking``, …):
            whatever it reads, but for what is given to it anyway (messages, special tokens).

    Raises:
        UserError: a message is malformed, the template does not read an argument, or it refuses the dialog,
            rewrites earlier turns, or goes beyond the limits of :mod:`imagebind_llm.model.templates`.
        TooLongError: it has more than ``most_tokens`` tokens.
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
    render = _Renderer(turns, tokenizer, template_arguments)
    encoder = _encoder(tokenizer, render.control)
    _check_length([turn.text for turn in turns], encoder, most_tokens)
    for segment in _segments(turns, seen, render, add_generation_prompt):
        _check_length([segment.text], encoder, most_tokens)
        ids, answer_length = encoder(segment.text)
        input_ids += ids
        condition_ids += [segment.condition] * len(ids)
        if segment.labelled:
            labels_mask += [True] * answer_length + [False] * (len(ids) - answer_length)
        else:
            labels_mask += [False] * len(ids)
    return Dialog(input_ids, condition_ids, labels_mask, conditions)


def _check_length(texts: Sequence[str], encoder: Any, most_tokens: int | None) -> None:
    """Refuse texts of more than ``most_tokens`` tokens by their beginning: tokenising takes memory."""
    total = sum(map(len, texts))
    if most_tokens is None or total <= _USUAL * most_tokens:
        return
    left, tokens = _USUAL * most_tokens, 0
    for text in texts:
        tokens += len(encoder(text[:left])[0])
        left -= len(text)
        if tokens > most_tokens:
            raise TooLongError(
                f"the question (with its dialog) has {total} characters, and the model's context is "
                f"{most_tokens} tokens; shorten it"
            )
        if left <= 0:
            return


def encode_prompt(
    text: str, tokenizer: "PreTrainedTokenizerBase", most_tokens: int | None = None
) -> list[int]:
    """Token ids of a text that the language model goes on with, without a chat template.

    Control tokens in it stay text. It begins with what the tokenizer puts before every text (often BOS).

    Raises:
        TooLongError: it has more than ``most_tokens`` tokens.
        UserError: it holds half of a character.
    """
    read_words(text, "the prompt")
    control = _control(tokenizer, tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else "")
    _check_length([text], _encoder(tokenizer, control), most_tokens)
    before = list(tokenizer.encode("", verbose=False))
    if before and before[-1] == tokenizer.eos_token_id:
        del before[-1]
    return before + encode_words(tokenizer, control, control.disarm(text))


def render_dialog(
    messages: Sequence[Message],
    tokenizer: "PreTrainedTokenizerBase",
    add_generation_prompt: bool = False,
    **template_arguments: Any,
) -> str:
    """The text that :func:`build_dialog` tokenises. Media leave no trace in it.

    In control tokens that somebody typed there is an invisible character, so that they stay text when this
    text is tokenised.
    """
    turns = read_messages(messages)
    rendered: str = _Renderer(turns, tokenizer, template_arguments)(len(turns), add_generation_prompt)
    return rendered.replace(SPLIT, INVISIBLE)


def _segments(
    turns: list[Turn],
    seen: list[int],
    render: "_Renderer",
    add_generation_prompt: bool,
) -> list[Segment]:
    """Cut the rendered dialog where the condition or the speaker changes."""
    segments: list[Segment] = []
    done = ""

    def cut(rendered: str, number: int, labelled: bool) -> None:
        nonlocal done
        if not rendered.startswith(done):
            raise UserError(
                f"the chat template of {render.name} rewrites earlier turns when message {number} is "
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
    """Renders the first ``count`` turns with the tokenizer's chat template.

    Attributes:
        control: what is control for the two.
        name: what messages call the tokenizer.
    """

    def __init__(
        self, turns: list[Turn], tokenizer: "PreTrainedTokenizerBase", arguments: Mapping[str, Any]
    ) -> None:
        self.name = repr(tokenizer.name_or_path) if tokenizer.name_or_path else "this tokenizer"
        given = {key: value for key, value in arguments.items() if value is not None}
        self._template = self._chosen(tokenizer, given.get("tools"))
        self.control = _control(tokenizer, self._template)
        special = dict(tokenizer.special_tokens_map)
        self._check_arguments(given, special)
        if "tools" in given:
            given["tools"] = [_schema(tool) for tool in _list_of(given["tools"], "tools")]
        given = {key: self.control.disarm(plain(value, key)) for key, value in given.items()}
        self._messages = [
            {"role": turn.role, "content": self.control.disarm(turn.text), **self.control.disarm(turn.extra)}
            for turn in turns
        ]
        self._variables = {"tools": None, "documents": None, **special, **given}
        self._budget = Budget([self._messages, self._variables])
        self._known: dict[tuple[int, bool], str] = {}

    def _chosen(self, tokenizer: "PreTrainedTokenizerBase", tools: Any) -> str:
        if not tokenizer.chat_template:
            return ALPACA_TEMPLATE
        try:
            return str(tokenizer.get_chat_template(tools=tools))
        except ValueError as error:  # several templates, none of them the default
            raise UserError(
                f"{self.name} has no default chat template: {one_line(error)}; name one 'default'"
            ) from None

    def _check_arguments(self, given: Mapping[str, Any], special: Mapping[str, Any]) -> None:
        if not given:
            return
        own = {"messages", "add_generation_prompt", *special}
        try:
            read = sorted(names_read(self._template) - own)
        except Exception:  # not a template: rendering it will say so
            return
        refuse_unknown(given, read, what=f"argument for the chat template of {self.name}")

    def __call__(self, count: int, generation_prompt: bool, strict: bool = True) -> Any:
        """The text; with ``strict=False`` None where the template refuses."""
        if count == 0:
            return ""
        key = (count, generation_prompt)
        if key not in self._known:
            variables = {
                **self._variables,
                "messages": self._messages[:count],
                "add_generation_prompt": generation_prompt,
            }
            at = f"at message {count - 1} ({self._messages[count - 1]['role']})"
            try:
                self._known[key] = render(self._template, variables, self._budget)
                if len(self._known) > _RENDERS_KEPT:
                    del self._known[next(iter(self._known))]
            except TemplateLimitError as error:
                raise UserError(
                    f"the chat template of {self.name} was stopped {at}: {error}; shorten the dialog, or "
                    "mend the template"
                ) from None
            except Exception as error:  # templates raise whatever they like, including on purpose
                if not strict:
                    return None
                raise UserError(
                    f"the chat template of {self.name} refuses this dialog {at}: "
                    f"{one_line(str(error) or type(error).__name__)}"
                ) from error
        return self._known[key]


def _list_of(value: Any, name: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise UserError(f"{name} is {type(value).__name__}; expected a list")
    return value


def _schema(tool: Any) -> Any:
    """A tool as templates read it: a JSON schema, which transformers also makes of a function."""
    if not callable(tool):
        return tool
    from transformers.utils import get_json_schema

    try:
        return get_json_schema(tool)
    except Exception as error:  # without a docstring or type hints
        raise UserError(f"a tool cannot be described: {one_line(error)}; give its JSON schema") from None


_CONTROL: "WeakKeyDictionary[Any, dict[str, tuple[int, Control]]]" = WeakKeyDictionary()


def _control(tokenizer: "PreTrainedTokenizerBase", template: str) -> Control:
    """A cached :class:`Control`, made anew when the vocabulary grows."""
    known = _CONTROL.setdefault(tokenizer, {})
    size, found = known.get(template, (-1, None))
    if found is None or size != len(tokenizer):
        found = Control.of(tokenizer, template)
        known[template] = (len(tokenizer), found)
    return found


_ENCODERS: "WeakKeyDictionary[Any, tuple[Control, Any]]" = WeakKeyDictionary()


def _encoder(tokenizer: "PreTrainedTokenizerBase", control: Control) -> Any:
    """A cached ``text -> (ids, length up to and including the last control token)`` for ``tokenizer``.

    System prompts, headers and stock questions repeat endlessly in training, so they are tokenised once.
    The cache is dropped when the vocabulary grows, or another template is used.
    """
    known, encode = _ENCODERS.get(tokenizer, (None, None))
    if encode is None or known is not control:
        encode = _new_encoder(tokenizer, control)
        _ENCODERS[tokenizer] = (control, encode)
    return encode


def _new_encoder(tokenizer: "PreTrainedTokenizerBase", control: Control) -> Any:
    weak = ref(tokenizer)  # the closure must not keep the tokenizer alive, or it would never be forgotten

    @lru_cache(maxsize=_CACHE_SIZE)
    def encode(text: str) -> tuple[tuple[int, ...], int]:
        alive = weak()
        assert alive is not None
        ids = encode_words(alive, control, text)
        # An answer ends with its end token; the line break that templates write after it is not learnt.
        last = next((i for i in reversed(range(len(ids))) if ids[i] in control.ids), len(ids) - 1)
        if str(alive.decode(ids[last + 1 :])).strip():
            last = len(ids) - 1
        return tuple(ids), last + 1

    return lambda text: encode(text) if len(text) <= _CACHED_LENGTH else encode.__wrapped__(text)
