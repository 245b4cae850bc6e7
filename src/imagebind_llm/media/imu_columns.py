"""Which columns of a table are accelerometer, gyroscope and time, by the names above them, and their units.

A name is a sensor (``acc``, ``accelerometer``, ``linear_acceleration``, ``a``; ``gyro``,
``angular_velocity``, ``w``), an axis before or after it, perhaps a frame between (``w_RS_S_x``), a prefix
that all six share (``imu0_``), and a unit in brackets or behind (``[m s^-2]``, ``acc_x_g``). Where it is not
sure which column is meant, or in which unit, a table is refused.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from imagebind_llm.common.errors import MediaError
from imagebind_llm.media.arrays import tells_nothing
from imagebind_llm.media.units import UNIT_NAMES, unit_scale

CHANNELS = [kind + axis for kind in "ag" for axis in "xyz"]
_SENSORS = {
    "a": r"a|acc|accel|acceler|accelerations?|accelerometer|accelerometer (?:acc|acceleration)",
    "l": r"(?:lin|linear) (?:acc|accel|accelerations?)|linacc|linaccel|linearaccelerations?",
    "g": r"g|gyr|gyro|gyros|gyroscope|w|omega|(?:gyr|gyro|gyroscope|rotation) (?:rate|rotation|rotation rate)"
    r"|angular (?:velocity|rate|vel|speed)|angularvelocity|angularrate|ang vel|angvel|rotationrate",
}
"""Words of an accelerometer, of one whose gravity may have been taken off, and of a gyroscope."""
_OTHERS = re.compile(r"bias|biases|cov|covariance|std|var|noise|mean|min|max|user|free|body|mag\w*|gravity")
"""Words that make it another quantity than a reading: its bias, its spread, or one without gravity."""
_GLUED = re.compile(rf"({_SENSORS['a'].replace(' ', '')}|{_SENSORS['g'].replace(' ', '')})([xyz])")
_WORDS = re.compile(r"[A-Z]+(?![a-z])[0-9]*|[A-Z]?[a-zµ]+[0-9]*|[0-9]+[a-z]*")
_BRACKETS = re.compile(r"[(\[{]([^)\]}]*)[)\]}]")
_TIME_UNIT = (
    r"(?:[mun]?secs?|seconds?|s|ms|millis|milliseconds?|us|micros|microseconds?|ns|nanos|nanoseconds?)"
)
_TIME = re.compile(
    rf"(?:.* )?(?:t|time|times|timestamp|timestamps|ts|stamp|stamps|elapsed|epoch)"
    rf"(?: since \w+)?(?: {_TIME_UNIT})?"
    rf"|{_TIME_UNIT}"
)
_COUNTERS = re.compile(
    r"|(?:.* )?(?:index|idx|i|n|id|seq|sequence|count|counter|samples?|packet|frame|number|row|unnamed.*)"
)
_MOST_G = 160.0
"""m/s²; accelerometers of phones and headsets end at 16 g."""
_MOST_TURN = 70.0
"""rad/s; gyroscopes of that kind end at 4000 deg/s."""
_CLEAR_STEPS = {1.0: (0.0, 0.1), 1e-3: (1.0, 100.0), 1e-6: (125.0, 1e5), 1e-9: (125e3, 1e9)}
"""Steps between samples, more than and up to, that tell the unit of so many seconds: 10 Hz to 8 kHz, and
beyond where no other unit would fit. A step of 1 may be that of a counter."""


class _Column(NamedTuple):
    sensor: str
    axis: str
    prefix: str
    unit: str | None


def names_sensors(header: Sequence[str]) -> bool:
    """Whether a table's names speak of three axes of an accelerometer or gyroscope at least."""
    return sum(_column(cell) is not None for cell in header) >= 3


def is_time(cell: str) -> bool:
    """Whether a column's name is one of times."""
    return bool(_TIME.fullmatch(_flat(cell)))


