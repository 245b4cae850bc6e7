"""What a training run is: one YAML file per stage, read into frozen dataclasses.

Every field has one line that says what it means. ``key=value`` overrides use dotted keys. The resolved recipe
is saved beside the run with the versions it ran under.
"""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import yaml

from imagebind_llm.errors import ConfigError
from imagebind_llm.files import atomic_write
from imagebind_llm.training.settings import apply_overrides, build, to_plain

_REPORTED_PACKAGES = ("torch", "transformers", "accelerate", "peft", "safetensors", "numpy")


@dataclass(frozen=True)
class RunSettings:
    """Where a run lives, how long it is and how often it reports."""

    folder: str
    """The run's own folder: checkpoints, metrics, resolved recipe, export."""
    steps: int
    """Optimizer steps in all."""
    batch_size: int
    """Examples (images, rows, …) in one micro-batch."""
    accumulate: int = 1
    """Micro-batches per optimizer step."""
    seed: int = 0
    """Everything random is a pure function of this and the step."""
    threads: int = 1
    """CPU threads for torch (0 = leave as it is)."""
    device: Literal["auto", "cpu"] = "auto"
    """``auto`` takes an accelerator if there is one."""
    precision: Literal["no", "bf16"] = "no"
    """``bf16`` runs the forward pass under autocast; weights stay float32."""
    prefetch: int = 0
    """Batches prepared ahead in a background thread."""
    log_every: int = 20
    """Steps between lines of metrics.jsonl."""
    evaluate_every: int = 0
    """Steps between evaluations (0 = only at the end)."""
    checkpoint_every: int = 500
    """Steps between checkpoints (0 = only by time, on a signal and at the end)."""
    checkpoint_minutes: float = 10.0
    """Minutes between checkpoints (0 = only by steps)."""
    keep: int = 2
    """Checkpoints kept."""
    resume: Literal["auto", "never", "force"] = "auto"
    """``auto`` continues the folder's run if its recipe is the same, ``force`` also if it changed, ``never``
    starts over."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulate", "keep", "log_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"run.{name} is {getattr(self, name)}; expected at least 1")


@dataclass(frozen=True)
class OptimizerSettings:
    """AdamW with linear warm-up and cosine decay."""

    lr: float | None = None
    """Peak learning rate; or give base_lr."""
    base_lr: float | None = None
    """Peak learning rate for a global batch of 256; the rate is base_lr × global batch / 256."""
    weight_decay: float = 0.05
    """Applied to matrices only: tensors of fewer than two dimensions and biases have none."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay rates of the two moments."""
    eps: float = 1e-8
    """Added to the root of the second moment."""
    warmup_steps: int = 0
    """Steps of linear rise."""
    final_ratio: float = 0.0
    """The rate at the last step as a share of the peak."""
    clip: float | None = 1.0
    """Largest gradient norm; null = no clipping."""
    ema: float | None = None
    """Decay of an exponential average of the weights, used for evaluation and export; null = none."""

    def __post_init__(self) -> None:
        if (self.lr is None) == (self.base_lr is None):
            raise ConfigError(
                f"optimizer.lr is {self.lr} and optimizer.base_lr is {self.base_lr}; give exactly one of them"
            )
        if self.ema is not None and not 0 < self.ema < 1:
            raise ConfigError(f"optimizer.ema is {self.ema}; expected a number between 0 and 1, or null")

    def peak(self, global_batch: int) -> float:
        """The peak learning rate for this many examples per optimizer step."""
        return self.lr if self.lr is not None else (self.base_lr or 0.0) * global_batch / 256


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
class BindRecipe:
    """Contrastive training of the encoders, anchored to images."""

    run: RunSettings
    optimizer: OptimizerSettings
    data: DataSettings
    modalities: tuple[str, ...]
    """``[image, text]`` trains the anchor; one other modality trains its tower to it."""
    encoder: str = "new"
    """Encoder folder to start from, or ``new`` (built from ``config``)."""
    config: dict[str, Any] | None = None
    """Overrides of the nano encoder configuration, only with ``encoder: new``."""
    captions: int = 96
    """Captions per step (image and text together); they need not be as many as images."""
    clip_probability: float | None = None
    """Show images as clips of two frames, this share of them moving; null = still images."""
    bank: str | None = None
    """Folder of precomputed image embeddings (made if absent); null = inside the run."""
    bank_views: int = 2
    """Augmented views per image in the bank."""
    bank_seed: int = 0
    """Of the bank's views (a bank is shared between runs, so this is not the run's seed)."""
    bank_sample: int = 1024
    """Bank images each step is contrasted with, balanced over classes."""
    instance_weight: float = 0.5
    """Weight of 1 - cos(example, the image it was derived from), where there is one."""
    temperature: float = 0.07
    """Initial softmax temperature."""
    learn_temperature: bool = True
    """Whether the temperature is trained."""
    label_smoothing: float = 0.0
    """Part of the target spread evenly over the batch."""
    channels_last: bool = True
    """Keep image tensors in channels-last memory (faster convolutions on CPU)."""
    evaluate_items: int = 2000
    """Test items per evaluation."""

    @property
    def anchor(self) -> bool:
        """Whether this run trains images (and text) rather than a tower towards them."""
        return "image" in self.modalities

    def __post_init__(self) -> None:
        from imagebind_llm.modality import Modality

        found = [Modality.parse(name) for name in self.modalities]
        if not self.anchor and (len(found) != 1 or found[0] in (Modality.TEXT, Modality.VIDEO)):
            raise ConfigError(
                f"modalities is {list(self.modalities)}; give [image, text] or exactly one of "
                "audio, point, depth, thermal, imu"
            )
        if self.anchor and set(found) != {Modality.IMAGE, Modality.TEXT}:
            raise ConfigError(
                f"modalities is {list(self.modalities)}; images are trained with text, nothing else"
            )
        if self.encoder != "new" and self.config:
            raise ConfigError(f"config is given but encoder is {self.encoder!r}; drop one of them")
        if self.encoder == "new" and not self.anchor:
            raise ConfigError(
                f"encoder is 'new', but {found[0]} is trained towards images; give a trained encoder"
            )


