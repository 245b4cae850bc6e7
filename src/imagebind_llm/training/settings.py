"""Settings that the recipes of several stages share: the run, the optimizer, the data, what is adapted."""

from dataclasses import dataclass
from typing import Literal

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.settings import check_numbers
from imagebind_llm.data.quarantine import DEFAULT_MAX_RATE
from imagebind_llm.data.sources.base import SourceSettings


@dataclass(frozen=True)
class TowerLora:
    """Low-rank updates instead of training a whole tower."""

    rank: int = 8
    """Inner width of an update."""
    scale: float = 1.0
    """Factor of the updates."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ConfigError(f"lora.rank is {self.rank}; expected at least 1, or lora: null for none")


@dataclass(frozen=True)
class RunSettings:
    """Where a run lives, how long it is and how often it reports."""

    folder: str
    """The run's own folder: checkpoints, metrics, run config, export."""
    steps: int
    """Optimizer steps in all."""
    batch_size: int
    """Examples (images, rows, …) in one micro-batch."""
    accumulate: int = 1
    """Micro-batches per optimizer step; several processes share them, so a step is the same on any
    number."""
    seed: int = 0
    """Everything random is a pure function of this and the step."""
    threads: int = 1
    """CPU threads for torch (0 = leave as it is)."""
    device: Literal["auto", "cpu"] = "auto"
    """``auto`` takes an accelerator if there is one."""
    precision: Literal["no", "bf16"] = "no"
    """``bf16`` runs the forward pass under autocast; trained weights stay float32."""
    frozen_precision: Literal["float32", "bfloat16"] = "float32"
    """How the language model's frozen weights are kept; ``bfloat16`` (half the memory) needs ``precision:
    bf16``."""
    gradient_checkpointing: bool = False
    """Compute the decoder layers' activations again in the backward pass instead of keeping them."""
    sharding: Literal["none", "full"] = "none"
    """Among several processes: ``none`` gives each a whole copy (DDP), ``full`` a share of every weight
    (FSDP)."""
    compile: bool = False
    """Compile the decoder layers (torch.compile); worth it on a GPU and in long runs."""
    attention: Literal["eager", "sdpa", "flex_attention", "flash_attention_2"] | None = None
    """How the language model's attention is computed; null = as transformers chooses. ``eager`` is the faster
    one on a CPU in bf16 where packed rows are short (128 tokens), and the slower one from 512 on."""
    prefetch: int = 0
    """Steps whose batches are prepared ahead in background threads."""
    workers: int = 2
    """Threads that prepare batches ahead (with ``prefetch``)."""
    log_every: int = 20
    """Steps between lines of metrics.jsonl. On an accelerator also between looks at the loss, and between the
    times when several processes answer a signal."""
    evaluate_every: int = 0
    """Steps between evaluations (0 = only at the end)."""
    checkpoint_every: int = 500
    """Steps between checkpoints (0 = only by time, on a signal and at the end)."""
    checkpoint_minutes: float = 10.0
    """Minutes between checkpoints (0 = only by steps)."""
    keep: int = 2
    """Checkpoints kept."""
    samples: int = 4
    """Held-out questions answered at each evaluation, to look at (``samples/step-….md``)."""
    tensorboard: bool = False
    """Also write TensorBoard events (``tensorboard/``)."""
    explosion: float = 4.0
    """Stop when the loss stays above this many times that of the first steps (0 = only when it is no
    number)."""
    resume: Literal["auto", "never", "force"] = "auto"
    """``auto`` continues the folder's run if its recipe is the same, ``force`` also if it changed, ``never``
    starts over."""

    def __post_init__(self) -> None:
        least = dict.fromkeys(("steps", "batch_size", "accumulate", "keep", "log_every", "workers"), 1)
        least |= dict.fromkeys(("seed", "threads", "prefetch", "samples", "explosion", "evaluate_every"), 0)
        least |= dict.fromkeys(("checkpoint_every", "checkpoint_minutes"), 0)
        check_numbers(self, "run", least=least, most=_MOST)
        if not self.folder:
            raise ConfigError("run.folder is empty; give the run a folder of its own")
        if self.frozen_precision == "bfloat16" and self.precision != "bf16":
            raise ConfigError("run.frozen_precision is 'bfloat16', which needs run.precision 'bf16'")


_MOST = {"batch_size": 65_536, "accumulate": 65_536, "workers": 1024, "threads": 1024, "prefetch": 1024}
"""What takes memory or processes before the first step. CLIP was trained with 32,768 pairs on all GPUs."""