def by_name(
    table: NDArray[np.float64], header: Sequence[str], name: str, plain: bool = True
) -> NDArray[np.float64]:
    """``[n, 6]``, or ``[n, 7]`` with seconds first, in m/s² and rad/s; ``table`` itself if no names say more.

    Args:
        table: the numbers.
        header: the names above them.
        name: how errors call it.
        plain: whether these are surely names, and no remark.

    Raises:
        MediaError: the names are not those of a sensor with six axes; a unit is unknown or unclear.
    """
    columns = [_column(cell) for cell in header]
    if not any(columns):
        telling = [cell for cell in header if not tells_nothing(cell) and not is_time(cell)]
        if plain and telling and len(header) == table.shape[1]:
            raise MediaError(
                name,
                f"columns called {', '.join(header)}",
                "names such as acc_x … gyro_z",
                "rename them, or leave the names out",
            )
        return table
    if len(header) != table.shape[1]:
        if not names_sensors(header):
            return table  # a remark
        raise MediaError(
            name,
            f"{len(header)} names above {table.shape[1]} columns",
            "one name for each",
            "mend the header, or fill empty cells",
        )
    places = _six(columns, header, name)
    chosen = table[:, places]
    for kind, part in (("a", slice(0, 3)), ("g", slice(3, 6))):
        units = {_unit_of(columns[place]) for place in places[part]} - {None}
        chosen[:, part] *= _scale(
            kind, units, chosen[:, part], [header[place] for place in places[part]], name
        )
    others = [place for place, column in enumerate(columns) if column is None]
    times = _times(table, header, others, name)
    return chosen if times is None else np.column_stack([times, chosen])


def _column(cell: str) -> _Column | None:
    """The sensor and axis of a column's name; None for any other."""
    unit = next(iter(_BRACKETS.findall(cell)), None)
    words = [word.lower() for word in _WORDS.findall(_BRACKETS.sub(" ", cell))]
    if words[:1] == ["b"] or any(map(_OTHERS.fullmatch, words)):  # EuRoC calls a bias b_w_RS_S_x
        return None
    place = next((number for number, word in enumerate(words) if _GLUED.fullmatch(word)), None)
    if place is not None:
        glued = _GLUED.fullmatch(words[place])
        assert glued, "it was found so"
        words[place : place + 1] = [glued[1], glued[2]]
    axes = [number for number, word in enumerate(words) if word in ("x", "y", "z")]
    if len(axes) != 1:
        return None
    axis, before, after = words[axes[0]], words[: axes[0]], words[axes[0] + 1 :]
    if not before:  # x_gyro
        before, after = after, []
    for length in (3, 2, 1):
        for start in range(len(before) - length + 1):
            word = " ".join(before[start : start + length])
            for sensor, pattern in _SENSORS.items():
                if re.fullmatch(pattern, word):
                    kind = "g" if sensor == "g" else "a"
                    if unit is None and after and unit_scale(kind, "".join(after)) is not None:
                        unit = "".join(after)
                    return _Column(sensor, axis, " ".join(before[:start]), unit or None)
    return None


def _six(columns: Sequence[_Column | None], header: Sequence[str], name: str) -> list[int]:
    """Where the six channels stand, in our order."""
    # beside a whole accelerometer, "linear acceleration" is the same with gravity taken off
    whole = {column.axis for column in columns if column and column.sensor == "a"} == set("xyz")
    found: dict[str, int] = {}
    prefixes, twice = set(), False
    for place, column in enumerate(columns):
        if column and not (whole and column.sensor == "l"):
            channel = column.sensor.replace("l", "a") + column.axis
            twice = twice or channel in found
            found[channel] = place
            prefixes.add(column.prefix)
    if sorted(found) != CHANNELS or twice or len(prefixes) > 1:
        raise MediaError(
            name,
            f"columns called {', '.join(header)}",
            "acc_x acc_y acc_z gyro_x gyro_y gyro_z of one sensor, each once, and time, "
            "or no names of sensors",
            "rename or drop columns",
        )
    return [found[channel] for channel in CHANNELS]


def _unit_of(column: _Column | None) -> str | None:
    return None if column is None else column.unit


