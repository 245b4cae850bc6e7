"""The report: one HTML file with everything in it, so that it can be sent, kept and opened offline."""

import base64
import html
from collections.abc import Iterable, Sequence
from importlib.resources import files
from itertools import islice
from typing import Any

import numpy as np

from imagebind_llm.data.clean.charts import histogram, number, waterfall
from imagebind_llm.data.clean.judge import KEPT, REASONS, Verdicts
from imagebind_llm.data.clean.measured import Measured
from imagebind_llm.data.clean.results import duplicate_groups, summary
from imagebind_llm.data.clean.rules import PLACE, RULES, UNREADABLE
from imagebind_llm.data.clean.settings import CleanSettings, to_yaml

_GROUPS = 12
_GROUP_MEMBERS = 6
_LONGEST_CAPTION = 1000
"""Characters; a card has room for some 80, the rest is seen when the mouse rests on it."""
_COLUMNS = ("key", "caption", "error", "thumbnail")


def render(source: str, measured: Measured, verdicts: Verdicts, settings: CleanSettings) -> str:
    """The page as text.

    Args:
        source: what to call it.
    """
    chosen = {REASONS[place]: _examples(verdicts, place, settings.examples) for place in range(len(REASONS))}
    kept = _spread(np.flatnonzero(verdicts.reason == KEPT), settings.examples)
    groups = [
        (original, members[:_GROUP_MEMBERS], len(members))
        for original, members in islice(_largest(verdicts), _GROUPS)
    ]
    shown = [row for rows in chosen.values() for row in rows]
    wanted = [*kept, *shown, *(row for row in verdicts.original[shown] if row >= 0)]
    for original, members, _ in groups:
        wanted += [original, *members]
    facts = measured.take([int(row) for row in wanted], _COLUMNS)
    counts = verdicts.counts
    what = {UNREADABLE: "could not be opened", **{rule.name: rule.what for rule in RULES}}

    parts = [_head(source, verdicts)]
    steps = [(name, count, what[name]) for name, count in counts.items() if _is_on(name, settings)]
    parts.append("<h2>From in to out</h2>" + waterfall(len(verdicts.reason), steps))
    parts.append(_notes(verdicts))
    parts.append("<h2>Scores</h2>" + _histograms(verdicts))
    parts += [
        f'<h2 id="{name}">{_title(name)} <span class="count">−{counts[name]:,}</span></h2>'
        f'<p class="pale">{html.escape(what[name])}{_bounds(verdicts, name)}</p>'
        + _cards(verdicts, rows, facts, originals=True)
        for name, rows in chosen.items()
        if len(rows)
    ]
    if groups:
        parts.append(_group_section(verdicts, groups, facts))
    if len(kept):
        parts.append(f"<h2>Kept</h2><p class=pale>{len(kept)} of {verdicts.kept:,}, evenly spread</p>")
        parts.append(_cards(verdicts, kept, facts))
    parts.append(f"<details><summary>Settings</summary><pre>{html.escape(to_yaml(settings))}</pre></details>")
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<title>Cleaning of {html.escape(source)}</title><style>\n{style}</style></head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def text_summary(source: str, verdicts: Verdicts) -> str:
    """The waterfall for a terminal."""
    found = summary(verdicts)
    total = found["samples"]
    lines = [f"{source}: {total:,} samples"]
    for name, count in found["dropped"].items():
        lines.append(f"  {'-' + format(count, ','):>10}  {100 * count / max(1, total):5.1f} %  {name}")
    lines.append(f"  {found['kept']:>10,}  {100 * found['kept'] / max(1, total):5.1f} %  kept")
    if verdicts.retold:
        lines.append(_retold(verdicts))
    return "\n".join(lines)


def _head(source: str, verdicts: Verdicts) -> str:
    total, kept = len(verdicts.reason), verdicts.kept
    figures = (
        ("samples", f"{total:,}", ""),
        ("kept", f"{kept:,}", "kept"),
        ("dropped", f"{total - kept:,}", "dropped"),
        ("kept, share", f"{100 * kept / max(1, total):.1f} %", ""),
        ("groups of duplicates", f"{summary(verdicts)['duplicate_groups']:,}", ""),
    )
    boxes = "".join(f'<div class="{kind}"><b>{value}</b>{name}</div>' for name, value, kind in figures)
    return f'<h1>Cleaning of {html.escape(source)}</h1><div class="figures">{boxes}</div>'


def _notes(verdicts: Verdicts) -> str:
    notes = [_retold(verdicts)] if verdicts.retold else []
    if len(verdicts.reason) and not verdicts.kept:
        notes.append("Nothing is kept. The rule that drops most is the one to look at first.")
    if not len(verdicts.reason):
        notes.append("The source has no samples.")
    return "".join(f'<p class="note">{html.escape(note)}</p>' for note in notes)


def _retold(verdicts: Verdicts) -> str:
    return (
        f"{verdicts.retold:,} of the dropped duplicates bring other words than the sample that is kept; "
        "to keep several captions of one picture, set duplicate_text=same"
    )


