"""The modalities, and the one place that maps them to the names in ImageBind's weights."""

import re
from enum import StrEnum
from typing import Any

from imagebind_llm.common.errors import ConfigError, UserError

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_TAKEN = frozenset({
    "vision", "question", "messages", "system", "cache", "seed", "explain", "temperature", "type", "path",
    "url", "base64", "data", "weight", "media", "id", "help", "clear", "quit", "exit",
})  # fmt: skip
"""Words that requests, messages, weights and the chat use for something else."""


class Modality(StrEnum):
    """What a piece of media is. The value is the name used on the command line, in messages and in files.

    The eight members are built in. An encoder may bring sensors of its own: its configuration declares their
    names (:meth:`declare`), which from then on are values of this type like the others.
    """

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    TEXT = "text"
    POINT = "point"
    DEPTH = "depth"
    THERMAL = "thermal"
    IMU = "imu"

    @classmethod
    def parse(cls, name: "str | Modality") -> "Modality":
        """The modality called ``name``.

        Raises:
            UserError: there is none of that name.
        """
        try:
            return cls(name)
        except ValueError:
            known = ", ".join(member.value for member in cls.known())
            raise UserError(f"unknown modality {name!r}; use one of {known}") from None

    @classmethod
    def declare(cls, name: str) -> "Modality":
        """The modality of a sensor, made known to this process if it is new.

        Raises:
            ConfigError: a name that is not a plain lower-case word, or that means something else.
        """
        if name in _BUILT_IN or name in _TAKEN or not _NAME.fullmatch(name):
            raise ConfigError(
                f"a sensor cannot be called {name!r}; choose a lower-case word of up to 32 letters, digits "
                "and _ that is not in use"
            )
        if name not in _declared:
            member = str.__new__(cls, name)
            member._name_, member._value_ = name.upper(), name
            _declared[name] = member
        return _declared[name]

    @classmethod
    def known(cls) -> "tuple[Modality, ...]":
        """All modalities: the built-in ones and the sensors declared so far."""
        return (*cls, *_declared.values())

    @property
    def built_in(self) -> bool:
        """Whether it is one of the eight."""
        return self.value in _BUILT_IN

    @classmethod
    def _missing_(cls, value: object) -> "Modality | None":
        return _declared.get(str(value))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _restored, (self.value,)  # another process may not have met this sensor yet


_BUILT_IN = frozenset(member.value for member in Modality)
_declared: dict[str, Modality] = {}


def _restored(value: str) -> Modality:
    return Modality(value) if value in _BUILT_IN else Modality.declare(value)


def trunk_name(modality: Modality) -> str:
    """The name of the ImageBind trunk that encodes ``modality`` (images and videos share ``vision``)."""
    return "vision" if modality in (Modality.IMAGE, Modality.VIDEO) else modality.value
