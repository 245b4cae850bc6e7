"""The recipes of nano's stages: settings of the package's own stages, with nano's data in place of theirs."""

from dataclasses import dataclass, field
from typing import Any

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.settings import check_numbers
from imagebind_llm.training.recipe import (
    BANK,
    DIALOGS,
    PAIRS_ONLY,
    TOWERS_ONLY,
    BindRecipe,
    FinetuneSettings,
    PretrainSettings,
)
from imagebind_llm.training.settings import (
    DataSettings,
    OptimizerSettings,
    RunSettings,
    SourcesData,
    need_folders,
)
from nano_lab.world.tables import OTHERS


def refuse_sources(data: SourcesData) -> None:
    """Nano's stages learn from its world alone.

    Raises:
        ConfigError: data sources are given.
    """
    if data.sources:
        raise ConfigError(
            "data.sources is given, but the recipe's stage is nano's; drop 'nano.' from its stage, or drop "
            "data.sources"
        )


def _shares() -> dict[str, float]:
    return {"objects": 0.60, "digits": 0.35, "unclear": 0.05}


def check_others(others: tuple[str, ...]) -> None:
    """Photographs of other things come from known data sets.

    Raises:
        ConfigError: from another one.
    """
    unknown = [name for name in others if name not in OTHERS]
    if unknown:
        raise ConfigError(
            f"data.others names {unknown[0]!r}; known are {', '.join(OTHERS)} ([] for no photographs)"
        )


@dataclass(frozen=True)
class PictureData(DataSettings):
    """The world whose pictures and derived media train the encoders."""

    shares: dict[str, float] = field(default_factory=_shares)
    """Parts of a batch of images by domain; only their ratios count."""
    limit: int | None = None
    """Use at most this many training images (for trying things out)."""
    others: tuple[str, ...] = ()
    """Data sets of photographs of other things, shown as unclear: ``flickr8k`` (the weights are then for
    research only)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_sources(self)
        check_others(self.others)
        check_numbers(self, "data", least={"limit": 1})


@dataclass(frozen=True)
class NanoBindRecipe(BindRecipe):
    """Contrastive training of nano's encoder: images and text, or one other modality towards images."""

    data: PictureData

    @property
    def anchor(self) -> bool:
        """Whether this run trains images (and text) rather than a tower towards them."""
        return "image" in self.modalities

    def reads(self) -> tuple[str, tuple[str, ...]]:
        """Images with captions read other settings than the towers that are bound to them."""
        if self.source is not None:
            raise ConfigError(
                f"source is {self.source!r}, but the recipe's stage is nano's; drop 'nano.' from its stage, "
                "or drop source"
            )
        if self.anchor:
            return "nano's images and captions", (*BANK, *TOWERS_ONLY, *PAIRS_ONLY)
        return "one of nano's senses", ("captions", "clip_probability", *PAIRS_ONLY)

    def _check_own(self) -> None:
        from imagebind_llm.common.modality import Modality

        found = [Modality.parse(name) for name in self.modalities]
        if not self.anchor and (len(found) != 1 or found[0] == Modality.VIDEO):
            raise ConfigError(
                f"modalities is {list(self.modalities)}; give [image, text] or exactly one of "
                "text, audio, point, depth, thermal, imu"
            )
        if self.anchor and set(found) != {Modality.IMAGE, Modality.TEXT}:
            raise ConfigError(
                f"modalities is {list(self.modalities)}; images are trained with text, nothing else"
            )
        if self.encoder == "new" and not self.anchor:
            raise ConfigError(
                f"encoder is 'new', but {found[0]} is trained towards images; give a trained encoder"
            )
        self.check_config()


