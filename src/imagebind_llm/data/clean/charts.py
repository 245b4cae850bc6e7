"""Histograms and the waterfall as SVG and HTML text, without a library: the page must work offline."""

import html
from collections.abc import Sequence

import numpy as np

_WIDTH, _HEIGHT = 460, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 8, 8, 18, 20
_BINS = 40


def histogram(values: np.ndarray, dropped: np.ndarray, low: float | None, high: float | None) -> str:
    """An SVG histogram of finite ``values [n]``; those marked in ``dropped [n]`` (bool) are drawn apart, and
    ``low`` and ``high`` as lines. Bars are drawn on a square-root scale, so that rare scores can be seen."""
    edges = _edges(values, low, high)
    clipped = np.clip(values, edges[0], edges[-1])
    bad = np.histogram(clipped[dropped], edges)[0]
    all_ = np.histogram(clipped, edges)[0]
    top = float(np.sqrt(max(1, int(all_.max()))))
    span_x, span_y = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    base = _HEIGHT - _BOTTOM

    def x(value: float) -> float:
        return _LEFT + span_x * (value - edges[0]) / (edges[-1] - edges[0])

    bars = []
    for count, fallen, left, right in zip(all_, bad, edges[:-1], edges[1:], strict=True):
        if not count:
            continue
        tall = span_y * float(np.sqrt(count)) / top
        part = tall * fallen / count
        place = f'x="{x(left) + 0.5:.1f}" width="{max(1.0, x(right) - x(left) - 1):.1f}"'
        title = f"<title>{number(left)} – {number(right)}: {count} samples, {fallen} dropped here</title>"
        bars.append(
            f'<g>{title}<rect class="bar" {place} y="{base - tall:.1f}" height="{tall:.1f}"/>'
            f'<rect class="bad" {place} y="{base - part:.1f}" height="{part:.1f}"/></g>'
        )
    lines = []
    for value, name in ((low, "min"), (high, "max")):
        if value is not None and edges[0] <= value <= edges[-1]:
            at = x(value)
            anchor = "start" if at < _WIDTH / 2 else "end"
            lines.append(
                f'<line class="limit" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP - 4}" y2="{base}"/>'
                f'<text class="limit-text" x="{at:.1f}" y="{_TOP - 7}" text-anchor="{anchor}">'
                f"{name} {number(value)}</text>"
            )
    ticks = "".join(
        f'<text x="{x(value):.1f}" y="{_HEIGHT - 5}" text-anchor="{anchor}">{number(value)}</text>'
        for value, anchor in (
            (edges[0], "start"),
            ((edges[0] + edges[-1]) / 2, "middle"),
            (edges[-1], "end"),
        )
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


def _edges(values: np.ndarray, low: float | None, high: float | None) -> np.ndarray:
    """Bins over the middle 99.8 % of the values and the limits; what lies outside goes to the outer bins."""
    known = [*np.quantile(values, (0.001, 0.999)), *(v for v in (low, high) if v is not None)]
    first, last = float(min(known)), float(max(known))
    if last - first < 1e-9:
        first, last = first - 0.5, last + 0.5
    margin = 0.02 * (last - first)
    return np.linspace(first - margin, last + margin, _BINS + 1)
