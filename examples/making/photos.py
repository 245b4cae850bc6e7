"""Things as solids, and where they stand: pictures that look like small photographs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from making.render import Scene, Solid, ellipsoid, limb, photograph, pose, slab, wheel

WHITE, DARK, GLASS, TYRE = (0.85, 0.86, 0.88), (0.05, 0.05, 0.06), (0.06, 0.09, 0.13), (0.025, 0.025, 0.03)


def airplane(body: tuple[float, float, float] = WHITE, stripe: tuple[float, float, float] = (0.1, 0.2, 0.6)) -> list[Solid]:
    """An airliner, nose to the left."""
    parts = [
        Solid(limb((-1.35, 0, 0), (1.0, 0.02, 0), 0.16, 0.16), body, 0.4, 0.02),
        Solid(ellipsoid((-1.35, -0.02, 0), (0.35, 0.15, 0.155)), body, 0.4, 0.02, 0.05),
        Solid(limb((1.0, 0.02, 0), (1.6, 0.1, 0), 0.15, 0.04), body, 0.4, 0.02, 0.05),
        Solid(slab([(-0.35, 0.1), (0.15, 1.75), (0.38, 1.75), (0.4, 0.1)], 0.025, "y", -0.06, 0.02), (0.62, 0.64, 0.68), 0.3),
        Solid(slab([(-0.35, -0.1), (0.15, -1.75), (0.38, -1.75), (0.4, -0.1)], 0.025, "y", -0.06, 0.02), (0.62, 0.64, 0.68), 0.3),
        Solid(slab([(1.15, 0.05), (1.5, 0.62), (1.72, 0.62), (1.6, 0.05)], 0.02, "y", 0.1, 0.015), (0.62, 0.64, 0.68), 0.3),
        Solid(slab([(1.15, -0.05), (1.5, -0.62), (1.72, -0.62), (1.6, -0.05)], 0.02, "y", 0.1, 0.015), (0.62, 0.64, 0.68), 0.3),
        Solid(slab([(0.95, 0.1), (1.45, 0.72), (1.72, 0.72), (1.6, 0.08)], 0.025, "z", 0.0, 0.015), stripe, 0.3),
        Solid(slab([(-1.5, 0.0), (-1.5, 0.05), (1.2, 0.06), (1.2, 0.01)], 0.163, "z", 0.0, 0.005), stripe, 0.3),
        Solid(slab([(-1.63, 0.05), (-1.55, 0.1), (-1.44, 0.1), (-1.44, 0.05)], 0.12, "z", 0.0, 0.01), DARK, 0.5),
    ]
    for side in (-0.62, 0.62):
        parts.append(Solid(limb((-0.22, -0.18, side), (0.1, -0.17, side), 0.1, 0.08), (0.5, 0.52, 0.56), 0.4))
    return parts


def ship(hull: tuple[float, float, float] = (0.5, 0.06, 0.05), upper: tuple[float, float, float] = WHITE, cargo: bool = True) -> list[Solid]:
    """A freighter or liner, bow to the left; the water line is at y = 0."""
    outline = [(-1.75, 0.42), (-1.45, -0.25), (1.45, -0.25), (1.6, 0.36), (0.9, 0.3), (-1.0, 0.3)]
    parts = [
        Solid(slab(outline, 0.32, "z", 0.0, 0.04), hull, 0.15),
        Solid(slab([(-1.7, 0.34), (-1.75, 0.42), (-1.0, 0.31), (0.9, 0.31), (1.6, 0.37), (1.6, 0.3), (0.9, 0.24), (-1.0, 0.24)], 0.325, "z", 0, 0.01), WHITE, 0.1),
    ]
    if cargo:
        parts += [Solid(slab([(0.85, 0.25), (0.85, 0.95), (1.35, 0.95), (1.4, 0.25)], 0.27, "z", 0, 0.02), upper, 0.2),
                  Solid(slab([(0.84, 0.76), (0.84, 0.86), (1.36, 0.86), (1.36, 0.76)], 0.275, "z", 0, 0.005), GLASS, 0.4),
                  Solid(limb((1.18, 0.9, 0), (1.2, 1.2, 0), 0.1, 0.09), (0.75, 0.5, 0.1), 0.1)]
        colours = [(0.6, 0.25, 0.08), (0.1, 0.25, 0.45), (0.2, 0.4, 0.2), (0.6, 0.55, 0.4), (0.45, 0.1, 0.1)]
        for i in range(6):
            top = 0.48 + 0.13 * ((i * 7) % 3)
            x = -0.95 + i * 0.3
            parts.append(Solid(slab([(x, 0.25), (x, top), (x + 0.26, top), (x + 0.26, 0.25)], 0.26, "z", 0, 0.01), colours[i % 5], 0.1))
        parts.append(Solid(limb((-1.3, 0.3, 0), (-1.3, 0.95, 0), 0.03, 0.02), (0.6, 0.6, 0.6)))
    else:
        for i, (a, b) in enumerate([(-1.05, 1.3), (-0.85, 1.15), (-0.6, 0.95)]):
            low = 0.28 + i * 0.2
            parts += [Solid(slab([(a, low), (a + 0.05, low + 0.19), (b, low + 0.19), (b, low)], 0.28 - 0.03 * i, "z", 0, 0.01), upper, 0.2),
                      Solid(slab([(a + 0.04, low + 0.08), (a + 0.06, low + 0.13), (b - 0.05, low + 0.13), (b - 0.05, low + 0.08)], 0.285 - 0.03 * i, "z", 0, 0.003), (0.15, 0.2, 0.28), 0.3)]
        for x in (0.0, 0.55):
            parts.append(Solid(limb((x, 0.8, 0), (x + 0.08, 1.18, 0), 0.12, 0.11), (0.6, 0.12, 0.06), 0.1))
        parts.append(Solid(limb((-0.75, 0.8, 0), (-0.72, 1.35, 0), 0.02, 0.015), (0.7, 0.7, 0.7)))
    return parts


def car(paint: tuple[float, float, float] = (0.6, 0.03, 0.03)) -> list[Solid]:
    """A saloon car, front to the left, standing on y = -0.5."""
    lower = [(-1.45, -0.32), (-1.48, -0.1), (-1.3, 0.05), (-0.7, 0.12), (1.3, 0.12), (1.48, 0.02), (1.46, -0.32)]
    cabin = [(-0.75, 0.08), (-0.32, 0.46), (0.55, 0.48), (1.05, 0.08)]
    parts = [
        Solid(slab(lower, 0.6, "z", 0, 0.08), paint, 0.6, 0.02),
        Solid(slab(cabin, 0.56, "z", 0, 0.06, taper=0.3), paint, 0.6, 0.02, 0.04),
        Solid(slab([(-0.58, 0.12), (-0.27, 0.41), (0.08, 0.42), (0.08, 0.12)], 0.575, "z", 0, 0.02, taper=0.3), GLASS, 0.8, 0.0),
        Solid(slab([(0.15, 0.12), (0.15, 0.42), (0.5, 0.42), (0.82, 0.12)], 0.575, "z", 0, 0.02, taper=0.3), GLASS, 0.8, 0.0),
        Solid(slab([(-0.72, 0.13), (-0.38, 0.43), (-0.32, 0.43), (-0.6, 0.13)], 0.46, "z", 0, 0.01, taper=0.2), GLASS, 0.8, 0.0),
        Solid(slab([(-1.5, -0.3), (-1.51, -0.2), (-1.4, -0.18), (-1.4, -0.3)], 0.55, "z", 0, 0.02), DARK, 0.2),
    ]
    for side in (-0.42, 0.42):
        parts.append(Solid(ellipsoid((-1.42, -0.03, side), (0.1, 0.07, 0.13)), (0.9, 0.9, 0.85), 0.9))
        parts.append(Solid(ellipsoid((1.46, 0.0, side), (0.06, 0.06, 0.12)), (0.5, 0.02, 0.02), 0.6))
    for x in (-0.9, 0.92):
        for side in (-0.53, 0.53):
            parts.append(Solid(wheel((x, -0.24, side), 0.26, 0.1), TYRE, 0.1))
            parts.append(Solid(wheel((x, -0.24, side), 0.15, 0.115), (0.5, 0.5, 0.53), 0.6))
    return parts


def truck(cab: tuple[float, float, float] = (0.65, 0.06, 0.05), box: tuple[float, float, float] = (0.82, 0.82, 0.8)) -> list[Solid]:
    """A lorry with a box, front to the left, standing on y = -0.7."""
    parts = [
        Solid(slab([(-1.5, -0.45), (-1.52, 0.0), (-1.4, 0.42), (-0.85, 0.45), (-0.85, -0.45)], 0.5, "z", 0, 0.06), cab, 0.5, 0.02),
        Solid(slab([(-0.72, -0.3), (-0.72, 0.8), (1.5, 0.8), (1.5, -0.3)], 0.55, "z", 0, 0.02), box, 0.1, 0.03),
        Solid(slab([(-1.4, -0.48), (-1.4, -0.34), (1.45, -0.34), (1.45, -0.48)], 0.42, "z", 0, 0.02), DARK, 0.1),
        Solid(slab([(-1.38, 0.05), (-1.3, 0.34), (-0.98, 0.34), (-0.98, 0.05)], 0.515, "z", 0, 0.02), GLASS, 0.7),
        Solid(slab([(-1.54, 0.05), (-1.46, 0.36), (-1.4, 0.36), (-1.46, 0.05)], 0.43, "z", 0, 0.01), GLASS, 0.7),
        Solid(slab([(-1.56, -0.5), (-1.56, -0.36), (-1.45, -0.36), (-1.45, -0.5)], 0.5, "z", 0, 0.02), (0.3, 0.3, 0.32), 0.4),
        Solid(slab([(-1.545, -0.28), (-1.545, -0.08), (-1.48, -0.08), (-1.48, -0.28)], 0.3, "z", 0, 0.01), (0.12, 0.12, 0.13), 0.4),
    ]
    for side in (-0.4, 0.4):
        parts.append(Solid(ellipsoid((-1.52, -0.25, side), (0.05, 0.07, 0.07)), (0.95, 0.95, 0.85), 0.9))
    for x in (-1.15, 0.55, 1.08):
        for side in (-0.45, 0.45):
            parts.append(Solid(wheel((x, -0.47, side), 0.24, 0.12), TYRE, 0.1))
            parts.append(Solid(wheel((x, -0.47, side), 0.12, 0.13), (0.45, 0.45, 0.48), 0.4))
    return parts


def bird(back: tuple[float, float, float] = (0.28, 0.17, 0.09), breast: tuple[float, float, float] = (0.75, 0.4, 0.15)) -> list[Solid]:
    """A songbird on its feet, looking left."""
    return [
        Solid(ellipsoid((0.1, 0.0, 0), (0.62, 0.42, 0.4), 18), back, 0.05, 0.25),
        Solid(ellipsoid((-0.14, -0.06, 0), (0.42, 0.38, 0.36), 25), breast, 0.05, 0.2, 0.1),
        Solid(ellipsoid((-0.45, 0.5, 0), (0.29, 0.27, 0.26)), back, 0.05, 0.2, 0.18),
        Solid(limb((-0.7, 0.48, 0), (-0.98, 0.43, 0), 0.07, 0.015), (0.2, 0.16, 0.1), 0.3),
        Solid(limb((0.6, 0.05, 0), (1.35, -0.12, 0), 0.14, 0.06), (0.2, 0.12, 0.07), 0.05, 0.2, 0.1),
        Solid(ellipsoid((0.28, 0.06, 0.33), (0.52, 0.22, 0.12), -8), (0.18, 0.1, 0.06), 0.05, 0.3),
        Solid(ellipsoid((-0.55, 0.56, 0.22), (0.05, 0.05, 0.04)), (0.01, 0.01, 0.01), 0.9),
        Solid(limb((-0.05, -0.3, 0.1), (-0.1, -0.75, 0.12), 0.04, 0.025), (0.35, 0.22, 0.15)),
        Solid(limb((0.1, -0.3, -0.1), (0.08, -0.75, -0.1), 0.04, 0.025), (0.35, 0.22, 0.15)),
        Solid(limb((-1.8, -0.84, 0.1), (1.8, -0.76, -0.1), 0.09, 0.08), (0.22, 0.16, 0.11), 0.02, 0.4),
    ]


def frog(skin: tuple[float, float, float] = (0.2, 0.42, 0.07)) -> list[Solid]:
    """A frog that sits, looking left and a little at the viewer; it sits on y = -0.55."""
    dark = tuple(0.7 * c for c in skin)
    parts = [
        Solid(ellipsoid((0.15, -0.1, 0), (0.85, 0.4, 0.55), 16), skin, 0.35, 0.5),
        Solid(ellipsoid((-0.6, 0.12, 0), (0.48, 0.28, 0.46), 4), skin, 0.35, 0.4, 0.2),
        Solid(ellipsoid((-0.45, -0.16, 0), (0.5, 0.24, 0.4)), (0.68, 0.66, 0.4), 0.2, 0.2, 0.1),
    ]
    for side in (-1, 1):
        z = side * 0.28
        parts += [
            Solid(ellipsoid((-0.5, 0.36, z), (0.17, 0.17, 0.15)), skin, 0.4, 0.2, 0.08),
            Solid(ellipsoid((-0.56, 0.4, z + side * 0.08), (0.11, 0.11, 0.1)), (0.75, 0.55, 0.1), 0.9, 0.0),
            Solid(ellipsoid((-0.6, 0.41, z + side * 0.13), (0.055, 0.07, 0.06)), (0.01, 0.01, 0.01), 0.9, 0.0),
            Solid(limb((0.75, -0.2, side * 0.5), (0.1, -0.25, side * 0.75), 0.24, 0.15), skin, 0.3, 0.5, 0.1),
            Solid(limb((0.1, -0.28, side * 0.75), (0.7, -0.5, side * 0.82), 0.13, 0.08), dark, 0.3, 0.4, 0.05),
            Solid(limb((-0.3, -0.15, side * 0.42), (-0.35, -0.48, side * 0.55), 0.13, 0.08), skin, 0.3, 0.4, 0.08),
            Solid(limb((-0.35, -0.5, side * 0.55), (-0.62, -0.54, side * 0.62), 0.07, 0.04), dark, 0.3, 0.4, 0.05),
        ]
    return parts


def grazer(coat: tuple[float, float, float], mane: tuple[float, float, float], deer: bool = False) -> list[Solid]:
    """A horse, or a deer with antlers: side view, looking left, standing on y = -1.1."""
    neck_top = (-1.0, 0.75, 0) if not deer else (-0.88, 0.72, 0)
    thick = 1.0 if not deer else 0.78
    belly = coat if not deer else tuple(min(1.0, 1.25 * c + 0.05) for c in coat)
    parts = [
        Solid(ellipsoid((0.05, 0.0, 0), (0.85, 0.4 * thick, 0.36 * thick)), coat, 0.2, 0.15),
        Solid(ellipsoid((0.6, 0.06, 0), (0.42, 0.42 * thick, 0.36 * thick)), coat, 0.2, 0.12, 0.15),
        Solid(ellipsoid((-0.5, 0.04, 0), (0.4, 0.42 * thick, 0.34 * thick)), coat, 0.2, 0.12, 0.15),
        Solid(limb((-0.6, 0.12, 0), neck_top, 0.3 * thick, 0.16 * thick), coat, 0.2, 0.12, 0.15),
        Solid(limb(neck_top, (neck_top[0] - 0.42, neck_top[1] - 0.3, 0), 0.17 * thick, 0.09 * thick), coat, 0.2, 0.1, 0.06),
        Solid(ellipsoid((0.0, -0.22, 0), (0.6, 0.2 * thick, 0.28 * thick)), belly, 0.1, 0.1, 0.1),
    ]  # fmt: skip
    for x, bend in ((-0.52, -0.06), (0.66, 0.1)):
        for side, step in ((-0.2, 0.16), (0.2, -0.08)):
            knee = (x + step + bend, -0.58, side * thick)
            parts.append(Solid(limb((x, -0.1, side * thick), knee, 0.18 * thick, 0.08 * thick), coat, 0.15, 0.1, 0.1))
            parts.append(Solid(limb(knee, (x + step - bend, -1.06, side * thick), 0.075 * thick, 0.055), mane if not deer else coat, 0.1, 0.1, 0.04))
    for side in (-0.08, 0.08):
        ear = (neck_top[0] + 0.08, neck_top[1] + 0.28, side * 1.6)
        parts.append(Solid(limb((neck_top[0] + 0.02, neck_top[1] + 0.1, side), ear, 0.06, 0.02), coat, 0.1, 0.1))
    parts.append(Solid(ellipsoid((neck_top[0] - 0.12, neck_top[1] + 0.02, 0.13 * thick), (0.03, 0.03, 0.03)), (0.01, 0.01, 0.01), 0.8))
    if deer:
        for side in (-1, 1):
            base, bend = (neck_top[0] + 0.03, neck_top[1] + 0.12), 0.3 * side
            a, b = (base[0], base[1], 0.06 * side), (base[0] + 0.16, base[1] + 0.42, bend)
            parts.append(Solid(limb(a, b, 0.04, 0.03), (0.4, 0.3, 0.2)))
            parts.append(Solid(limb(b, (b[0] - 0.16, b[1] + 0.24, bend * 1.2), 0.03, 0.015), (0.4, 0.3, 0.2)))
            parts.append(Solid(limb((base[0] + 0.08, base[1] + 0.2, bend * 0.5), (base[0] - 0.16, base[1] + 0.36, bend * 0.7), 0.03, 0.015), (0.4, 0.3, 0.2)))
        parts.append(Solid(ellipsoid((1.0, 0.16, 0), (0.1, 0.14, 0.08)), (0.85, 0.82, 0.75), 0.05, 0.0, 0.05))
    else:
        parts.append(Solid(limb((1.0, 0.2, 0), (1.18, -0.5, 0), 0.09, 0.12), mane, 0.1, 0.4))
        parts.append(Solid(limb((-0.5, 0.45, 0), (-0.93, 0.9, 0), 0.1, 0.08), mane, 0.1, 0.5, 0.04))
    return parts


def cat(fur: tuple[float, float, float] = (0.42, 0.26, 0.12), pale: tuple[float, float, float] = (0.75, 0.66, 0.55)) -> list[Solid]:
    """A cat's head and chest, facing the viewer."""
    parts = [
        Solid(ellipsoid((0, -1.05, -0.3), (0.75, 0.8, 0.6)), fur, 0.03, 0.5),
        Solid(ellipsoid((0, -1.0, 0.12), (0.4, 0.6, 0.35)), pale, 0.03, 0.2, 0.1),
        Solid(ellipsoid((0, 0.0, 0), (0.72, 0.6, 0.56)), fur, 0.03, 0.5, 0.1),
        Solid(ellipsoid((-0.16, -0.24, 0.47), (0.2, 0.16, 0.14)), pale, 0.03, 0.1, 0.1),
        Solid(ellipsoid((0.16, -0.24, 0.47), (0.2, 0.16, 0.14)), pale, 0.03, 0.1, 0.1),
        Solid(ellipsoid((0, -0.42, 0.36), (0.17, 0.12, 0.12)), pale, 0.03, 0.1, 0.1),
        Solid(ellipsoid((0, -0.12, 0.6), (0.07, 0.05, 0.05)), (0.55, 0.25, 0.22), 0.3, 0.0),
    ]
    for side in (-1, 1):
        ear = [(side * 0.64, 0.22), (side * 0.6, 0.92), (side * 0.16, 0.5)]
        parts += [
            Solid(slab(ear, 0.1, "z", -0.05, 0.06), fur, 0.03, 0.3, 0.08),
            Solid(slab([(side * 0.56, 0.36), (side * 0.55, 0.76), (side * 0.28, 0.5)], 0.06, "z", 0.06, 0.03), (0.6, 0.38, 0.32), 0.03),
            Solid(ellipsoid((side * 0.28, 0.08, 0.46), (0.15, 0.12, 0.1)), (0.6, 0.62, 0.15), 0.8, 0.0),
            Solid(ellipsoid((side * 0.28, 0.08, 0.55), (0.045, 0.1, 0.03)), (0.01, 0.01, 0.01), 0.9, 0.0),
        ]
    return parts