@dataclass(frozen=True)
class LanguageRecipe:
    """A small language model from scratch on the grammar's text."""

    run: RunSettings
    optimizer: OptimizerSettings
    model: dict[str, Any]
    """``model_type`` (a known family; llama if left out) and values of its transformers configuration
    (hidden_size, num_hidden_layers, …)."""
    tokenizer: str
    """Folder of the tokenizer (trained there if absent)."""
    vocabulary: int = 2048
    """Size of a newly trained tokenizer's vocabulary."""
    row_length: int = 256
    """Tokens per packed row."""
    mixture: dict[str, float] = field(default_factory=lambda: {"text": 0.4, "statement": 0.6})
    """Parts of the dialogs: plain text, and text that states what a medium would have shown."""
    mask_prompts: bool = False
    """Train on answers only instead of on every token."""
    evaluate_items: int = 200
    """Held-out samples per evaluation."""

    def __post_init__(self) -> None:
        check_numbers(self, least={**DIALOGS, "vocabulary": 1})


@dataclass(frozen=True)
class ImageData(SourcesData):
    """The world whose pictures, embedded once, the language model learns to see."""

    root: str | None = None
    """Folder of the datasets."""
    bank: str | None = None
    """Folder of precomputed image embeddings (made if absent)."""
    views: int = 2
    """Augmented views per image in the bank."""
    shares: dict[str, float] = field(default_factory=_shares)
    """Parts of the drawn images by domain."""
    embedding_noise: float = 0.0
    """Length of a random Gaussian step on the unit sphere added to each image embedding (narrows the modality
    gap)."""
    limit: int | None = None
    """Use at most this many training images."""
    others: tuple[str, ...] = ()
    """Data sets of photographs of other things, as the encoder was trained with."""
    seed: int = 0
    """Of the bank's views (a bank is shared between runs, so this is not the run's seed)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        need_folders(self, "root", "bank")
        refuse_sources(self)
        check_others(self.others)
        check_numbers(self, "data", least={"views": 1, "embedding_noise": 0, "limit": 1, "seed": 0})


@dataclass(frozen=True, kw_only=True)
class NanoPretrainRecipe(PretrainSettings):
    """Captions of nano's pictures; trains the bind network and the gates."""

    data: ImageData


@dataclass(frozen=True, kw_only=True)
class NanoFinetuneRecipe(FinetuneSettings):
    """Instructions about nano's pictures, and text; trains LoRA, biases and norms."""

    data: ImageData
    mixture: dict[str, float] = field(
        default_factory=lambda: {"media": 0.60, "text": 0.15, "statement": 0.10, "caption": 0.15}
    )
    """Parts of the dialogs: instructions about images, text only, perception stated in words, captions."""
    mixture_weights: float = 0.15
    """Two mixed images have weights 0.5 plus and minus up to this."""
    mixture_units: float = 0.3
    """Share of conditions scaled to length 1, as the visual cache leaves mixtures."""

    def __post_init__(self) -> None:
        super().__post_init__()
        least = dict.fromkeys(("mixture_weights", "mixture_units"), 0)
        check_numbers(self, least=least, most={"mixture_units": 1})


def _drawn() -> dict[str, float]:
    return {"objects": 0.6, "digits": 0.4}


@dataclass(frozen=True)
class DrawnData(ImageData):
    """The pictures that a generator learns to draw, and their embeddings."""

    shares: dict[str, float] = field(default_factory=_drawn)
    """Parts of the drawn pictures by domain."""


@dataclass(frozen=True)
class NanoGeneratorRecipe:
    """A small decoder of pictures from the joint embedding, by flow matching."""

    run: RunSettings
    optimizer: OptimizerSettings
    data: DrawnData
    model: str = "nano"
    """Whose frozen encoder: ``nano``, a model folder or an encoder's."""
    decoder: dict[str, Any] = field(default_factory=dict)
    """Sizes (:class:`imagebind_llm.skills.generation.decoder.DecoderConfig`)."""
    unconditional: float = 0.1
    """Share of the examples whose embedding is hidden, for guidance."""
    mirror: bool = True
    """Mirror half of the photographs."""
    shifts: tuple[str, ...] = ("text", "audio", "point", "depth", "thermal", "imu")
    """Modalities whose mean way to pictures is measured and kept."""
    evaluate_items: int = 256
    """Held-out pictures per evaluation."""

    def __post_init__(self) -> None:
        check_numbers(self, least={"unconditional": 0, "evaluate_items": 2}, most={"unconditional": 0.9})
