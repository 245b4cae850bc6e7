"""The stage ``heads``: symmetric InfoNCE between the heads of two towers, on features of frozen backbones."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.modality import Modality
from imagebind_llm.data.quarantine import Quarantine
from imagebind_llm.data.sources import SourceSettings, open_source
from imagebind_llm.data.sources.base import Source
from imagebind_llm.data.sources.embedded import EmbeddedSource
from imagebind_llm.encoders.registry import load_encoder, media_of_encoder
from imagebind_llm.encoders.towers.media import TowersMedia
from imagebind_llm.encoders.towers.model import TowersEncoder, head_parameters
from imagebind_llm.encoders.towers.weights import save_towers
from imagebind_llm.training.checkpoint import claim_run_folder
from imagebind_llm.training.contrastive import symmetric_loss
from imagebind_llm.training.heads.features import FeatureMaker, device_for
from imagebind_llm.training.heads.items import captioned, class_items, is_embedded, table_items
from imagebind_llm.training.heads.recipe import HeadsRecipe, PairSettings
from imagebind_llm.training.heads.sets import ClassPairs, Pairs, PairSet, RowPairs, concatenated, hit_rate
from imagebind_llm.training.stage import Stage, step_rng

_MAX_SCALE = 100.0
"""Upper limit of the learnt inverse temperatures, as in CLIP."""
_PROJECTED_AT_ONCE = 1024


class HeadsBatch(NamedTuple):
    """For each source of pairs, in the recipe's order, its part of a micro-batch."""

    parts: tuple[Pairs, ...]