def dog(fur: tuple[float, float, float] = (0.5, 0.32, 0.13), ear: tuple[float, float, float] = (0.2, 0.11, 0.05)) -> list[Solid]:
    """A dog's head and chest, facing the viewer, with hanging ears."""
    parts = [
        Solid(ellipsoid((0, -1.15, -0.3), (0.68, 0.85, 0.55)), fur, 0.03, 0.3),
        Solid(ellipsoid((0, -1.1, 0.1), (0.34, 0.55, 0.3)), (0.85, 0.8, 0.72), 0.03, 0.2, 0.1),
        Solid(ellipsoid((0, 0.1, 0), (0.58, 0.6, 0.52)), fur, 0.03, 0.3, 0.1),
        Solid(limb((0, -0.12, 0.3), (0, -0.24, 0.75), 0.3, 0.22), (0.82, 0.76, 0.66), 0.05, 0.15, 0.12),
        Solid(ellipsoid((0, -0.1, 0.95), (0.13, 0.1, 0.08)), (0.015, 0.015, 0.015), 0.9, 0.0),
        Solid(ellipsoid((0, -0.46, 0.72), (0.1, 0.12, 0.1)), (0.7, 0.2, 0.22), 0.4, 0.0),
        Solid(slab([(-0.05, 0.05), (-0.05, 0.65), (0.05, 0.65), (0.05, 0.05)], 0.1, "z", 0.45, 0.03), (0.85, 0.8, 0.72), 0.03, 0.1, 0.05),
    ]
    for side in (-1, 1):
        parts += [
            Solid(limb((side * 0.5, 0.42, 0.0), (side * 0.74, -0.3, 0.08), 0.16, 0.22), ear, 0.08, 0.3, 0.06),
            Solid(ellipsoid((side * 0.24, 0.18, 0.46), (0.09, 0.09, 0.07)), (0.02, 0.012, 0.01), 0.9, 0.0),
        ]
    return parts


