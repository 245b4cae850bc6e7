"""The report: one HTML file with everything in it, so that it can be sent, kept and opened offline."""

import base64
import html
from collections.abc import Iterable, Sequence
from importlib.resources import files
from itertools import islice
from typing import Any

import numpy as np

from imagebind_llm.data.clean.judge import KEPT, REASONS, Verdicts
from imagebind_llm.data.clean.measure import Measured
from imagebind_llm.data.clean.results import duplicate_groups, summary
from imagebind_llm.data.clean.rules import PLACE, RULES, UNREADABLE
from imagebind_llm.data.clean.settings import CleanSettings, to_yaml

_WIDTH, _HEIGHT = 460, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 8, 8, 18, 20
_BINS = 40
_WIDEST = 28.0
"""Of a bar, where there are few."""
_LABEL = 64
"""Width of a limit's words, in the units of the drawing."""


def histogram(
    values: np.ndarray, dropped: np.ndarray, earlier: np.ndarray, low: float | None, high: float | None
) -> str:
    """An SVG histogram of finite ``values [n]``; those marked in ``dropped [n]`` (by this rule) and ``earlier
    [n]`` (by one before it), both bool, are drawn apart, and ``low`` and ``high`` as lines. Bars are drawn on
    a square-root scale, so that rare scores can be seen; the outer bars hold what lies beyond them."""
    limits = [limit for limit in (low, high) if limit is not None]
    whole = bool((values == np.round(values)).all()) and all(float(v).is_integer() for v in limits)
    half = 0.5 if whole else 0.0  # a whole number is in the middle of its bar, and a limit beside it
    low_line = None if low is None else low - half
    high_line = None if high is None else high + half
    edges = _edges(values, low_line, high_line, whole)
    clipped = np.clip(values, edges[0], edges[-1])
    bad, gone, all_ = (np.histogram(clipped[rows], edges)[0] for rows in (dropped, earlier, slice(None)))
    top = float(np.sqrt(max(1, int(all_.max()))))
    span_x, span_y = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    base = _HEIGHT - _BOTTOM

    def x(value: float) -> float:
        return _LEFT + span_x * (value - edges[0]) / (edges[-1] - edges[0])

    bars = []
    for count, fallen, before, left, right in zip(all_, bad, gone, edges[:-1], edges[1:], strict=True):
        if not count:
            continue
        tall = span_y * float(np.sqrt(count)) / top
        wide = min(_WIDEST, max(1.0, x(right) - x(left) - 1))
        place = f'x="{(x(left) + x(right) - wide) / 2:.1f}" width="{wide:.1f}"'
        title = f"{number(left + half)} – {number(right - half)}: {count} samples, {fallen} dropped here"
        parts, at = "", float(base)
        for kind, share in (("bad", fallen), ("gone", before), ("bar", count - fallen - before)):
            if share:
                at -= tall * share / count
                parts += f'<rect class="{kind}" {place} y="{at:.1f}" height="{tall * share / count:.1f}"/>'
        bars.append(f"<g><title>{title}</title>{parts}</g>")
    lines = []
    taken = float(-_LABEL)
    for value, at_value, name in ((low, low_line, "min"), (high, high_line, "max")):
        if value is not None and at_value is not None:
            at = x(at_value)
            anchor = "start" if at < _WIDTH / 2 else "end"
            lower = 12 if at - taken < _LABEL else 0  # beside the other limit's words, not over them
            taken = at
            lines.append(
                f'<line class="limit" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP - 4}" y2="{base}"/>'
                f'<text class="limit-text" x="{at + (4 if lower else 0):.1f}" y="{_TOP - 7 + lower}" '
                f'text-anchor="{anchor}">{name} {number(value)}</text>'
            )
    ticks = "".join(
        f'<text x="{x(value):.1f}" y="{_HEIGHT - 5}" text-anchor="{_anchor(x(value))}">{number(value)}</text>'
        for value in _ticks(edges[0], edges[-1], whole)
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="histogram">'
        f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{base}" y2="{base}"/>'
        f"{''.join(bars)}{''.join(lines)}{ticks}</svg>"
    )


def waterfall(total: int, steps: Sequence[tuple[str, int, str]]) -> str:
    """How many samples go in, what each rule takes, and how many come out.

    Args:
        steps: name, dropped and description of each rule, in order.
    """
    rows = [_row("in", total, 0, total, total, "samples of the source", "all")]
    left = total
    for name, count, what in steps:
        left -= count
        rows.append(_row(name, left, count, total, -count, what, "step"))
    rows.append(_row("kept", left, 0, total, left, "samples that come out", "all"))
    return f'<table class="waterfall">{"".join(rows)}</table>'


def number(value: float) -> str:
    """Up to four digits, whole numbers as such."""
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e6 else f"{value:.4g}"


def _row(name: str, stays: int, falls: int, total: int, shown: int, what: str, kind: str) -> str:
    share = 100 / max(1, total)
    label, what = html.escape(name), html.escape(what)
    if kind == "step" and falls:
        label = f'<a href="#{label}">{label}</a>'
    text = f"{shown:,}" if kind == "all" else f"−{falls:,}" if falls else "0"
    wide = max(0.3, falls * share) if falls else 0
    return (
        f'<tr class="{kind}{"" if kind == "all" or falls else " none"}"><th title="{what}">{label}</th>'
        f'<td class="count">{text}</td><td class="share">{100 * abs(shown) / max(1, total):.1f} %</td>'
        f'<td class="track"><span class="stays" style="width:{stays * share:.3f}%"></span>'
        f'<span class="falls" style="width:{wide:.3f}%"></span></td></tr>'
    )


def _edges(values: np.ndarray, low: float | None, high: float | None, whole: bool) -> np.ndarray:
    """Borders of the bars: around the middle 99.8 % of the values and the limits. A limit is a border, so
    that no bar stands on both its sides (of two limits of whole numbers only the lower one is sure to be)."""
    known = [*np.quantile(values, (0.001, 0.999)), *(v for v in (low, high) if v is not None)]
    first, last = float(min(known)), float(max(known))
    if last - first < 1e-9:
        first, last = first - 0.5, last + 0.5
    width = (last - first) / _BINS
    if whole:
        width = float(max(1, np.ceil(width)))
    elif low is not None and high is not None and high > low:
        width = (high - low) / max(1, round((high - low) / width))
    anchor = next((limit for limit in (low, high) if limit is not None), first - 0.5 if whole else first)
    below = int(np.ceil((anchor - first) / width - 1e-6))
    above = max(1 - below, int(np.ceil((last - anchor) / width - 1e-6)))
    return anchor + width * np.arange(-below, above + 1)


def _ticks(first: float, last: float, whole: bool) -> list[float]:
    """Three to seven round numbers from ``first`` to ``last``."""
    rough = (last - first) / 4
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= 0.75 * rough)
    if whole:
        step = max(1.0, step)
    numbers = np.arange(np.ceil(first / step - 1e-6), np.floor(last / step + 1e-6) + 1)
    return [round(float(n * step), 10) + 0.0 for n in numbers]


def _anchor(at: float) -> str:
    """Words near the border of the drawing stay inside."""
    return "start" if at < _LEFT + 12 else "end" if at > _WIDTH - _RIGHT - 12 else "middle"


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