def _scale(
    kind: str, units: set[str | None], values: NDArray[np.float64], names: Sequence[str], name: str
) -> float:
    """What the numbers of a sensor are multiplied by."""
    called = ", ".join(names)
    if units:
        scales = {unit_scale(kind, str(unit)) for unit in units}
        scale = scales.pop()
        if scales or scale is None:
            raise MediaError(
                name,
                f"the unit {' and '.join(sorted(map(repr, units)))} above {called}",
                UNIT_NAMES[kind],
                "convert them and name the unit",
            )
        return scale
    finite = values[np.isfinite(values).all(axis=1)]
    size = float(np.median(np.linalg.norm(finite, axis=1))) if len(finite) else 0.0
    if kind == "a" and (0.9 < size < 1.1 or size > _MOST_G):
        why = "as in g" if size < 2 else "as in mg or a sensor's own counts"
        raise MediaError(
            name,
            f"accelerations of about {size:.3g} without a unit, {why}",
            "m/s^2",
            f"write {names[0]} [g] or [m/s^2]",
        )
    if kind == "g" and len(finite) and float(np.abs(finite).max()) > _MOST_TURN:
        raise MediaError(
            name,
            f"turns of up to {np.abs(finite).max():.4g} without a unit, as in deg/s or a sensor's own counts",
            "rad/s",
            f"write {names[0]} [deg/s] or [rad/s]",
        )
    return 1.0


def _times(
    table: NDArray[np.float64], header: Sequence[str], others: Sequence[int], name: str
) -> NDArray[np.float64] | None:
    """Seconds since the first sample; None without a column of times."""
    flat = {place: _flat(header[place]) for place in others}
    places = [place for place in others if _TIME.fullmatch(flat[place])]
    if not places and len(others) == 1 and not _COUNTERS.fullmatch(flat[others[0]]):
        return table[:, others[0]]  # a seventh column is seconds, whatever it is called
    if not places and len(table) > 2:
        rising = [
            place for place in others if not _COUNTERS.fullmatch(flat[place]) and _rises(table[:, place])
        ]
        if rising:
            raise MediaError(
                name,
                f"a column {header[rising[0]]} that rises like time",
                "a column called time",
                "rename or drop it",
            )
    found = {place: _seconds(table[:, place], header[place], name) for place in places}
    lengths = [float(times[-1]) for times in found.values()]
    if lengths and max(lengths) - min(lengths) > 0.01 * max(lengths):
        raise MediaError(
            name,
            f"columns {' and '.join(header[place] for place in places)} that tell different times",
            "one column of times",
            "drop the others",
        )
    # of several that agree the finest, whose steps are not rounded
    return max(found.values(), key=lambda times: len(np.unique(times)), default=None)


def _rises(values: NDArray[np.float64]) -> bool:
    return bool((np.diff(values) > 0).all())


def _flat(cell: str) -> str:
    return " ".join(word.lower() for word in _WORDS.findall(_BRACKETS.sub(" ", cell)))


def _seconds(values: NDArray[np.float64], called: str, name: str) -> NDArray[np.float64]:
    since = values - values[0]
    unit = next(iter(_BRACKETS.findall(called)), "").strip()
    scale = unit_scale("t", unit) if unit else None
    if unit and scale is None:
        raise MediaError(name, f"the unit {unit!r} above {called}", UNIT_NAMES["t"], "convert it")
    if scale is None:
        words = _flat(called).split()
        stated = [found for word in words if word != "t" and (found := unit_scale("t", word)) is not None]
        scale = stated[0] if len(stated) == 1 else None
    if scale is None and len(values) > 1:
        step = float(np.median(np.diff(values)))
        scale = next((unit for unit, (low, high) in _CLEAR_STEPS.items() if low < step <= high), None)
        if scale is None and step > 0:
            raise MediaError(
                name,
                f"steps of {step:.6g} in the column {called}, which names no unit",
                UNIT_NAMES["t"],
                f"write {called} [s], or [ms], [us], [ns]",
            )
    return since * (scale or 1.0)