@dataclass(frozen=True)
class OptimizerSettings:
    """AdamW, or Muon with AdamW, with linear warm-up and cosine decay."""

    kind: Literal["adamw", "muon"] = "adamw"
    """``muon`` moves matrices and kernels of convolutions by their momentum made orthogonal (Jordan et al.
    2024), which learns more from as many steps; all else is left to AdamW."""
    lr: float | None = None
    """Peak learning rate; or give base_lr."""
    matrix_lr: float = 0.02
    """Peak learning rate of what Muon moves (0.02 as published)."""
    momentum: float = 0.95
    """Of Muon (0.95 as published)."""
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
    warmup_share: float = 0.0
    """The same as a share of all steps (5 of 150 epochs: 0.0333); give one of the two."""
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
        check_numbers(
            self,
            "optimizer",
            least={"weight_decay": 0, "momentum": 0, "betas": 0, "warmup_steps": 0, "final_ratio": 0},
            above={"lr": 0, "base_lr": 0, "matrix_lr": 0, "eps": 0, "clip": 0},
            most={"final_ratio": 1},
        )
        if self.kind == "adamw" and (self.matrix_lr, self.momentum) != (0.02, 0.95):
            raise ConfigError(
                "optimizer.matrix_lr and optimizer.momentum are Muon's; set optimizer.kind to muon, or drop "
                "them"
            )
        if self.momentum >= 1:
            raise ConfigError(f"optimizer.momentum is {self.momentum}; expected a number below 1")
        if max(self.betas) >= 1:
            raise ConfigError(f"optimizer.betas is {self.betas}; expected two numbers below 1")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ConfigError(f"optimizer.ema is {self.ema}; expected a number between 0 and 1, or null")
        if self.warmup_steps and self.warmup_share:
            raise ConfigError(
                f"optimizer.warmup_steps is {self.warmup_steps} and optimizer.warmup_share "
                f"{self.warmup_share}; give one of them"
            )
        if not 0 <= self.warmup_share < 1:
            raise ConfigError(f"optimizer.warmup_share is {self.warmup_share}; expected 0 … 1")

    def warmup(self, steps: int) -> int:
        """Steps of linear rise in a run of ``steps``."""
        return self.warmup_steps or round(self.warmup_share * steps)

    def peak(self, global_batch: int) -> float:
        """The peak learning rate for this many examples per optimizer step."""
        return self.lr if self.lr is not None else (self.base_lr or 0.0) * global_batch / 256


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


def need_folders(data: SourcesData, *settings: str) -> None:
    """Without data sources these settings of ``data`` are needed, with sources they are refused.

    Raises:
        ConfigError: it is otherwise.
    """
    given = [name for name in settings if getattr(data, name) is not None]
    if data.sources and given:
        raise ConfigError(
            f"data.sources is given, and data.{given[0]} too; that is for data of another kind, drop it"
        )
    missing = [name for name in settings if getattr(data, name) is None]
    if not data.sources and missing:
        raise ConfigError(
            f"setting 'data.{missing[0]}' is missing; add it to the recipe or give "
            f"data.{missing[0]}=VALUE, or list data.sources"
        )


@dataclass(frozen=True)
class DataSettings(SourcesData):
    """Where the encoders get their examples: from ``sources`` (pictures with captions), or from ``root``."""

    root: str | None = None
    """Folder of the data that ``source`` names."""

    def __post_init__(self) -> None:
        super().__post_init__()
        need_folders(self, "root")


@dataclass(frozen=True)
class AdapterSettings:
    """What is added to the language model in fine-tuning."""

    rank: int = 16
    """LoRA rank; 0 = no LoRA."""
    scale: float = 1.0
    """LoRA output scale (alpha / rank)."""
    targets: tuple[str, ...] | None = None
    """Linear layers of a decoder layer that get LoRA (``self_attn.q_proj``, …); null = all of the family."""
    biases: tuple[str, ...] | None = None
    """Linear layers whose bias is trained; null = those of the family (all but keys and values)."""
    norms: bool = True
    """Whether norm scales are trained."""
    widen: bool = False
    """Let a model that was fine-tuned with a lower rank go on with this one; its updates start as they
    were."""
    tokens: Literal["all", "conditioned"] = "all"
    """Which tokens LoRA acts on: ``all`` as published, or ``conditioned``: those that see a condition, so
    that text without media is answered as before training. Then biases is [] and norms false."""

    def __post_init__(self) -> None:
        check_numbers(self, "adapters", least={"rank": 0}, above={"scale": 0})
        more = self.biases is None or self.biases or self.norms
        if self.tokens == "conditioned" and (more or not self.rank):
            raise ConfigError(
                "adapters.tokens is 'conditioned', which only LoRA can be; set adapters.biases to [], "
                "adapters.norms to false, and adapters.rank to at least 1"
            )
        if self.widen and self.tokens != "all":
            raise ConfigError("adapters.widen is true, but adapters.tokens 'conditioned'; give one of them")


@dataclass(frozen=True)
class AlignSettings(SourcesData):
    """Where the two stages that teach the language model to see get their examples."""

    max_tokens: int | None = None
    """Examples are cut after this many tokens; null = after a row's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sources:
            raise ConfigError(
                "setting 'data.sources' is missing; add it to the recipe, or give "
                "'data.sources=[{kind: tsv, path: captions.tsv}]'"
            )
        check_numbers(self, "data", least={"max_tokens": 2})
