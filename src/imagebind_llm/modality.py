"""The eight senses, and the one place that maps them to the names in ImageBind's weights."""

from enum import StrEnum

from imagebind_llm.errors import UserError


class Modality(StrEnum):
    """What a piece of media is. The value is the name used on the command line, in messages and in files."""

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
            known = ", ".join(member.value for member in cls)
            raise UserError(f"unknown modality {name!r}; use one of {known}") from None


def trunk_name(modality: Modality) -> str:
    """The name of the ImageBind trunk that encodes ``modality`` (images and videos share ``vision``)."""
    return "vision" if modality in (Modality.IMAGE, Modality.VIDEO) else modality.value
