"""The report: what the paper claims, and what was measured, as one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imagebind_llm.common.files import write_json
from imagebind_llm.evaluation.claims.document import Document, Figure, Part, Section, Table, write
from imagebind_llm.evaluation.claims.plots import draw_curves, draw_maps
from imagebind_llm.evaluation.report import percent
from nano_lab.evaluation import tables
from nano_lab.evaluation.claims.against import Comparison
from nano_lab.evaluation.claims.measure import Measured

Row = Mapping[str, Any]


def write_report(measured: Measured, compared: Comparison, out: Path) -> None:
    """Write ``report.html``, ``report.md`` with its pictures, ``report.json`` and ``cost.json``.

    Two runs that measure the same write the same ``report.json`` and pictures. Milliseconds differ: they are
    in ``cost.json``, and in the page.
    """
    agreement = {"card": compared.card, "rows": compared.rows, "differ": list(compared.differ)}
    write_json(out / "report.json", {**measured.values, "agreement": agreement})
    write_json(out / "cost.json", measured.cost)
    write(document(measured, compared), out)


def document(measured: Measured, compared: Comparison) -> Document:
    """The report as a document."""
    values = measured.values
    standard = values["standard"]
    model, settings, environment = standard["model"], standard["settings"], standard["environment"]
    versions = ", ".join(f"{name} {found}" for name, found in environment["versions"].items())
    lead: list[Part] = [compared.says, *(f"- {row}" for row in compared.differ)]
    lead += [
        f"Model `{model['name']}`, weights sha256 `{(model['weights_sha256'] or 'unknown')[:16]}`, commit "
        f"`{environment['commit'] or 'unknown'}`, seed {settings['seed']}, greedy decoding, {versions}.",
        "Shares in per cent with 95 % intervals (Wilson; differences paired). Test splits; phrasings of "
        "questions that training never used. Intervals are for the sampling of test items, not for another "
        "training run. Senses marked *derived* are computed from test pictures by geometry and physics.",
        Table(["claim", "what was measured", "result"], list(_claims(measured))),
    ]
    sections = [
        Section("Images teach the other senses", _senses(standard)),
        Section("It is the embedding that answers", _controls(values)),
        Section("The cache helps, and closes a part of the gap", _gap(values, measured)),
        Section("Two things in one vector", _mixtures(values)),
        Section("Text ability", _text(values["text"])),
        Section("What a condition costs", _cost(measured.cost)),
    ]
    return Document(f"What {model['name']} shows of the paper's claims", lead, sections)


def _claims(measured: Measured) -> list[list[str]]:
    """One row for each claim: the weakest numbers stand beside the best."""
    values = measured.values
    standard = values["standard"]
    others = [row for row in standard["senses"] if row["modality"] != "image"]
    ranked = sorted(others, key=lambda row: _at_default(row)["accuracy"])
    low, high = ranked[0], ranked[-1]
    rows = [
        [
            "Trained with images and text only, it understands other senses",
            f"weakest and best of {len(others)}, at the defaults",
            f"{low['name']} {percent(_at_default(low))}, {high['name']} {percent(_at_default(high))}; "
            f"chance {100 * low['chance']:.0f} and {100 * high['chance']:.0f}",
        ]
    ]
    changed = [row for row in others if "difference" in row]
    if changed:
        helps = [row for row in changed if row["difference"]["low"] > 0]
        hurts = [row for row in changed if row["difference"]["high"] < 0]
        rows.append(
            [
                "The cache helps senses other than images",
                "cache on against off, paired",
                f"better in {len(helps)} of {len(changed)}, worse in {len(hurts)}, no clear difference in "
                f"{len(changed) - len(helps) - len(hurts)}",
            ]
        )
    fallen = next(row for row in standard["targets"] if "shuffled" in row["name"])
    silent = _together([row["right"] for row in values["without_injection"]])
    rows += [
        [
            "The answers come from the embedding",
            "senses at chance when embeddings are shuffled; right answers with the injection off",
            f"{fallen['value']} of {fallen['target']}; {silent[0]} of {silent[1]}",
        ]
    ]
    for curve in values["mixtures"]:
        best = max(curve["points"], key=lambda point: point["both"]["accuracy"])
        rows.append(
            [
                f"Two media mix in one vector: {curve['first']} and {curve['second']}",
                "both named and nothing else, best weight",
                f"{percent(best['both'])} at {best['weight']:g}, n = {best['n']}",
            ]
        )
    closer = [row for row in values["gaps"] if row["modality"] != "image" and "on" in row]
    if closer:
        smaller = sum(row["on"]["matched"] < row["off"]["matched"] for row in closer)
        rows.append(
            [
                "The cache brings other senses nearer to images",
                "mean distance to a picture of the same thing, cache on against off",
                f"smaller in {smaller} of {len(closer)}",
            ]
        )
    for kind in values["text"]["kinds"]:
        if "change" in kind:
            change = kind["change"]["bits"]
            rows.append(
                [
                    f"Text ability is kept: {kind['name']}",
                    "bits of a byte, tuned minus base (less is better)",
                    _signed(change),
                ]
            )
    cost = measured.cost
    answer = cost["differences"]["answer"]
    rows.append(
        [
            "A condition costs no tokens",
            "tokens of a prompt; milliseconds of an answer, with minus without",
            f"{cost['tokens']['with'] - cost['tokens']['without']} more tokens; {_timed(answer, '+')} ms of "
            f"{cost['steps']['answer without']['median']:.1f}",
        ]
    )
    return rows


def _senses(standard: Row) -> list[Part]:
    return [
        "The language model was taught with pictures and text; no other sense was ever shown to it. *Encoder "
        f"alone* is the nearest mean of {standard['class_means']}, about the best that the language model "
        "could do with its embedding.",
        _table(tables.senses_table(standard)),
    ]


def _controls(values: Row) -> list[Part]:
    shuffled = {row["name"]: row for row in values["standard"]["senses"]}
    rows = [
        [
            row["name"],
            row["right"]["n"],
            percent(_at_default(shuffled[row["name"]])),
            percent(shuffled[row["name"]]["shuffled"]),
            f"{100 * row['chance']:.1f}",
            percent(row["right"]),
            percent(row["said_nothing_given"]),
        ]
        for row in values["without_injection"]
    ]
    head = [
        "sense", "n", "right (all items)", "shuffled embeddings", "chance", "injection off: right",
        "injection off: says that nothing was given",
    ]  # fmt: skip
    return [
        "The same questions about another item's embedding (shuffled), and with nothing injected, which is "
        "the plain language model. Neither may know the answer.",
        Table(head, rows),
    ]


def _gap(values: Row, measured: Measured) -> list[Part]:
    rows = []
    for row in values["gaps"]:
        off, on = row["off"], row.get("on")
        cells: list[object] = [row["name"], off["n"]]
        for which in (off, on):
            cells.append(
                "–" if which is None else f"{which['gap']:.3f} ({which['low']:.3f}–{which['high']:.3f})"
            )
        for key in ("matched", "unmatched", "within_first", "separability"):
            cells.append(" → ".join(_number(which[key]) for which in (off, on) if which is not None))
        rows.append(cells)
    head = [
        "sense", "n", "gap, cache off", "gap, cache on", "distance, same thing", "distance, other things",
        "distance within the sense", "told apart by a linear rule",
    ]  # fmt: skip
    parts: list[Part] = [
        "Each item stands beside a test picture of the same label. The gap is the length of the difference "
        "of the two means (0 … 2), and chance makes it larger, never smaller, which its interval (basic "
        "bootstrap) takes back; distances are 1 − cosine (0 … 2), off → on. The rows of handwriting and "
        "photographs compare pictures with other pictures: with the cache off, that much comes of chance. A "
        "linear rule that cannot tell two senses apart is right half the time. What the cache does to "
        "accuracy is in the first table.",
        Table(head, rows),
    ]
    if measured.maps:
        shows = "Digits of six senses and handwriting on the two main axes of all; crosses are the means."
        parts.append(Figure("gap", draw_maps(measured.maps), shows))
    return parts


def _mixtures(values: Row) -> list[Part]:
    parts: list[Part] = [
        "Two different things in one vector, from all of the first to all of the second, cache off as is the "
        "default for mixtures. The questions ask for both things, or for what there is, at every weight. At "
        "0.5 the pairs and questions are those of the model card (of the first mixture, their first part).",
    ]
    curves = values["mixtures"]
    if not curves:
        return ["The data have no pairs to mix."]
    shows = "What is named at each weight; bands are 95 % intervals."
    parts.append(Figure("mixtures", draw_curves({row["name"]: row for row in curves}), shows))
    for row in curves:
        head = [
            "weight of the second",
            "n",
            f"{row['first']} alone",
            f"{row['second']} alone",
            "both",
            "else",
        ]
        cells = [
            [f"{point['weight']:g}", point["n"]]
            + [percent(point[name]) for name in ("first", "second", "both", "other")]
            for point in row["points"]
        ]
        where = "never" if row["crossing"] is None else f"at {row['crossing']:.2f}"
        parts += [
            f"**{row['name']}**. The second is named as often as the first: {where}.",
            Table(head, cells),
        ]
    parts += ["The standard mixtures, half and half:", _table(tables.mixtures_table(values["standard"]))]
    return parts


def _text(values: Row) -> list[Part]:
    parts: list[Part] = [
        values["base"]["says"],
        "Perplexity of a token and bits of a byte (less is better) of text that neither has seen. Dialogs "
        "are of nano's grammar, in phrasings that training never used; captions are English as people write "
        "it, which nano was never taught. The data hold no Chinese of people, so there is none here. "
        "*Seeing* has a picture in view that the text has nothing to do with. Intervals: "
        "bootstrap over texts.",
    ]
    head = ["text", "texts", "tokens", "measure", "base", "tuned", "tuned − base", "tuned, seeing a picture"]
    rows = []
    for kind in values["kinds"]:
        for metric, label in (("perplexity", "perplexity"), ("bits", "bits of a byte")):
            rows.append(
                [
                    kind["name"],
                    kind["tuned"]["texts"],
                    kind["tuned"]["tokens"],
                    label,
                    _estimate(kind["base"][metric]) if "base" in kind else "–",
                    _estimate(kind["tuned"][metric]),
                    _signed(kind["change"][metric]) if "change" in kind else "–",
                    _estimate(kind["seeing"][metric]),
                ]
            )
    return [*parts, Table(head, rows)]


def _cost(cost: Row) -> list[Part]:
    tokens = cost["tokens"]
    steps = cost["steps"]
    rounds = next(iter(steps.values()))["rounds"]
    rows = [[name, _timed(timing)] for name, timing in steps.items()]
    rows += [
        [f"{name}: with a condition − without, in the same round", _timed(timing, "+")]
        for name, timing in cost["differences"].items()
    ]
    return [
        f"A prompt has {tokens['without']} tokens without a medium and {tokens['with']} with one: what is "
        "seen is added to the tokens there are. Bind network and gates run once for a condition.",
        f"Milliseconds: median and quartiles of {rounds} rounds, each of which takes every step once. An "
        f"answer has {cost['new_tokens']} tokens, and an item of each modality is decoded already. This "
        "table differs from run to run and from machine to machine; on a busy one read the differences.",
        Table(["step", "ms (quartiles)"], rows),
    ]


def _table(text: str) -> Table:
    """A Markdown table (and nothing below it) as cells."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return Table(cells[0], cells[2:])


def _at_default(sense: Row) -> Row:
    found: Row = sense[f"cache_{sense['default']}"]
    return found


def _together(scores: Sequence[Row]) -> tuple[int, int]:
    return sum(score["correct"] for score in scores), sum(score["n"] for score in scores)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _estimate(found: Row) -> str:
    if found["low"] is None or found["high"] is None:
        return f"{found['value']:.3g}"
    return f"{found['value']:.3g} ({found['low']:.3g}–{found['high']:.3g})"


def _signed(change: Row) -> str:
    if change["low"] is None or change["high"] is None:
        return f"{change['difference']:+.3g}"
    return f"{change['difference']:+.3g} ({change['low']:+.3g}…{change['high']:+.3g})"


def _timed(timing: Row, sign: str = "") -> str:
    return f"{timing['median']:{sign}.2f} ({timing['low']:{sign}.2f}…{timing['high']:{sign}.2f})"