def _histograms(verdicts: Verdicts) -> str:
    figures = []
    for place, rule in enumerate(RULES):
        values = verdicts.scores[:, place]
        known = ~np.isnan(values)
        if not known.any() or rule.name == "exact_duplicate":
            continue
        low, high = verdicts.bounds.get(rule.name, (None, None))
        here = verdicts.reason == place + 1
        earlier = (verdicts.reason != KEPT) & (verdicts.reason < place + 1)
        picture = histogram(values[known], here[known], earlier[known], low, high)
        figures.append(
            f"<figure>{picture}<figcaption><b>{_title(rule.name)}</b>{html.escape(rule.what)}</figcaption></figure>"
        )
    note = (
        '<p class="pale">All samples that have the score: <span class="key bad">dropped by this very rule'
        '</span>, <span class="key gone">by an earlier one</span>, <span class="key bar">neither</span>. '
        "Heights on a square-root scale; the outer bars hold what lies beyond. Duplicate scores exist only "
        "where an earlier sample was close enough to be compared.</p>"
    )
    return note + f'<div class="histograms">{"".join(figures)}</div>'


def _cards(
    verdicts: Verdicts, rows: Iterable[int], facts: dict[int, dict[str, Any]], originals: bool = False
) -> str:
    cards = []
    for row in map(int, rows):
        original = int(verdicts.original[row]) if originals else -1
        like = facts[original]["key"] if original >= 0 else None
        cards.append(_card(verdicts, row, facts[row], like=like))
    return f'<div class="cards">{"".join(cards)}</div>'


def _card(
    verdicts: Verdicts, row: int, facts: dict[str, Any], first: bool = False, like: str | None = None
) -> str:
    shown = [html.escape(facts["key"])]
    if like is not None:
        shown.append(f"like {html.escape(like)}")
    place = int(verdicts.reason[row]) - 1
    if place == PLACE["exact_duplicate"]:
        shown.append("exact duplicate")
    elif place >= 0 and not np.isnan(verdicts.scores[row, place]):
        shown.append(f"{_title(RULES[place].name)} {number(verdicts.scores[row, place])}")
    agreement = verdicts.scores[row, PLACE["agreement"]]
    if not np.isnan(agreement) and place != PLACE["agreement"]:
        shown.append(f"agreement {number(agreement)}")
    words = facts["error"] or facts["caption"] or ""
    if len(words) > _LONGEST_CAPTION:
        words = words[:_LONGEST_CAPTION] + "…"
    words = html.escape(words)
    picture = '<span class="pale">no picture</span>'
    if facts["thumbnail"]:
        data = base64.b64encode(facts["thumbnail"]).decode("ascii")
        picture = f'<img src="data:image/jpeg;base64,{data}" alt="">'
    return (
        f'<div class="card{" first" if first else ""}"><div class="image">{picture}</div>'
        f'<div class="words" title="{words}">{words}</div><div class="facts">{"<br>".join(shown)}</div></div>'
    )


def _group_section(
    verdicts: Verdicts, groups: Sequence[tuple[int, np.ndarray, int]], facts: dict[int, dict[str, Any]]
) -> str:
    lines = []
    for original, members, count in groups:
        cards = [_card(verdicts, original, facts[original], first=True)]
        cards += [_card(verdicts, int(row), facts[int(row)]) for row in members]
        more = f'<p class="pale">and {count - len(members):,} more</p>' if count > len(members) else ""
        lines.append(f'<div class="group">{"".join(cards)}{more}</div>')
    return (
        '<h2 id="groups">Groups of duplicates</h2><p class="pale">The largest; the framed sample is the '
        "first in the source and is kept. All are in <code>groups.jsonl</code>.</p>" + "".join(lines)
    )


def _bounds(verdicts: Verdicts, name: str) -> str:
    low, high = verdicts.bounds.get(name, (None, None))
    shown = [
        f"{word} {number(value)}"
        for word, value in (("minimum", low), ("maximum", high))
        if value is not None
    ]
    return f" ({', '.join(shown)})" if shown else ""


def _examples(verdicts: Verdicts, place: int, count: int) -> np.ndarray:
    """Dropped samples from the mildest to the worst score."""
    rows = np.flatnonzero(verdicts.reason == place)
    if place > 0 and len(rows):
        low, high = verdicts.bounds.get(REASONS[place], (None, None))
        scores = verdicts.scores[rows, place - 1]
        beyond = np.zeros(len(rows))
        if low is not None:
            beyond = np.maximum(beyond, low - scores)
        if high is not None:
            beyond = np.maximum(beyond, scores - high)
        rows = rows[np.argsort(beyond, kind="stable")]
    return _spread(rows, count)


def _spread(rows: np.ndarray, count: int) -> np.ndarray:
    """At most ``count`` of ``rows``, evenly spread, the first and the last among them."""
    if len(rows) <= count:
        return rows
    return rows[np.linspace(0, len(rows) - 1, count).round().astype(int)] if count else rows[:0]


def _largest(verdicts: Verdicts) -> list[tuple[int, np.ndarray]]:
    return sorted(duplicate_groups(verdicts), key=lambda group: (-len(group[1]), group[0]))


def _is_on(name: str, settings: CleanSettings) -> bool:
    return name == UNREADABLE or bool(getattr(settings.rules, name).enabled)


def _title(name: str) -> str:
    return name.replace("_", " ")