@dataclass(frozen=True)
class LanguageRecipe:
    """A small Llama from scratch on a text corpus."""

    run: RunSettings
    optimizer: OptimizerSettings
    model: dict[str, Any]
    """LlamaConfig values (hidden_size, num_hidden_layers, …)."""
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
    """Images as conditions, for the two stages that teach the language model to see."""

    root: str
    """Folder of the datasets."""
    bank: str
    """Folder of precomputed image embeddings (made if absent)."""
    views: int = 2
    """Augmented views per image in the bank."""
    shares: dict[str, float] = field(
        default_factory=lambda: {"objects": 0.60, "digits": 0.35, "unclear": 0.05}
    )
    """Parts of the drawn images by domain."""
    embedding_noise: float = 0.0
    """Length of a random Gaussian step on the unit sphere added to each image embedding (narrows the modality
    gap)."""
    limit: int | None = None
    """Use at most this many training images."""
    seed: int = 0
    """Of the bank's views (a bank is shared between runs, so this is not the run's seed)."""


@dataclass(frozen=True)
class PretrainRecipe:
    """Image-caption pairs; trains the bind network and the gates."""

    run: RunSettings
    optimizer: OptimizerSettings
    data: AlignSettings
    encoder: str
    """Folder of the trained encoder."""
    language_model: str
    """Folder of the language model and its tokenizer."""
    bind: dict[str, Any] = field(default_factory=dict)
    """BindNetwork values (width is the language model's unless given)."""
    injection: dict[str, Any] = field(default_factory=dict)
    """Injection values (style, layers)."""
    row_length: int = 256
    """Tokens per packed row."""
    evaluate_items: int = 200
    """Held-out samples per evaluation."""


@dataclass(frozen=True)
class FinetuneRecipe:
    """Instructions; trains LoRA, biases and norms (and the bind network if asked)."""

    run: RunSettings
    optimizer: OptimizerSettings
    data: AlignSettings
    model: str
    """Folder exported by pretrain."""
    adapters: AdapterSettings = AdapterSettings()
    """What is added to the language model."""
    train_bind: bool = False
    """Whether the bind network and gates go on learning too."""
    mixture: dict[str, float] = field(
        default_factory=lambda: {"media": 0.60, "text": 0.15, "statement": 0.10, "caption": 0.15}
    )
    """Parts of the dialogs: instructions about images, text only, perception stated in words, captions."""
    mixture_weights: float = 0.15
    """Two mixed images have weights 0.5 plus and minus up to this."""
    mixture_units: float = 0.3
    """Share of conditions scaled to length 1, as the visual cache leaves mixtures."""
    row_length: int = 256
    """Tokens per packed row."""
    evaluate_items: int = 200
    """Held-out samples per evaluation."""


Recipe = BindRecipe | LanguageRecipe | PretrainRecipe | FinetuneRecipe

STAGES: dict[str, type[Any]] = {
    "bind": BindRecipe,
    "language": LanguageRecipe,
    "pretrain": PretrainRecipe,
    "finetune": FinetuneRecipe,
}


def load_recipe(stage: str, path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Any:
    """The recipe for ``stage`` in the YAML file ``path`` with ``key=value`` overrides.

    Raises:
        ConfigError: the file cannot be read, belongs to another stage, or holds an unknown or wrong setting.
    """
    file = Path(path)
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the recipe {str(path)!r} ({error}); give a YAML file") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds {type(values).__name__}; expected a mapping of settings")
    values = apply_overrides(values, overrides)
    named = values.pop("stage", stage)
    if named != stage:
        raise ConfigError(f"{path} is a recipe for {named!r}; run: train {named} {path}")
    return build(STAGES[stage], values)


def save_resolved(stage: str, recipe: Any, folder: Path) -> None:
    """Write ``recipe.yaml``: the resolved settings, loadable again as they are, and the versions in
    comments."""
    found = []
    for package in ("imagebind-llm", *_REPORTED_PACKAGES):
        try:
            found.append(f"# {package} {version(package)}")
        except PackageNotFoundError:
            continue
    commit = _git_commit()
    if commit:
        found.append(f"# commit {commit}")
    text = yaml.safe_dump({"stage": stage, **to_plain(recipe)}, sort_keys=False, allow_unicode=True)
    with atomic_write(folder / "recipe.yaml") as temporary:
        temporary.write_text("\n".join(found) + "\n" + text, encoding="utf-8")


def _git_commit() -> str | None:
    """The commit this package is run from, with ``+`` if the tree differs; None outside a repository."""
    here = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changed else "")
