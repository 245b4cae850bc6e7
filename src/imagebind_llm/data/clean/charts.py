"""Histograms and the waterfall as SVG and HTML text, without a library: the page must work offline."""

import html
from collections.abc import Sequence

import numpy as np

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
