"""Zero-shot answers of nano's language model about a sensor that its encoder was taught later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.data.pairs import read_pairs
from imagebind_llm.evaluation.metrics import Difference, Score
from imagebind_llm.inference.assistant import Assistant
from nano_lab.evaluation.model import AssistantUnderTest
from nano_lab.evaluation.sets import EmbeddedSet, RawSet, embed_set
from nano_lab.evaluation.variants import chance, control_variants, naming_variants
from nano_lab.world.tables import label_ids


def evaluate_sensor(
    bot: Assistant, modality: Modality, pairs: Path, items: int | None = None, seed: int = 0
) -> dict[str, Any]:
    """Ask what held-out arrays show, in phrasings that training never used.

    Args:
        bot: a model whose encoder knows ``modality``.
        modality: the sensor.
        pairs: as for training; the held-out ones are used, and their labels must be names of nano's concepts.
        items: most arrays (None: all).
        seed: of the questions.

    Returns:
        Scores with 95 % intervals: ``cache_off``, with a cache ``cache_on`` and their paired ``difference``,
        ``shuffled`` (the same questions about another array) and its ``chance``.

    Raises:
        UserError: the pairs have no labels, or others than nano's.
    """
    sets = read_pairs(pairs)
    if not sets.labels:
        raise UserError(f"{pairs} has no labels; put the pairs into folders named after nano's concepts")
    test = sets.test[:: max(1, len(sets.test) // items)][:items] if items else sets.test
    tensors = [bot.processor.media.load(modality, pair.array, bot.processor.limits) for pair in test]
    model = AssistantUnderTest(bot)
    data = embed_set(
        model, RawSet(modality.value, modality, label_ids([str(p.label) for p in test]), tensors)
    )
    outcomes = _outcomes(model, data, seed)
    results: dict[str, Any] = {name: Score.of(found).to_dict() for name, found in outcomes.items()}
    if "cache_on" in outcomes:
        results["difference"] = Difference.of(outcomes["cache_off"], outcomes["cache_on"]).to_dict()
    return {"modality": modality.value, "default": data.default, **results, "chance": round(chance(data), 5)}


def _outcomes(model: AssistantUnderTest, data: EmbeddedSet, seed: int) -> dict[str, list[bool]]:
    found = {}
    for variant in [*naming_variants(data, "sense", seed), *control_variants(data, seed, len(data))]:
        kind, _, mode = variant.name.partition("/")
        if kind != "no media":
            name = f"cache_{mode.rpartition('/')[2]}" if kind == "sense" else kind
            found[name] = variant.outcomes(model.answer(variant.questions))
    return found