class Heads(Stage):
    """Trains heads; each micro-batch has ``run.batch_size`` pairs of each source, which are contrasted with
    each other within the source."""

    name = "heads"
    unit = "pairs"

    def __init__(self, recipe: HeadsRecipe) -> None:
        super().__init__()
        self.recipe = recipe
        encoder = load_encoder(recipe.encoder)
        media = media_of_encoder(recipe.encoder, encoder)
        if not isinstance(encoder, TowersEncoder) or not isinstance(media, TowersMedia):
            raise ConfigError(
                f"encoder {recipe.encoder!r} is not of towers; make one with imagebind-llm new-encoder, or "
                "train an ImageBind with train bind"
            )
        _check(recipe, encoder)
        self.encoder, self.media = encoder.to(device_for(recipe.run.device)), media
        folder = Path(recipe.run.folder)
        claim_run_folder(folder)
        self._quarantine = Quarantine(folder / "quarantine.jsonl", max_rate=recipe.data.max_bad_share)
        features = folder / "features" if recipe.features is None else Path(recipe.features)
        self._maker = FeatureMaker(encoder, features, self._quarantine)
        self._identities: dict[str, str] = {}
        self.sets = dict(self._opened())
        self.weights = [*(one.weight for one in recipe.data.sources), *(one.weight for one in recipe.pairs)]
        self._measure()
        start = torch.tensor(1 / recipe.temperature).log()
        self.log_scales = nn.Parameter(start.repeat(len(self.sets)))

    def _opened(self) -> Iterator[tuple[str, PairSet]]:
        recipe = self.recipe
        for number, source in enumerate(recipe.data.sources):
            held_out = recipe.data.test_sources if number == 0 else ()
            yield source.label, self._captions(number, source, held_out)
        for number, pairs in enumerate(recipe.pairs, start=len(recipe.data.sources)):
            first, second = (Modality.parse(name) for name in pairs.modalities)
            if pairs.table is not None:
                train, test = table_items(pairs, self.media)
                yield (
                    pairs.label,
                    RowPairs(
                        (first, second),
                        self._features(number, "train", train),
                        self._features(number, "test", test),
                    ),
                )
            else:
                yield pairs.label, self._classes(number, pairs, first, second)

    def _captions(
        self, number: int, source: SourceSettings, held_out: tuple[SourceSettings, ...]
    ) -> RowPairs:
        """All held-out sources together are evaluated with the first source."""
        sides = (Modality.IMAGE, Modality.TEXT)
        train = self._features(number, "train", self._captioned(source))
        tests = [
            self._features(number, f"test-{place}", self._captioned(one))
            for place, one in enumerate(held_out)
        ]
        if not tests:
            return RowPairs(sides, train, None)
        whole = type(train)(
            {kind: torch.cat([one.columns[kind] for one in tests]) for kind in sides},
            torch.cat([one.labels for one in tests]),
        )
        return RowPairs(sides, train, whole)

    def _captioned(self, settings: SourceSettings) -> Any:
        opened = open_source(settings)
        assert isinstance(opened, Source), "the recipe refuses streams"
        if isinstance(opened, EmbeddedSource):
            self._require_own(opened)
        return captioned(opened, self.media, self.encoder.embedding_dim)

    def _require_own(self, source: EmbeddedSource) -> None:
        """Refuse embeddings that this encoder has not made.

        Raises:
            ConfigError: naming them.
        """
        if source.encoder_fingerprint != self.encoder.fingerprint:
            raise ConfigError(
                f"the embeddings of source {source.name!r} were made by an encoder with fingerprint "
                f"{source.encoder_fingerprint}, this one has {self.encoder.fingerprint}; embed the data with "
                "this encoder"
            )

    def _classes(self, number: int, pairs: PairSettings, first: Modality, second: Modality) -> ClassPairs:
        assert pairs.folders is not None, "pairs that are no table are by class"
        targets = is_embedded(pairs.folders[1])
        if targets:
            self._require_own(EmbeddedSource(SourceSettings("embedded", pairs.folders[1]), None))
        made = [
            tuple(
                self._features(number, f"{split}-{kind.value}", items)
                for split, items in zip(("train", "test"), side, strict=True)
            )
            for kind, side in zip((first, second), class_items(pairs, self.media), strict=True)
        ]
        return ClassPairs((first, second), (made[0][0], made[1][0]), (made[0][1], made[1][1]), targets)

    def _features(self, number: int, part: str, items: Any) -> Any:
        name = f"{number}-{part}"
        self._identities[name] = self._maker.identity(items)
        return self._maker.make(name, items)

    def _measure(self) -> None:
        """Standardise heads that do, and have not been measured, by the features to learn from."""
        found: dict[str, list[Tensor]] = {}
        for pairs in self.sets.values():
            for kind, features in pairs.features().items():
                found.setdefault(self.encoder.config.tower_of(kind), []).append(features)
        for name, parts in found.items():
            head = self.encoder.tower(Modality.parse(name)).head
            if not head.measured:
                head.measure(concatenated(parts).to(head.mean.device))

    def trainable(self) -> dict[str, nn.Parameter]:
        found: dict[str, nn.Parameter] = {}
        for name in _trained(self.recipe, self.encoder):
            parameters = head_parameters(self.encoder, Modality.parse(name))
            found |= {f"encoder.{key}": parameter for key, parameter in parameters.items()}
        if self.recipe.learn_temperature:
            found["log_scales"] = self.log_scales
        return found

    def batch(self, index: int) -> HeadsBatch:
        rng = step_rng(self.recipe.run.seed, index)
        return HeadsBatch(tuple(pairs.draw(rng, self.recipe.run.batch_size) for pairs in self.sets.values()))

    def size(self, batch: HeadsBatch) -> int:
        return sum(len(part.first) for part in batch.parts)

    @property
    def scales(self) -> Tensor:
        """The inverse temperatures, one for each source."""
        return self.log_scales.exp().clamp(max=_MAX_SCALE)

    def loss(self, batch: HeadsBatch) -> tuple[Tensor, dict[str, Tensor]]:
        total = torch.zeros((), device=self.log_scales.device)
        metrics: dict[str, Tensor] = {}
        for number, ((name, pairs), part) in enumerate(zip(self.sets.items(), batch.parts, strict=True)):
            one, two = pairs.modalities
            scale = self.scales[number]
            loss = symmetric_loss(
                self.encoder.project(one, part.first),
                self.encoder.project(two, part.second),
                part.first_labels,
                part.second_labels,
                scale,
                self.recipe.label_smoothing,
            )
            total = total + loss * (self.weights[number] / sum(self.weights))
            metrics |= {f"loss_{name}": loss.detach(), f"scale_{name}": scale.detach()}
        return total, metrics

    def evaluate(self) -> dict[str, float]:
        """Of each source with held-out pairs the share of its first side's media whose nearest medium of the
        second side is right (of the same pair, caption or class), and the other way round:
        ``text_of_image`` and ``image_of_text``. A second source of the same modalities adds its name."""
        measured: dict[str, float] = {}
        for name, pairs in self.sets.items():
            held_out = pairs.held_out(self.recipe.evaluate_items)
            if not len(held_out.first) or not len(held_out.second):
                continue
            one, two = pairs.modalities
            near = self._projected(one, held_out.first) @ self._projected(two, held_out.second).T
            keys = (f"{two.value}_of_{one.value}", f"{one.value}_of_{two.value}")
            if keys[0] in measured or keys[1] in measured:
                keys = (f"{keys[0]}_{name}", f"{keys[1]}_{name}")
            measured[keys[0]] = hit_rate(near.argmax(1), held_out.first_labels, held_out.second_labels)
            measured[keys[1]] = hit_rate(near.argmax(0), held_out.second_labels, held_out.first_labels)
        return measured

    def _projected(self, kind: Modality, features: Tensor) -> Tensor:
        device = self.log_scales.device
        parts = features.split(_PROJECTED_AT_ONCE)
        return torch.cat([self.encoder.project(kind, part.to(device)).float().cpu() for part in parts])

    def data_fingerprints(self) -> dict[str, str]:
        """Of each set of items, with the backbones that its features are of."""
        return dict(self._identities)

    def export(self, folder: Path) -> None:
        save_towers(self.encoder, self.media, folder)

    def extra_metadata(self) -> dict[str, Any]:
        return {
            "trained": list(_trained(self.recipe, self.encoder)),
            "pairs": {name: pairs.counts for name, pairs in self.sets.items()},
            "left_out": self._quarantine.total,
        }


