"""A generator as a tool: what is attached, or described, becomes a picture, a sound or a shape."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.inference.calls import Outcome
from imagebind_llm.model.messages import MediaItem
from imagebind_llm.skills.tools.chinese import GENERATOR_ROUTES
from imagebind_llm.skills.tools.chosen import NUMBERS, by_modality, chosen, named_all
from imagebind_llm.skills.tools.definition import Tool
from imagebind_llm.skills.tools.routes import Route

if TYPE_CHECKING:
    from imagebind_llm.inference.assistant import Assistant
    from imagebind_llm.skills.generation.contract import Kind
    from imagebind_llm.skills.generation.opened import Generators

LONGEST = 500
"""Characters of a description."""
SECONDS = 300.0
"""Time of a call: a picture of 50 steps takes a second for nano, and minutes for a large model without a
GPU."""

_MAKE = "(draw|paint|make|create|generate|imagine|show|give)[ me| us][ a| an| the| another| one]"
_PLEASE = "[,][ please]"


def _pair(phrase: str, kind: str) -> tuple[Route, Route]:
    """A phrase that ends in what is meant: attached media, or a description."""
    return (
        Route(f"{phrase} {{of:media}}{_PLEASE}", {"kind": kind, "of": "{of}"}),
        Route(f"{phrase} {{text:described}}{_PLEASE}", {"kind": kind, "text": "{text}"}),
    )


ROUTES = (
    *_pair(f"{_MAKE} (picture|image|drawing|painting|photo|sketch) (of|from|for|out of)", "picture"),
    *_pair(f"{_MAKE} (sound|noise|recording|audio) (of|from|for|out of)", "sound"),
    *_pair("(play|make)[ me| us] (the|a) (sound|noise) (of|from|for)", "sound"),
    *_pair(
        f"{_MAKE}[ 3d| solid] (shape|solid|model|mesh|3d shape|3d model) (of|from|for|out of)",
        "shape",
    ),
    Route(
        "(turn|convert|change|make) {of:media} into a (picture|image|drawing)",
        {"kind": "picture", "of": "{of}"},
    ),
    Route("(turn|convert|change|make) {of:media} into a (sound|noise)", {"kind": "sound", "of": "{of}"}),
    Route(
        "(turn|convert|change|make) {of:media} into a[ 3d] (shape|solid|model)",
        {"kind": "shape", "of": "{of}"},
    ),
    *_pair("(draw|paint|sketch)[ me| us]", "picture"),
    *GENERATOR_ROUTES,
)
"""How people ask for it, in English and Chinese."""


class GeneratorTool:
    """Makes things.

    Args:
        generators: what makes them; None: nano's own, whose weights may be missing.
    """

    def __init__(self, generators: "Generators | None" = None) -> None:
        self._generators = generators

    def tool(self) -> Tool:
        """As a tool ``generator``."""
        return Tool(
            "generator",
            "Makes a picture, a sound or a 3D shape of attached media, of a description, or of both.",
            {
                "type": "object",
                "properties": {
                    "kind": {"enum": ["picture", "sound", "shape"]},
                    "of": {**NUMBERS, "description": "Numbers of the attached media, from 1. Default: all."},
                    "text": {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": LONGEST,
                        "description": "What it shows, for example: a seven",
                    },
                    "seed": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
                },
                "required": ["kind"],
                "additionalProperties": False,
            },
            self.make,
            seconds=SECONDS,
            media=True,
            assistant=True,
            routes=ROUTES,
        )

    def make(
        self,
        *,
        assistant: "Assistant",
        media: Sequence[MediaItem],
        kind: "Kind",
        of: Sequence[int] | None = None,
        text: str | None = None,
        seed: int = 0,
    ) -> Outcome:
        """Make one thing.

        Args:
            assistant: embeds the media.
            media: all that are attached.
            kind: what to make.
            of: numbers of the media that count, from 1; None: all, or none where there is a ``text``.
            text: a description: words as one more medium.
            seed: of the noise it starts from.

        Raises:
            UserError: there is nothing to make it of, a medium cannot be read, or no generator makes it.
        """
        from imagebind_llm.skills.generation.contract import Settings
        from imagebind_llm.skills.generation.files import made_files
        from imagebind_llm.skills.generation.opened import Generators
        from imagebind_llm.skills.generation.wishes import make_wish

        items = chosen(media, of) if of else [] if text else list(media)
        if text:
            items.append(MediaItem(Modality.TEXT, text))
        if not items:
            raise UserError(f"there is nothing to make a {kind} of; attach a medium, or describe it")
        if self._generators is None:
            self._generators = Generators()
        generator = self._generators.get(kind)
        settings = Settings(seed=seed)
        wish = make_wish(assistant, by_modality(items), generator)
        made = generator.make(kind, [wish], settings)
        names = ", ".join(getattr(made, "names", ()))
        says = f"Here is a {kind} of {named_all(items)}{f': {names}' if names else ''}."
        return Outcome(says, made_files(made, generator, wish, settings))


def generator_tool(given: str = "") -> Tool:
    """The tool, from what stands after ``generator=``: generators between commas, as
    :class:`~imagebind_llm.skills.generation.opened.Generators` reads them.

    Raises:
        UserError: there is no generator of a name.
    """
    from imagebind_llm.skills.generation.opened import Generators

    return GeneratorTool(Generators([one.strip() for one in given.split(",")] if given else ())).tool()


GENERATOR = GeneratorTool().tool()
"""With nano's own generator."""
