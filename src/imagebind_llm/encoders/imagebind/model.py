"""The joint encoder: any modality in, one space out.

A batch is checked against the configuration, goes through its stem, trunk and head, and is scaled.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imagebind_llm.common.errors import ConfigError, UserError
from imagebind_llm.common.modality import Modality, trunk_name
from imagebind_llm.encoders.base import FingerprintCache
from imagebind_llm.encoders.imagebind.config import (
    GridConfig,
    HeadConfig,
    ImageBindConfig,
    ImuConfig,
    Part,
    PointConfig,
    TextConfig,
)
from imagebind_llm.encoders.imagebind.points import PointTrunk
from imagebind_llm.encoders.imagebind.tokens import GridTokens, ImuTokens, TextTokens, Tokens
from imagebind_llm.encoders.imagebind.transformer import Trunk
from imagebind_llm.encoders.repeats import once_each
from imagebind_llm.encoders.tokens import EncodedTokens


def item_shape(modality: Modality, part: Part) -> tuple[int | None, ...]:
    """The shape of one item (one clip) of ``modality``; ``None`` = any length."""
    if isinstance(part, GridConfig):
        time = (part.frames,) if modality is Modality.VIDEO else ()
        return (part.channels, *time, *part.size)
    if isinstance(part, TextConfig):
        return (part.context,)
    if isinstance(part, ImuConfig):
        return (part.channels, part.length)
    return (None, 3)


def fold_clips(modality: Modality, part: Part, batch: Tensor) -> tuple[Tensor, int | None]:
    """``[B, …]`` as it is, or ``[B, clips, …]`` as ``[B · clips, …]`` with the number of clips (grids only).

    Raises:
        UserError: the shape fits neither, the ids are not whole numbers, or a cloud has too few points.
    """
    expected = item_shape(modality, part)
    shape = tuple(batch.shape)
    clips = None
    if isinstance(part, GridConfig) and len(shape) == len(expected) + 2:
        clips = shape[1]
    item = shape[1:] if clips is None else shape[2:]
    fits = len(item) == len(expected) and all(
        length is None or found == length for found, length in zip(item, expected, strict=True)
    )
    if not fits or clips == 0:
        wanted = ", ".join("N" if length is None else str(length) for length in expected)
        several = f" or [B, clips, {wanted}]" if isinstance(part, GridConfig) else ""
        raise UserError(
            f"{modality.value} batch has shape {list(shape)}; this encoder expects [B, {wanted}]{several}"
        )
    if isinstance(part, TextConfig) and batch.is_floating_point():
        raise UserError(f"text batch has dtype {batch.dtype}; expected token ids as int64")
    if isinstance(part, PointConfig):
        least = max(part.groups, part.group_size)
        if item[0] < least:
            raise UserError(
                f"{modality.value} cloud has {item[0]} points; this encoder needs at least {least}"
            )
    return (batch if clips is None else batch.flatten(0, 1)), clips


def unit_rows(x: Tensor) -> Tensor:
    """``x`` in float32 with rows of length 1 (half precision would round the lengths)."""
    return F.normalize(x.float(), dim=-1)


class UnitNorm(nn.Module):
    """``unit_rows`` as a step of a sequence."""

    def forward(self, x: Tensor) -> Tensor:
        return unit_rows(x)


class LogitScale(nn.Module):
    """``x · min(exp(log_logit_scale), max_scale)``; the logarithm is stored, as published."""

    log_logit_scale: Tensor

    def __init__(self, initial: float, learn: bool, max_scale: float) -> None:
        super().__init__()
        self.max_scale = max_scale
        value = torch.tensor(math.log(initial))
        if learn:
            self.log_logit_scale = nn.Parameter(value)
        else:
            self.register_buffer("log_logit_scale", value)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale()

    def scale(self) -> Tensor:
        """The factor in force, a float32 scalar."""
        return self.log_logit_scale.float().exp().clamp(max=self.max_scale)


def make_head(name: str, width: int, embedding_dim: int, config: HeadConfig) -> nn.Sequential:
    """Layer norm → dropout → linear without bias, under the published index of each modality."""
    norm = nn.LayerNorm(width, eps=config.norm_eps)
    linear = nn.Linear(width, embedding_dim, bias=False)
    nn.init.normal_(linear.weight, std=width**-0.5)
    dropout = nn.Dropout(config.dropout)
    if name == "text":
        return nn.Sequential(OrderedDict(proj=nn.Sequential(norm, linear)))
    if name == "imu":  # the original has one more step without weights here, which counts in the key
        return nn.Sequential(norm, nn.Identity(), dropout, linear)
    return nn.Sequential(norm, dropout, linear)


def make_postprocessor(config: HeadConfig) -> nn.Sequential:
    """Unit norm, then the scale if there is one."""
    steps: list[nn.Module] = [UnitNorm()]
    if config.logit_scale is not None:
        steps.append(LogitScale(config.logit_scale, config.learn_scale, config.max_scale))
    return nn.Sequential(*steps)


_STEM_NAMES = {"vision": "rgbt_stem", "audio": "rgbt_stem", "depth": "depth_stem", "thermal": "rgbt_stem"}
"""The published names; "rgbt" is what the original calls its colour and thermal stem.
Sensors have a plain ``stem``."""


class EncoderOutput(NamedTuple):
    """What ``ImageBindModel.features`` gives, both ``[B, D]``."""

    embedding: Tensor
    """Unit vector times the modality's logit scale, averaged over clips (so clips that disagree make it
    shorter). float32."""
    prenorm: Tensor
    """The head's raw output, averaged over clips."""