def _named(recipe: HeadsRecipe, encoder: TowersEncoder) -> list[tuple[str, ...]]:
    """The towers of each source's two sides."""
    sides: list[tuple[str, ...]] = [("image", "text") for _ in recipe.data.sources]
    sides += [pairs.modalities for pairs in recipe.pairs]
    return [tuple(encoder.config.tower_of(Modality.parse(name)) for name in side) for side in sides]


def _trained(recipe: HeadsRecipe, encoder: TowersEncoder) -> tuple[str, ...]:
    """The towers whose heads learn, in the encoder's order."""
    used = {name for side in _named(recipe, encoder) for name in side}
    return tuple(
        name
        for name, tower in encoder.config.towers.items()
        if name in used and tower.head.kind != "none" and (recipe.train is None or name in recipe.train)
    )


def _check(recipe: HeadsRecipe, encoder: TowersEncoder) -> None:
    """Refuse modalities that the encoder has not, and pairs of which neither side learns.

    Raises:
        ConfigError: naming them.
        UserError: a modality that does not exist.
    """
    known = ", ".join(sorted(encoder.modalities))
    wanted = [
        *((("image", "text"),) if recipe.data.sources else ()),
        *(one.modalities for one in recipe.pairs),
    ]
    for name in (name for side in wanted for name in side):
        if Modality.parse(name) not in encoder.modalities:
            raise ConfigError(f"the encoder has no {name}, which the recipe has pairs of; it knows {known}")
    for name in recipe.train or ():
        tower = encoder.config.towers.get(name)
        if tower is None or tower.head.kind == "none":
            why = "it has no such tower" if tower is None else "its head is of kind 'none'"
            raise ConfigError(f"train names {name!r}, which cannot learn: {why}")
    trained = _trained(recipe, encoder)
    for source, side in zip(recipe.names(), _named(recipe, encoder), strict=True):
        if not set(side) & set(trained):
            raise ConfigError(
                f"pairs {source!r}: neither the head of {side[0]} nor that of {side[1]} learns; give one of "
                "them a linear or mlp head, or name it under train"
            )
