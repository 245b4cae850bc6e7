"""Groups of settings that several stages' recipes have: where examples come from, what is added to train."""

from dataclasses import dataclass, field

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.settings import check_numbers
from imagebind_llm.data.quarantine import DEFAULT_MAX_RATE
from imagebind_llm.data.sources.base import SourceSettings


@dataclass(frozen=True)
class SourcesData:
    """Data sets of one's own, as every stage that reads them has them."""

    sources: tuple[SourceSettings, ...] = ()
    """Data sets to draw from by weight: captions, dialogs, text; embedded before, or to be encoded."""
    test_sources: tuple[SourceSettings, ...] = ()
    """Held-out data of the same kinds, for evaluation and samples."""
    augment: bool = True
    """Sources: random resized crops of pictures that are encoded in training (as published)."""
    max_bad_share: float = DEFAULT_MAX_RATE
    """Sources: stop when a larger share of the samples drawn cannot be read."""

    def __post_init__(self) -> None:
        check_numbers(self, "data", least={"max_bad_share": 0}, most={"max_bad_share": 1})
        if self.test_sources and not self.sources:
            raise ConfigError("data.test_sources is given without data.sources; give both or neither")
        streams = [source.label for source in (*self.sources, *self.test_sources) if source.streaming]
        if streams:
            raise ConfigError(
                f"source {streams[0]!r} is a stream and cannot be drawn from at random; embed it first with: "
                "imagebind-llm data embed"
            )
        if self.sources and not any(source.weight for source in self.sources):
            raise ConfigError("all weights of data.sources are 0; give at least one source a share")

    def _need_world(self, *settings: str) -> None:
        """Without sources these settings of nano's world are needed, with sources refused.

        Raises:
            ConfigError: it is otherwise.
        """
        given = [name for name in settings if getattr(self, name) is not None]
        if self.sources and given:
            raise ConfigError(
                f"data.sources is given, and data.{given[0]} too; that is for nano's world or pairs, drop it"
            )
        missing = [name for name in settings if getattr(self, name) is None]
        if not self.sources and missing:
            raise ConfigError(
                f"setting 'data.{missing[0]}' is missing; add it to the recipe or give "
                f"data.{missing[0]}=VALUE, or list data.sources"
            )


@dataclass(frozen=True)
class DataSettings(SourcesData):
    """Where the encoders get their examples: from ``sources`` (pictures with captions), or from ``root``."""

    root: str | None = None
    """Folder of nano's datasets (``cifar10/``, ``mnist/``, …), or with ``source: pairs`` of the pairs."""
    shares: dict[str, float] = field(
        default_factory=lambda: {"objects": 0.60, "digits": 0.35, "unclear": 0.05}
    )
    """Nano's world: parts of a batch of images by domain; only their ratios count."""
    limit: int | None = None
    """Nano's world: use at most this many training images (for trying things out)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need_world("root")
        check_numbers(self, "data", least={"limit": 1})


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

    def __post_init__(self) -> None:
        check_numbers(self, "adapters", least={"rank": 0}, above={"scale": 0})


@dataclass(frozen=True)
class AlignSettings(SourcesData):
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
    max_tokens: int | None = None
    """Sources: examples are cut after this many tokens; null = after a row's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need_world("root", "bank")
        least = {"views": 1, "embedding_noise": 0, "limit": 1, "seed": 0, "max_tokens": 2}
        check_numbers(self, "data", least=least)