class ImageBindModel(nn.Module):
    """ImageBind's encoders, and Point-Bind's, as ``config`` says. The state dict has the original key layout.

    The model is built in training mode, as any module; call ``eval()`` (or load it with ``load_imagebind``)
    for use, or dropped paths and batch statistics make embeddings random.
    """

    def __init__(self, config: ImageBindConfig) -> None:
        super().__init__()
        self.config = config
        self.modality_preprocessors = nn.ModuleDict()
        self.modality_trunks = nn.ModuleDict()
        self.modality_heads = nn.ModuleDict()
        self.modality_postprocessors = nn.ModuleDict()
        for name, part in config.parts():
            width = part.trunk.width
            if hasattr(nn.ModuleDict, name):
                raise ConfigError(
                    f"a sensor cannot be called {name!r}, as torch has that word; choose another"
                )
            if isinstance(part, GridConfig):
                self.modality_preprocessors[name] = GridTokens(part, _STEM_NAMES.get(name, "stem"))
            elif isinstance(part, TextConfig):
                self.modality_preprocessors[name] = TextTokens(part)
            elif isinstance(part, ImuConfig):
                self.modality_preprocessors[name] = ImuTokens(part)
            if not isinstance(part, PointConfig):
                self.modality_trunks[name] = Trunk(part.trunk)
            else:
                width = part.out_width
                if name == "point":  # Point-Bind keeps its trunk apart from the others
                    self.point_trunk = PointTrunk(part)
                else:
                    self.modality_trunks[name] = PointTrunk(part)
            self.modality_heads[name] = make_head(name, width, config.embedding_dim, part.head)
            self.modality_postprocessors[name] = make_postprocessor(part.head)
        self._fingerprint = FingerprintCache()

    @property
    def modalities(self) -> frozenset[Modality]:
        """What this model can encode."""
        names = {name for name, _ in self.config.parts()}
        return frozenset(modality for modality in Modality.known() if trunk_name(modality) in names)

    @property
    def embedding_dim(self) -> int:
        """``D``, the size of the joint space."""
        return self.config.embedding_dim

    @property
    def fingerprint(self) -> str:
        """16 hex digits over the configuration and the weights (see ``fingerprint.py`` for what counts)."""
        return self._fingerprint.get(self.config, self)

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration with the name of its type, as a model's ``encoder_config`` holds it."""
        return {"type": "imagebind", **self.config.to_dict()}

    def remember_fingerprint(self, value: str) -> None:
        """Take ``value`` as the fingerprint of the present weights: for a loader that rounds them."""
        self._fingerprint.put(value, self)

    def encode(self, modality: Modality, batch: Tensor) -> Tensor:
        """Unit embeddings ``[B, D]``, float32, of media of one modality.

        Shapes (``S`` = clips or crops, averaged): image ``[B, 3, H, W]``; video ``[B, 3, T, H, W]`` or
        ``[B, S, 3, T, H, W]``; audio ``[B, 1, mel, frames]`` or ``[B, S, 1, mel, frames]``; text
        ``[B, context]`` int64; point ``[B, N, 3]``; depth and thermal ``[B, 1, H, W]``; imu
        ``[B, 6, samples]``; a sensor ``[B, …]`` as its configuration says. The batch is moved to the
        model's device and precision. Everything runs at once: the caller chooses the batch size, and whether
        gradients are recorded.

        Raises:
            UserError: the model lacks the modality, or the shape does not fit the configuration.
        """
        return unit_rows(self.features(modality, batch).embedding)

    def features(self, modality: Modality, batch: Tensor) -> EncoderOutput:
        """As ``encode``, but as the reference returns it: scaled, not renormalised after averaging clips."""
        modality = Modality.parse(modality)
        name, part = self._part_of(modality)
        batch, clips = fold_clips(modality, part, batch)

        def encode(rows: Tensor) -> Tensor:
            pooled = self._pooled(name, part, self._placed(name, part, rows))
            return cast(Tensor, self.modality_heads[name](pooled))

        # in training every row draws its own dropped paths, and counts in batch statistics
        prenorm = encode(batch) if clips is None or self.training else once_each(batch, encode)
        embedding = self.modality_postprocessors[name](prenorm)
        if clips is not None:
            embedding = embedding.unflatten(0, (-1, clips)).mean(dim=1)
            prenorm = prenorm.unflatten(0, (-1, clips)).mean(dim=1)
        return EncoderOutput(embedding, prenorm)

    @property
    def token_modalities(self) -> frozenset[Modality]:
        """What ``tokens`` accepts: all that is read as a grid."""
        grids = {name for name, part in self.config.parts() if isinstance(part, GridConfig)}
        return frozenset(modality for modality in self.modalities if trunk_name(modality) in grids)

    def tokens(self, modality: Modality, batch: Tensor) -> EncodedTokens:
        """Unit embeddings with those of their tokens: what the modality's head, which was trained on the
        class token, makes of the trunk's others.

        Tokens of sounds are frames ``[B, S · frames, D]`` (means over the mel axis, clips in sequence); of
        all else patches ``[B, H, W, D]`` (means over time, and over clips).

        Args:
            modality: one of ``token_modalities``.
            batch: as ``encode`` takes it.

        Raises:
            UserError: the model has no tokens of the modality, or the shape does not fit the configuration.
        """
        modality = Modality.parse(modality)
        name, part = self._part_of(modality)
        if not isinstance(part, GridConfig):
            known = ", ".join(sorted(self.token_modalities))
            raise UserError(f"this encoder has no tokens of {modality.value}; it has of {known}")
        batch, clips = fold_clips(modality, part, batch)
        read: Tokens = self.modality_preprocessors[name](self._placed(name, part, batch))
        prenorm = self.modality_heads[name](self.modality_trunks[name](read.values))
        vectors = self.modality_postprocessors[name](prenorm[:, 0])
        tokens = unit_rows(prenorm[:, 1:]).unflatten(1, part.grid)
        if len(part.grid) > 2 or modality is Modality.AUDIO:  # the first axis is time, or the mel bins
            tokens = tokens.mean(1)
        if clips is not None:
            vectors = vectors.unflatten(0, (-1, clips)).mean(1)
            tokens = tokens.unflatten(0, (-1, clips))
            tokens = tokens.flatten(1, 2) if modality is Modality.AUDIO else tokens.mean(1)
        return EncodedTokens(unit_rows(vectors), unit_rows(tokens))

    def forward(self, modality: Modality, batch: Tensor) -> Tensor:
        """``encode``, for wrappers that call modules (``torch.compile``, data parallelism)."""
        return self.encode(modality, batch)

    def _part_of(self, modality: Modality) -> tuple[str, Part]:
        """The trunk that reads a modality: its name and its configuration."""
        name = trunk_name(modality)
        part = dict(self.config.parts()).get(name)
        if part is None:
            known = ", ".join(sorted(self.modalities))
            raise UserError(f"this encoder has no {modality.value}; it knows {known}")
        return name, part

    def _pooled(self, name: str, part: Part, batch: Tensor) -> Tensor:
        """The trunk's vector for each row, before the head."""
        if isinstance(part, PointConfig):
            trunk = self.point_trunk if name == "point" else self.modality_trunks[name]
            return cast(Tensor, trunk(batch))
        tokens: Tokens = self.modality_preprocessors[name](batch)
        first = tokens.readout is None
        stream = self.modality_trunks[name](tokens.values, causal=tokens.causal, first=first)
        if tokens.readout is None:
            return cast(Tensor, stream[:, 0])
        rows = tokens.readout.view(-1, 1, 1).expand(-1, 1, stream.shape[2])
        return cast(Tensor, stream.gather(1, rows)[:, 0])

    def _placed(self, name: str, part: Part, batch: Tensor) -> Tensor:
        """``batch`` on the model's device, and in its precision where it is not ids or coordinates."""
        weight = next(self.modality_heads[name].parameters())
        if isinstance(part, TextConfig):
            return batch.to(weight.device)
        if isinstance(part, PointConfig):  # distances are measured in float32 whatever the weights are
            return batch.to(weight.device, torch.float32)
        return batch.to(weight.device, weight.dtype)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> "ImageBindModel":
        """Moving or casting the model changes no weight, so a fingerprint already known stays valid."""
        with self._fingerprint.kept(self):
            return super()._apply(fn, recurse)
