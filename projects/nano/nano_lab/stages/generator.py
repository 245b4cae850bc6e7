"""The generator stage: a small picture decoder learns to draw what frozen image embeddings stand for.

Each example is a picture as the data set has it and the embedding of an augmented view of it, moved by noise
on the unit sphere, so that embeddings of speech, words and 3D, which lie elsewhere, are not far from what
training shows. What is left of that gap is measured at the end: for each modality the mean way from its
embeddings to those of pictures of the same label, which the generator adds (:attr:`shifts`).
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imagebind_llm.common.modality import Modality
from imagebind_llm.common.settings import build
from imagebind_llm.encoders.imagebind import ImageBindModel
from imagebind_llm.skills.generation.decoder.folder import save_decoder
from imagebind_llm.skills.generation.decoder.model import (
    DecoderConfig,
    EmbeddingDecoder,
    draw_levels,
    flow_loss,
)
from imagebind_llm.skills.generation.decoder.sampling import sample
from imagebind_llm.training.stage import Shards, Stage, step_rng
from imagebind_llm.training.towers import vision_fingerprint
from nano_lab.data.pool import ImagePool
from nano_lab.data.worlds import PictureWorld
from nano_lab.recipes import NanoGeneratorRecipe
from nano_lab.stages.bind_modality import image_bank

_SHIFT_ITEMS = 1024
"""Examples of a modality that its shift is measured on; they come from the training split."""
_CAPTIONS = 50
_ENCODED_AT_ONCE = 128
_DRAWN = 16
"""Pictures drawn at each evaluation."""
_DRAWN_STEPS = 12


class DrawnBatch(NamedTuple):
    """``pictures [B, 3, H, W]`` in -1 … 1, unit ``embeddings [B, D]``, whether each is ``given [B]``,
    ``levels [B]`` and ``noise [B, 3, H, W]``."""

    pictures: Tensor
    embeddings: Tensor
    given: Tensor
    levels: Tensor
    noise: Tensor


class Generator(Stage):
    """Flow matching from noise to pictures, told the embedding."""

    name = "nano.generator"
    unit = "pictures"

    def __init__(
        self, recipe: NanoGeneratorRecipe, encoder: ImageBindModel, fingerprint: str, world: PictureWorld
    ) -> None:
        super().__init__()
        self.recipe, self.world, self.fingerprint = recipe, world, fingerprint
        self.encoder = encoder.eval()
        self.pool = world.images("train", recipe.data.limit)
        folder = Path(recipe.data.bank or Path(recipe.run.folder) / "bank")
        data = recipe.data
        self.bank = image_bank(folder, encoder, world, self.pool, data.views, data.seed)
        config = build(DecoderConfig, {"embedding_dim": encoder.embedding_dim, **recipe.decoder})
        with torch.random.fork_rng():
            torch.manual_seed(recipe.run.seed)
            self.decoder = EmbeddingDecoder(config)

    def train(self, mode: bool = True) -> "Generator":
        """The frozen encoder stays in evaluation mode."""
        super().train(mode)
        self.encoder.eval()
        return self

    def trainable(self) -> dict[str, nn.Parameter]:
        return {f"decoder.{name}": parameter for name, parameter in self.decoder.named_parameters()}

    def shards(self) -> Shards | None:
        return None

    def size(self, batch: DrawnBatch) -> int:
        return len(batch.pictures)

    def data_fingerprints(self) -> dict[str, str]:
        return {"encoder": vision_fingerprint(self.encoder)}

    def batch(self, index: int) -> DrawnBatch:
        recipe = self.recipe
        rng = step_rng(recipe.run.seed, index)
        rows = self.pool.draw(rng, recipe.run.batch_size, recipe.data.shares)
        given = torch.from_numpy(rng.random(len(rows)) >= recipe.unconditional)
        return _batch(
            self._pictures(self.pool, rows, rng if recipe.mirror else None),
            noisy_units(self.bank.take(rng, rows), rng, recipe.data.embedding_noise),
            given,
            rng,
        )

    def loss(self, batch: DrawnBatch) -> tuple[Tensor, dict[str, Tensor]]:
        with _plain_attention(batch.pictures.device):
            loss = flow_loss(
                self.decoder, batch.pictures, batch.embeddings, batch.given, batch.levels, batch.noise
            )
        return loss, {}

    def _pictures(self, pool: ImagePool, rows: np.ndarray, rng: np.random.Generator | None) -> Tensor:
        """``[B, 3, H, W]`` in -1 … 1; with ``rng`` half of the photographs are mirrored."""
        pixels = pool.pixels[rows]
        if rng is not None:
            mirrored = (rng.random(len(rows)) < 0.5) & np.isin(rows, pool.domains.get("objects", ()))
            pixels[mirrored] = pixels[mirrored][:, :, ::-1]
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)

    @cached_property
    def _test(self) -> DrawnBatch:
        """Held-out pictures with the embeddings of themselves, always the same."""
        pool = self.world.images("test")
        judged = np.flatnonzero(pool.labels < self.world.judged_labels)
        rng = np.random.default_rng(0)
        rows = rng.choice(judged, min(self.recipe.evaluate_items, len(judged)), replace=False)
        pixels = self.world.plain(pool.pixels[rows])
        embeddings = self._encoded(Modality.IMAGE, pixels)
        given = torch.ones(len(rows), dtype=torch.bool)
        return _batch(self._pictures(pool, rows, None), embeddings, given, rng)

    def _encoded(self, modality: Modality, media: Tensor) -> Tensor:
        with torch.no_grad():
            parts = [self.encoder.encode(modality, part) for part in media.split(_ENCODED_AT_ONCE)]
        return torch.cat(parts).float().cpu()

    def evaluate(self) -> dict[str, float]:
        """``loss`` on held-out pictures; ``closeness``: the mean cosine between the embedding that was asked
        for and that of what was drawn (the encoder judges itself here; the suite does not)."""
        device = self.decoder.nothing.device
        test = DrawnBatch(*(tensor.to(device) for tensor in self._test))
        losses = [float(self.loss(part)[0]) * len(part.pictures) for part in _parts(test)]
        asked = self._test.embeddings[:_DRAWN]
        drawn = sample(self.decoder, asked, range(len(asked)), steps=_DRAWN_STEPS)
        found = self._encoded(Modality.IMAGE, self.world.plain(drawn.numpy()))
        return {
            "loss": sum(losses) / len(self._test.pictures),
            "closeness": float((asked * found).sum(1).mean()),
        }

    def export(self, folder: Path) -> None:
        save_decoder(folder, self.decoder, self.fingerprint, self.shifts())

    def shifts(self) -> dict[str, Tensor]:
        """For each modality but pictures: the mean over labels of (mean embedding of pictures - its mean
        embedding), ``[D]``, on training examples."""
        means = self.bank.class_means(self.world.judged_labels)
        found = {}
        for name in self.recipe.shifts:
            modality = Modality.parse(name)
            media, labels = self._examples(modality)
            rows = self._encoded(modality, media)
            ways = []
            for label in labels.unique().tolist():
                if label < len(means) and bool(means[label].any()):
                    ways.append(means[label] - F.normalize(rows[labels == label].mean(0), dim=0))
            if ways:
                found[modality.value] = torch.stack(ways).mean(0)
        return found

    def _examples(self, modality: Modality) -> tuple[Tensor, Tensor]:
        if modality is not Modality.TEXT:
            rng = np.random.default_rng(self.recipe.run.seed)
            examples = self.world.modality_batch(modality, rng, _SHIFT_ITEMS)
            return examples.media, examples.labels
        from imagebind_llm.media.settings import TextSettings
        from imagebind_llm.media.text import tokenize

        text = self.encoder.config.text
        assert text is not None, "the encoder would have refused the words"
        settings = TextSettings(context_length=text.context)
        tokens, labels = [], []
        for label in range(self.world.judged_labels):
            captions = list(self.world.captions(label, _CAPTIONS, self.recipe.run.seed))
            tokens.append(tokenize(captions, settings))
            labels += [label] * len(captions)
        return torch.cat(tokens), torch.tensor(labels)

    def extra_metadata(self) -> dict[str, Any]:
        return {"encoder": self.fingerprint, "parameters": sum(p.numel() for p in self.decoder.parameters())}


def noisy_units(rows: Tensor, rng: np.random.Generator, most: float) -> Tensor:
    """Unit rows ``[B, D]``, each moved by a Gaussian step of a length of about 0 … ``most`` (uniform)."""
    if not most:
        return rows
    step = rng.standard_normal(rows.shape, dtype=np.float32) / np.float32(rows.shape[1] ** 0.5)
    length = rng.uniform(0, most, (len(rows), 1)).astype(np.float32)
    return F.normalize(rows + torch.from_numpy(step * length), dim=-1)


def _plain_attention(device: torch.device) -> AbstractContextManager[None]:
    """Attention as plain matrix products, on a CPU: torch's fused one is slow backwards there (a fifth of a
    step of ``recipes/nano/generator.yaml`` in bfloat16, for four maps of at most 8 x 8 places)."""
    if device.type != "cpu":
        return nullcontext()
    from torch.nn.attention import SDPBackend, sdpa_kernel

    plain: AbstractContextManager[None] = sdpa_kernel(SDPBackend.MATH)
    return plain


def _batch(pictures: Tensor, embeddings: Tensor, given: Tensor, rng: np.random.Generator) -> DrawnBatch:
    """Add the levels and the noise, drawn from ``rng``."""
    draw = torch.Generator().manual_seed(int(rng.integers(2**62)))
    levels = draw_levels(len(pictures), draw)
    noise = torch.randn(pictures.shape, generator=draw)
    return DrawnBatch(pictures, embeddings, given, levels, noise)


def _parts(batch: DrawnBatch) -> "list[DrawnBatch]":
    split: Callable[[Tensor], Any] = lambda tensor: tensor.split(_ENCODED_AT_ONCE)  # noqa: E731
    return [DrawnBatch(*part) for part in zip(*map(split, batch), strict=True)]


def open_generator(recipe: NanoGeneratorRecipe, world: PictureWorld) -> Generator:
    """The stage for the encoder of ``recipe.model``.

    Raises:
        ConfigError: its encoder is of another type than these pictures are prepared for.
    """
    from imagebind_llm.common.errors import ConfigError
    from imagebind_llm.common.files import read_json
    from imagebind_llm.common.locate import locate_folder
    from imagebind_llm.encoders.registry import load_encoder

    encoder = load_encoder(recipe.model)
    if not isinstance(encoder, ImageBindModel):
        raise ConfigError(
            f"the encoder of {recipe.model!r} is of another type than imagebind; give model=nano"
        )
    config: Mapping[str, Any] = read_json(locate_folder(recipe.model) / "config.json")
    recorded = (config.get("fingerprints") or {}).get("encoder")
    return Generator(recipe, encoder, str(recorded or encoder.fingerprint), world)
