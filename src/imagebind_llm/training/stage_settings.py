"""Groups of settings that several stages' recipes have: where examples come from, what is added to train."""

from dataclasses import dataclass, field

from imagebind_llm.data.quarantine import DEFAULT_MAX_RATE
from imagebind_llm.data.sources.settings import SourceSettings
from imagebind_llm.errors import ConfigError


@dataclass(frozen=True)
class DataSettings:
    """Where examples come from."""

    root: str
    """Folder of the datasets (``cifar10/``, ``mnist/``, …)."""
    shares: dict[str, float] = field(
        default_factory=lambda: {"objects": 0.60, "digits": 0.35, "unclear": 0.05}
    )
    """Parts of a batch of images by domain; only their ratios count."""
    limit: int | None = None
    """Use at most this many training images (for trying things out)."""


@dataclass(frozen=True)
class AdapterSettings:
    """What is added to the language model in fine-tuning."""

    rank: int = 16
    """LoRA rank; 0 = no LoRA."""
    scale: float = 1.0
    """LoRA output scale (alpha / rank)."""
    targets: tuple[str, ...] | None = None
    """Linear maps of a decoder layer that get LoRA (``self_attn.q_proj``, …); null = all of the family."""
    biases: tuple[str, ...] | None = None
    """Linear maps whose bias is trained; null = those of the family (all but keys and values)."""
    norms: bool = True
    """Whether norm scales are trained."""


@dataclass(frozen=True)
class AlignSettings:
    """Where the two stages that teach the language model to see get their examples: from ``sources``, or from
    nano's own world (``root`` and ``bank``)."""

    root: str | None = None
    """Nano's world: folder of the datasets."""
    bank: str | None = None
    """Nano's world: folder of precomputed image embeddings (made if absent)."""
    views: int = 2
    """Nano's world: augmented views per image in the bank."""
    shares: dict[str, float] = field(
        default_factory=lambda: {"objects": 0.60, "digits": 0.35, "unclear": 0.05}
    )
    """Nano's world: parts of the drawn images by domain."""
    embedding_noise: float = 0.0
    """Nano's world: length of a random Gaussian step on the unit sphere added to each image embedding
    (narrows the modality gap)."""
    limit: int | None = None
    """Nano's world: use at most this many training images."""
    seed: int = 0
    """Of the bank's views (a bank is shared between runs, so this is not the run's seed)."""
    sources: tuple[SourceSettings, ...] = ()
    """Data sets to draw from by weight: captions, dialogs, text; embedded before, or to be encoded."""
    test_sources: tuple[SourceSettings, ...] = ()
    """Held-out data of the same kinds, for evaluation and samples."""
    augment: bool = True
    """Sources: random resized crops of pictures that are encoded in training (as published)."""
    max_tokens: int | None = None
    """Sources: examples are cut after this many tokens; null = after a row's."""
    max_bad_share: float = DEFAULT_MAX_RATE
    """Sources: stop when a larger share of the samples drawn cannot be read."""

    def __post_init__(self) -> None:
        if self.sources and (self.root, self.bank) != (None, None):
            raise ConfigError(
                "data.sources is given, and data.root or data.bank too; those are for nano's world, drop them"
            )
        for name in ("root", "bank"):
            if not self.sources and getattr(self, name) is None:
                raise ConfigError(
                    f"setting 'data.{name}' is missing; add it to the recipe or give data.{name}=VALUE, "
                    "or list data.sources"
                )
