"""Nano's suites, as the package finds them by its entry points ``imagebind_llm.suites``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagebind_llm.checkpoints.card import CardSection
from imagebind_llm.evaluation.suite import SuiteKind
from nano_lab.commands import ablate, detection, evaluate, imagine, report, sensor, tools


def _card(results: Mapping[str, Any]) -> CardSection:
    from nano_lab.evaluation.card import card_section

    return card_section(results)


def _read(path: Path) -> Mapping[str, Any]:
    from nano_lab.evaluation.card import read_results

    return read_results(path)


NANO = SuiteKind(
    evaluate.nano,
    "Nano's senses, cache on and off, languages, mixtures, controls.",
    evaluate.EXAMPLES,
    _card,
    _read,
)
CARD = SuiteKind(evaluate.card, "Write the model card from results.", evaluate.CARD_EXAMPLES)
ABLATE = SuiteKind(ablate.ablate, "The published choices against their alternatives.", ablate.EXAMPLES)
SENSOR = SuiteKind(sensor.sensor, "A sensor that was added to nano, zero-shot.", sensor.EXAMPLES)
REPORT = SuiteKind(report.report, "The paper's claims, measured, as a page.", report.EXAMPLES)
TOOLS = SuiteKind(tools.tools, "Sums of digits that nano sees and hears, by the calculator.", tools.EXAMPLES)
DETECTION = SuiteKind(
    detection.detection, "Things in scenes, found by words, pictures and sounds.", detection.EXAMPLES
)
IMAGINE = SuiteKind(
    imagine.imagine, "What nano draws, judged by an independent classifier.", imagine.EXAMPLES
)
