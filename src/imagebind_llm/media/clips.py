"""Where the clips of a recording lie."""

from fractions import Fraction


def clip_spans(
    duration: Fraction | float, clip_seconds: float, clips: int
) -> list[tuple[Fraction, Fraction]]:
    """Start and end (seconds) of ``clips`` clips spread evenly, the last one ending at the end.

    A recording shorter than a clip gives identical clips from 0. Fractions are exact, so no clip boundary
    moves by a frame through rounding; a float ``duration`` is reduced by ``clip_seconds`` in float
    arithmetic first, because that is what the numbers ImageBind was evaluated with did.
    """
    length = Fraction(clip_seconds)
    last_start = Fraction(
        max(duration - length if isinstance(duration, Fraction) else duration - clip_seconds, 0)
    )
    step = last_start / max(clips - 1, 1)
    return [(step * number, step * number + length) for number in range(clips)]
