"""What a run of the stage ``heads`` is: the encoder, where its pairs come from, which heads learn."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.settings import check_numbers
from imagebind_llm.training.settings import OptimizerSettings, RunSettings, SourcesData


@dataclass(frozen=True)
class HeadsData(SourcesData):
    """Pictures with captions, from the sources that every stage knows."""

    augment: bool = False
    """Features are computed once, so pictures are not augmented."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.augment:
            raise ConfigError("data.augment is true, but features are computed once; drop it")
        for source in (*self.sources, *self.test_sources):
            if source.kind == "alpaca":
                raise ConfigError(f"source {source.label!r} is text only; give pictures with captions")


@dataclass(frozen=True)
class PairSettings:
    """Pairs of two modalities, in a table or by class.

    Raises:
        ConfigError: settings that contradict each other.
    """

    modalities: tuple[str, str]
    """The two sides, for example ``[image, audio]``."""
    table: str | None = None
    """A ``.csv``, ``.tsv`` or ``.jsonl`` file with a column named like each modality (files beside the table;
    of text the text itself), and perhaps ``label`` and ``split`` (``train`` or ``test``). A row is a pair;
    rows of equal label, or of equal text, are right for each other."""
    folders: tuple[str, str] | None = None
    """Pairs by class instead: of each side a folder with a sub-folder for each label (below ``train`` and
    ``test``, or not), or a table with the columns ``file`` and ``label``. Any two of equal label are a pair,
    drawn anew at each step. The second may be a folder of embeddings by this encoder (``data embed``), whose
    answers are the labels; then those of other labels are contrasted, too."""
    weight: float = 1.0
    """Share of its loss; only the ratios count."""
    name: str | None = None
    """What reports call it; null = its modalities, as in ``image-audio``."""

    def __post_init__(self) -> None:
        check_numbers(self, "pairs", above={"weight": 0})
        if (self.table is None) == (self.folders is None):
            raise ConfigError(
                f"pairs of {' and '.join(self.modalities)}: table is {self.table!r} and folders is "
                f"{self.folders!r}; give one of them"
            )
        if self.modalities[0] == self.modalities[1]:
            raise ConfigError(
                f"pairs are of {self.modalities[0]} and {self.modalities[1]}; give two modalities"
            )
        if self.folders is not None and "text" in self.modalities:
            raise ConfigError("pairs by class are of files; give texts in a table, or as data.sources")

    @property
    def label(self) -> str:
        """``name``, or what stands for it."""
        return self.name or "-".join(self.modalities)


@dataclass(frozen=True, kw_only=True)
class HeadsRecipe:
    """Contrastive training of the heads of a towers encoder; all of its backbones are frozen."""

    run: RunSettings
    optimizer: OptimizerSettings
    encoder: str
    """Folder that ``imagebind-llm new-encoder`` or this stage wrote, or a model with such an encoder."""
    data: HeadsData = field(default_factory=HeadsData)
    pairs: tuple[PairSettings, ...] = ()
    """Further pairs, of any two modalities. Each step takes ``run.batch_size`` pairs of each source."""
    features: str | None = None
    """Folder where features are kept, for runs on the same data to share; null = inside the run."""
    train: tuple[str, ...] | None = None
    """Towers whose heads learn; null = all in the data whose head is not of kind ``none``."""
    temperature: float = 0.07
    """Initial softmax temperature of each source."""
    learn_temperature: bool = True
    """Whether the temperatures are trained."""
    label_smoothing: float = 0.0
    """Part of the target spread evenly over the batch."""
    evaluate_items: int = 2000
    """Held-out pairs per source and evaluation."""

    def __post_init__(self) -> None:
        check_numbers(
            self,
            least={"evaluate_items": 1, "label_smoothing": 0},
            above={"temperature": 0},
            most={"label_smoothing": 1},
        )
        if not self.data.sources and not self.pairs:
            raise ConfigError("the recipe has no pairs; list data.sources (pictures with captions) or pairs")
        if self.run.batch_size < 2:
            raise ConfigError(
                "run.batch_size is 1: a pair is contrasted with the others of its micro-batch; expected at "
                "least 2 (much more is better)"
            )
        names = list(self.names())
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ConfigError(
                f"two sources of pairs are called {twice!r}; give them different names (name: …)"
            )

    def names(self) -> Iterator[str]:
        """What reports call the sources of pairs, in order."""
        for source in self.data.sources:
            yield source.label
        for pairs in self.pairs:
            yield pairs.label