def lift(solids: list[Solid], height: float) -> list[Solid]:
    """The same, higher up."""
    shift = np.array([0.0, height, 0.0])
    return [Solid(lambda p, d=part.distance: d(p - shift), part.colour, part.shine, part.mottle, part.blend) for part in solids]  # fmt: skip


_GRASS, _ROAD, _SEA, _EARTH, _SAND = (0.16, 0.27, 0.06), (0.26, 0.26, 0.27), (0.03, 0.13, 0.2), (0.3, 0.22, 0.13), (0.55, 0.47, 0.34)
_GREEN_BLUR = {"ground": (0.2, 0.3, 0.1), "sky_high": (0.2, 0.32, 0.12), "sky_low": (0.3, 0.4, 0.18), "clouds": 0.5}

SCENES: dict[str, Callable[[], Scene]] = {
    "airplane_1": lambda: Scene(pose(airplane(), -24, 6), None, clouds=0.35, eye=(0, -0.5, 5.4), view=34, sky_low=(0.6, 0.75, 0.95)),
    "airplane_2": lambda: Scene(pose(airplane(stripe=(0.6, 0.08, 0.06)), 12), _ROAD, -0.42, 0.1, eye=(0, 0.5, 5.4), view=34, clouds=0.15),
    "airplane_3": lambda: Scene(pose(airplane((0.55, 0.58, 0.62)), 30, 14), None, clouds=0.0, eye=(0, -1.6, 5.2), view=34, sky_high=(0.16, 0.36, 0.75)),
    "ship_1": lambda: Scene(ship(), _SEA, 0.0, water=True, eye=(-0.6, 0.9, 5.6), look=(0, 0.35, 0), view=37, clouds=0.2),
    "ship_2": lambda: Scene(pose(ship((0.05, 0.08, 0.2), cargo=False), -18), _SEA, 0.0, water=True, eye=(0, 0.7, 5.4), look=(0, 0.4, 0), view=38, clouds=0.4),
    "ship_3": lambda: Scene(pose(ship((0.9, 0.9, 0.92), cargo=False), 14), (0.05, 0.2, 0.3), 0.0, water=True, eye=(0, 1.1, 5.4), look=(0, 0.4, 0), view=36, clouds=0.1),
    "automobile_1": lambda: Scene(pose(car(), 32), _ROAD, -0.5, 0.12, eye=(0, 0.75, 5.0), look=(0, -0.1, 0), view=34, clouds=0.4),
    "automobile_2": lambda: Scene(pose(car((0.05, 0.12, 0.4)), -28), _ROAD, -0.5, 0.12, eye=(0, 0.6, 5.0), look=(0, -0.1, 0), view=34, sky_high=(0.55, 0.6, 0.65), sky_low=(0.8, 0.8, 0.8)),
    "automobile_3": lambda: Scene(pose(car((0.75, 0.75, 0.77)), 6), (0.3, 0.3, 0.31), -0.5, 0.1, eye=(0, 0.4, 5.0), look=(0, -0.05, 0), view=34, **{k: v for k, v in _GREEN_BLUR.items() if k != "ground"}),
    "truck_1": lambda: Scene(pose(truck(), 30), _ROAD, -0.71, 0.12, eye=(0, 0.5, 5.4), look=(0, 0.05, 0), view=36, clouds=0.3),
    "truck_2": lambda: Scene(pose(truck((0.85, 0.85, 0.86), (0.8, 0.8, 0.8)), 38), _ROAD, -0.71, 0.12, eye=(0, 0.3, 5.4), look=(0, 0.05, 0), view=35, clouds=0.5),
    "truck_3": lambda: Scene(pose(truck((0.1, 0.2, 0.5), (0.55, 0.56, 0.58)), 10), (0.34, 0.31, 0.26), -0.71, 0.2, eye=(0, 0.4, 5.4), look=(0, 0.05, 0), view=36, clouds=0.1),
    "bird_1": lambda: Scene(bird(), None, eye=(0, 0.1, 4.6), look=(0.05, -0.05, 0), view=34, **{k: v for k, v in _GREEN_BLUR.items() if k != "ground"}),
    "bird_2": lambda: Scene(bird((0.3, 0.32, 0.36), (0.6, 0.6, 0.6)), None, clouds=0.2, eye=(0, 0.0, 4.6), look=(0.05, -0.05, 0), view=34),
    "bird_3": lambda: Scene(lift(bird((0.25, 0.16, 0.1), (0.6, 0.5, 0.4))[:-1], 0.0), _SAND, -0.78, 0.2, eye=(0, 0.4, 4.6), look=(0.05, -0.05, 0), view=34, clouds=0.0),
    "frog_1": lambda: Scene(pose(frog(), 28), (0.22, 0.16, 0.1), -0.56, 0.6, eye=(0, 0.9, 4.0), look=(0, -0.12, 0), view=32, **{k: v for k, v in _GREEN_BLUR.items() if k != "ground"}),
    "frog_2": lambda: Scene(pose(frog((0.3, 0.2, 0.09)), 15), _SAND, -0.56, 0.5, eye=(0, 1.5, 3.8), look=(0, -0.15, 0), view=32),
    "frog_3": lambda: Scene(pose(frog((0.12, 0.45, 0.05)), -35), (0.06, 0.2, 0.04), -0.56, 0.6, eye=(0, 0.7, 4.0), look=(0, -0.12, 0), view=32, **{k: v for k, v in _GREEN_BLUR.items() if k != "ground"}),
    "horse_1": lambda: Scene(pose(grazer((0.3, 0.13, 0.05), (0.04, 0.03, 0.03)), 12), _GRASS, -1.1, 0.4, eye=(0, 0.3, 5.6), look=(-0.1, -0.1, 0), view=33, clouds=0.3),
    "horse_2": lambda: Scene(pose(grazer((0.6, 0.58, 0.55), (0.75, 0.73, 0.7)), -15), _GRASS, -1.1, 0.4, eye=(0, 0.6, 5.6), look=(-0.1, -0.1, 0), view=33, **{k: v for k, v in _GREEN_BLUR.items() if k != "ground"}),
    "deer_1": lambda: Scene(pose(grazer((0.36, 0.22, 0.1), (0.2, 0.12, 0.06), True), 10), _GRASS, -1.1, 0.5, eye=(0, 0.5, 5.6), look=(-0.1, 0.0, 0), view=36, **{k: v for k, v in _GREEN_BLUR.items() if k != "ground"}),
    "deer_2": lambda: Scene(pose(grazer((0.42, 0.3, 0.16), (0.2, 0.12, 0.06), True), -20), (0.4, 0.34, 0.14), -1.1, 0.5, eye=(0, 0.7, 5.6), look=(-0.1, 0.0, 0), view=36, **{k: v for k, v in _GREEN_BLUR.items() if k != "ground"}),
    "cat_1": lambda: Scene(cat(), None, sky_high=(0.5, 0.42, 0.34), sky_low=(0.42, 0.34, 0.28), clouds=0.2, eye=(0.3, 0.2, 4.4), look=(0, -0.15, 0), view=27),
    "cat_2": lambda: Scene(cat((0.14, 0.13, 0.13), (0.6, 0.58, 0.56)), None, sky_high=(0.62, 0.6, 0.55), sky_low=(0.7, 0.66, 0.6), clouds=0.1, eye=(-0.4, 0.1, 4.4), look=(0, -0.15, 0), view=27),
    "dog_1": lambda: Scene(dog(), None, eye=(0.3, 0.2, 4.6), look=(0, -0.12, 0), view=27, **{k: v for k, v in _GREEN_BLUR.items() if k != "ground"}),
    "dog_2": lambda: Scene(dog((0.75, 0.7, 0.62), (0.45, 0.3, 0.15)), None, sky_high=(0.4, 0.3, 0.24), sky_low=(0.5, 0.4, 0.32), clouds=0.2, eye=(-0.5, 0.3, 4.6), look=(0, -0.12, 0), view=27),
}  # fmt: skip
"""Every picture that can be taken: the thing's name and a number."""


def take(name: str, seed: int, size: int = 256) -> Image.Image:
    """One of the pictures."""
    return photograph(SCENES[name](), np.random.default_rng([seed, *name.encode()]), size)
