"""What goes into a generator, and what comes out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from torch import Tensor

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.settings import check_numbers

Kind = Literal["picture", "sound", "shape"]
Part = Literal["embedding", "feature", "description"]
"""Of a wish."""
KINDS: tuple[Kind, ...] = ("picture", "sound", "shape")

_MOST = {"count": 64, "steps": 1000, "seconds": 600, "guidance": 100, "seed": 2**62}
"""Above these a slip is likelier than a wish: they take hours or all memory."""


@dataclass(frozen=True)
class Wish:
    """One thing to make. A generator says which of these it reads.

    Attributes:
        embedding: ``[D]`` float32 unit vector in the joint space: the mixture of the media, moved towards
            the visual cache where that is wanted.
        feature: ``[D]`` float32: the same, but as long as the encoder made it (see
            :func:`imagebind_llm.skills.generation.wishes.make_wish`). None where nobody asked for it.
        description: words for generators that read text.
        negative: words for what it should not be.
        negative_embedding: ``[D]`` unit vector of those words in the joint space.
        made_of: what it was made of, for people.
    """

    embedding: Tensor | None = None
    feature: Tensor | None = None
    description: str = ""
    negative: str = ""
    negative_embedding: Tensor | None = None
    made_of: tuple[str, ...] = ()


@dataclass(frozen=True)
class Settings:
    """How things are made.

    Attributes:
        count: how many of each wish, 1 … 64.
        seed: of all random numbers. Thing ``j`` of every wish starts from the same noise.
        steps: denoising steps, 1 … 1000; None: the generator's own number.
        guidance: strength of classifier-free guidance, 0 … 100; 1 is none; None: the generator's own.
        seconds: length of a sound, 0 … 600 s; None: the generator's own.
        progress: whether a progress bar is shown, on terminals.
    """

    count: int = 1
    seed: int = 0
    steps: int | None = None
    guidance: float | None = None
    seconds: float | None = None
    progress: bool = False

    def __post_init__(self) -> None:
        least = {"count": 1, "seed": 0, "steps": 1, "guidance": 0}
        check_numbers(self, least=least, above={"seconds": 0}, most=_MOST)


@dataclass(frozen=True)
class Pictures:
    """``pixels [n, H, W, 3]`` uint8, RGB."""

    pixels: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True)
class Sounds:
    """Recordings.

    Attributes:
        samples: of each ``[channels, length]`` float32 in -1 … 1.
        rate: Hz.
        names: what each is of, where it was looked up; else none.
    """

    samples: Sequence[np.ndarray]
    rate: int
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)


@dataclass(frozen=True)
class Mesh:
    """Triangles: ``vertices [V, 3]`` float32, ``faces [F, 3]`` int64, counter-clockwise from outside, and
    ``colours [V, 3]`` uint8 or None. y points up, z towards the viewer."""

    vertices: np.ndarray
    faces: np.ndarray
    colours: np.ndarray | None = None


@dataclass(frozen=True)
class Shapes:
    """Meshes."""

    meshes: tuple[Mesh, ...]

    def __len__(self) -> int:
        return len(self.meshes)


Made = Pictures | Sounds | Shapes
"""In the order of the wishes, ``count`` of each side by side."""


class Generator(Protocol):
    """Something that makes media."""

    @property
    def about(self) -> Mapping[str, str]:
        """What made it, for the metadata of files: at least ``generator``."""
        ...

    @property
    def kinds(self) -> Sequence[Kind]:
        """What it makes."""
        ...

    @property
    def reads(self) -> Sequence[Part]:
        """Which parts of a wish it must have."""
        ...

    @property
    def encoder_fingerprint(self) -> str | None:
        """Of the encoder whose embeddings it was trained on; None: it does not say."""
        ...

    @property
    def shifts(self) -> Mapping[str, Tensor]:
        """Modality → ``[D]``, added to unit embeddings of it before they are mixed (none: as they are)."""
        ...

    def make(self, kind: Kind, wishes: Sequence[Wish], settings: Settings) -> Made:
        """Make ``settings.count`` things of each wish.

        Raises:
            UserError: it does not make this kind, or a wish lacks what it reads.
        """
        ...


def require_kind(generator: Generator, kind: Kind) -> None:
    """Refuse what a generator does not make.

    Raises:
        UserError: naming what it makes.
    """
    if kind not in generator.kinds:
        raise UserError(
            f"the generator {generator.about['generator']!r} makes no {kind}, only "
            f"{' and '.join(f'{one}s' for one in generator.kinds)}; choose another one with --generator"
        )


def embeddings_of(wishes: Sequence[Wish], dim: int) -> Tensor:
    """The rows ``[n, D]`` of the wishes.

    Raises:
        UserError: a wish has no embedding, or one of another size.
    """
    import torch

    for wish in wishes:
        if wish.embedding is None:
            raise UserError("there is nothing to make a picture of; give media or words, for example --text")
        if wish.embedding.shape != (dim,):
            raise UserError(
                f"an embedding has shape {list(wish.embedding.shape)}; this generator was trained on "
                f"[{dim}]: use the model it belongs to"
            )
    return torch.stack([wish.embedding for wish in wishes if wish.embedding is not None])
