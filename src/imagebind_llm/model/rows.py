"""How several prompts become one tensor: transformers' ``padding``, ``truncation`` and ``max_length``."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from imagebind_llm.common.errors import UserError
from imagebind_llm.model.dialog import Dialog

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_PADDING = {True: "longest", False: "do_not_pad", None: "longest"}
_TRUNCATION = {True: "longest_first", False: "do_not_truncate", None: "do_not_truncate"}
_ENDLESS = 10**9
"""``tokenizer.model_max_length`` above means that nobody has set one."""


@dataclass(frozen=True)
class Rows:
    """How rows of different length become equally long.

    Attributes:
        padding: ``True`` or ``"longest"`` to the longest row; ``"max_length"`` to ``max_length``; ``False``
            or ``"do_not_pad"`` not at all: rows of different length are then refused.
        truncation: ``True`` (or ``"longest_first"``, ``"only_first"``): rows are cut to ``max_length``, on
            the tokenizer's ``truncation_side``; ``False`` or ``"do_not_truncate"``: never.
        max_length: in tokens; None: the tokenizer's ``model_max_length``.
        padding_side: ``"left"`` or ``"right"``.

    Raises:
        UserError: an unknown value, or a ``max_length`` that nothing uses.
    """

    padding: bool | str | None = True
    truncation: bool | str | None = None
    max_length: int | None = None
    padding_side: str = "left"

    def __post_init__(self) -> None:
        length = self.max_length
        if length is not None and (isinstance(length, bool) or not isinstance(length, int) or length < 1):
            raise UserError(f"max_length is {length!r}; expected a whole number of at least 1")
        if self.padding_side not in ("left", "right"):
            raise UserError(f"padding_side is {self.padding_side!r}; expected 'left' or 'right'")
        if length is not None and not self._cuts and self._pads != "max_length":
            raise UserError(
                f"max_length={length} is given without its use; add truncation=True or padding='max_length'"
            )

    @property
    def _pads(self) -> str:
        return _value("padding", self.padding, _PADDING, ("longest", "max_length", "do_not_pad"))

    @property
    def _cuts(self) -> bool:
        known = ("longest_first", "only_first", "do_not_truncate")
        return _value("truncation", self.truncation, _TRUNCATION, known) != "do_not_truncate"

    def cut(self, dialogs: Sequence[Dialog], tokenizer: "PreTrainedTokenizerBase") -> list[Dialog]:
        """``dialogs``, cut where that was asked for.

        Raises:
            UserError: there is no length to cut to.
        """
        if not self._cuts:
            return list(dialogs)
        length = self._length(tokenizer)
        kept = slice(-length, None) if tokenizer.truncation_side == "left" else slice(length)
        return [
            replace(
                dialog,
                input_ids=dialog.input_ids[kept],
                condition_ids=dialog.condition_ids[kept],
                labels_mask=dialog.labels_mask[kept],
            )
            for dialog in dialogs
        ]

    def width(self, dialogs: Sequence[Dialog], tokenizer: "PreTrainedTokenizerBase") -> int:
        """Length of the rows.

        Raises:
            UserError: rows of different length that must not be padded, or no length to pad to.
        """
        lengths = [len(dialog) for dialog in dialogs]
        if self._pads == "max_length":
            return max(self._length(tokenizer), *lengths)
        if self._pads == "do_not_pad" and min(lengths) < max(lengths):
            raise UserError(
                f"the prompts have {min(lengths)} to {max(lengths)} tokens and padding is {self.padding!r}, "
                "so they make no tensor; add padding=True, or give them one by one"
            )
        return max(lengths)

    def _length(self, tokenizer: "PreTrainedTokenizerBase") -> int:
        length = self.max_length or int(min(tokenizer.model_max_length, _ENDLESS))
        if length >= _ENDLESS:
            raise UserError("the tokenizer has no model_max_length; say how long: max_length=…")
        return length


ROW_SETTINGS = ("padding", "truncation", "max_length", "padding_side")


def row_settings(given: dict[str, Any], *more: Mapping[str, Any] | None) -> Rows:
    """Take what belongs to :class:`Rows` out of ``given``; ``more`` holds such settings and no others.

    Raises:
        UserError: an unknown name in ``more``, or an impossible value.
    """
    found = {name: given.pop(name) for name in ROW_SETTINGS if name in given}
    for settings in more:
        rest = dict(settings or {})
        for group in ("text_kwargs", "common_kwargs"):  # transformers' groups
            rest.update(rest.pop(group, None) or {})
        tensors = rest.pop("return_tensors", "pt")
        if tensors not in (None, "pt"):
            raise UserError(f"return_tensors is {tensors!r}; only 'pt' is known here")
        refuse_misspelt(rest, ROW_SETTINGS, "processor setting")
        found.update(rest)
    return Rows(**found)


def refuse_misspelt(given: Iterable[str], known: Sequence[str], what: str) -> None:
    """Refuse names that are not in ``known``, with the one that was perhaps meant.

    Raises:
        UserError: there is one.
    """
    for name in given:
        if name not in known:
            similar = get_close_matches(str(name), known, n=1)
            meant = f"did you mean {similar[0]!r}? " if similar else ""
            raise UserError(f"unknown {what} {name!r}; {meant}use one of {', '.join(known)}")


def _value(name: str, given: bool | str | None, short: Mapping[Any, str], known: Sequence[str]) -> str:
    found = short.get(given, given) if given is None or isinstance(given, bool) else given
    if found not in known:
        raise UserError(f"{name} is {given!r}; expected true, false or one of {', '.join(known)}")
    return str(found)
