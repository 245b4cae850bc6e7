"""Animals as solids: bird, frog, horse and deer, cat, dog."""

from __future__ import annotations

from making.render import Colour, Solid, ellipsoid, limb, slab


def bird(back: Colour = (0.28, 0.17, 0.09), breast: Colour = (0.75, 0.4, 0.15)) -> list[Solid]:
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


def frog(skin: Colour = (0.2, 0.42, 0.07)) -> list[Solid]:
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
            Solid(
                ellipsoid((-0.6, 0.41, z + side * 0.13), (0.055, 0.07, 0.06)), (0.01, 0.01, 0.01), 0.9, 0.0
            ),
            Solid(limb((0.75, -0.2, side * 0.5), (0.1, -0.25, side * 0.75), 0.24, 0.15), skin, 0.3, 0.5, 0.1),
            Solid(
                limb((0.1, -0.28, side * 0.75), (0.7, -0.5, side * 0.82), 0.13, 0.08), dark, 0.3, 0.4, 0.05
            ),
            Solid(
                limb((-0.3, -0.15, side * 0.42), (-0.35, -0.48, side * 0.55), 0.13, 0.08),
                skin,
                0.3,
                0.4,
                0.08,
            ),
            Solid(
                limb((-0.35, -0.5, side * 0.55), (-0.62, -0.54, side * 0.62), 0.07, 0.04),
                dark,
                0.3,
                0.4,
                0.05,
            ),
        ]
    return parts


def grazer(coat: Colour, mane: Colour, deer: bool = False) -> list[Solid]:
    """A horse, or a deer with antlers: side view, looking left, standing on y = -1.1."""
    neck_top = (-1.0, 0.75, 0) if not deer else (-0.88, 0.72, 0)
    thick = 1.0 if not deer else 0.78
    belly = coat if not deer else tuple(min(1.0, 1.25 * c + 0.05) for c in coat)
    parts = [
        Solid(ellipsoid((0.05, 0.0, 0), (0.85, 0.4 * thick, 0.36 * thick)), coat, 0.2, 0.15),
        Solid(ellipsoid((0.6, 0.06, 0), (0.42, 0.42 * thick, 0.36 * thick)), coat, 0.2, 0.12, 0.15),
        Solid(ellipsoid((-0.5, 0.04, 0), (0.4, 0.42 * thick, 0.34 * thick)), coat, 0.2, 0.12, 0.15),
        Solid(limb((-0.6, 0.12, 0), neck_top, 0.3 * thick, 0.16 * thick), coat, 0.2, 0.12, 0.15),
        Solid(
            limb(neck_top, (neck_top[0] - 0.42, neck_top[1] - 0.3, 0), 0.17 * thick, 0.09 * thick),
            coat, 0.2, 0.1, 0.06,
        ),
        Solid(ellipsoid((0.0, -0.22, 0), (0.6, 0.2 * thick, 0.28 * thick)), belly, 0.1, 0.1, 0.1),
    ]  # fmt: skip
    for x, bend in ((-0.52, -0.06), (0.66, 0.1)):
        for side, step in ((-0.2, 0.16), (0.2, -0.08)):
            knee = (x + step + bend, -0.58, side * thick)
            parts.append(
                Solid(limb((x, -0.1, side * thick), knee, 0.18 * thick, 0.08 * thick), coat, 0.15, 0.1, 0.1)
            )
            parts.append(
                Solid(
                    limb(knee, (x + step - bend, -1.06, side * thick), 0.075 * thick, 0.055),
                    mane if not deer else coat,
                    0.1,
                    0.1,
                    0.04,
                )
            )
    for side in (-0.08, 0.08):
        ear = (neck_top[0] + 0.08, neck_top[1] + 0.28, side * 1.6)
        parts.append(
            Solid(limb((neck_top[0] + 0.02, neck_top[1] + 0.1, side), ear, 0.06, 0.02), coat, 0.1, 0.1)
        )
    parts.append(
        Solid(
            ellipsoid((neck_top[0] - 0.12, neck_top[1] + 0.02, 0.13 * thick), (0.03, 0.03, 0.03)),
            (0.01, 0.01, 0.01),
            0.8,
        )
    )
    if deer:
        for side in (-1, 1):
            base, bend = (neck_top[0] + 0.03, neck_top[1] + 0.12), 0.3 * side
            a, b = (base[0], base[1], 0.06 * side), (base[0] + 0.16, base[1] + 0.42, bend)
            parts.append(Solid(limb(a, b, 0.04, 0.03), (0.4, 0.3, 0.2)))
            parts.append(Solid(limb(b, (b[0] - 0.16, b[1] + 0.24, bend * 1.2), 0.03, 0.015), (0.4, 0.3, 0.2)))
            parts.append(
                Solid(
                    limb(
                        (base[0] + 0.08, base[1] + 0.2, bend * 0.5),
                        (base[0] - 0.16, base[1] + 0.36, bend * 0.7),
                        0.03,
                        0.015,
                    ),
                    (0.4, 0.3, 0.2),
                )
            )
        parts.append(Solid(ellipsoid((1.0, 0.16, 0), (0.1, 0.14, 0.08)), (0.85, 0.82, 0.75), 0.05, 0.0, 0.05))
    else:
        parts.append(Solid(limb((1.0, 0.2, 0), (1.18, -0.5, 0), 0.09, 0.12), mane, 0.1, 0.4))
        parts.append(Solid(limb((-0.5, 0.45, 0), (-0.93, 0.9, 0), 0.1, 0.08), mane, 0.1, 0.5, 0.04))
    return parts


def cat(fur: Colour = (0.42, 0.26, 0.12), pale: Colour = (0.75, 0.66, 0.55)) -> list[Solid]:
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
            Solid(
                slab([(side * 0.56, 0.36), (side * 0.55, 0.76), (side * 0.28, 0.5)], 0.06, "z", 0.06, 0.03),
                (0.6, 0.38, 0.32),
                0.03,
            ),
            Solid(ellipsoid((side * 0.28, 0.08, 0.46), (0.15, 0.12, 0.1)), (0.6, 0.62, 0.15), 0.8, 0.0),
            Solid(ellipsoid((side * 0.28, 0.08, 0.55), (0.045, 0.1, 0.03)), (0.01, 0.01, 0.01), 0.9, 0.0),
        ]
    return parts


def dog(fur: Colour = (0.5, 0.32, 0.13), ear: Colour = (0.2, 0.11, 0.05)) -> list[Solid]:
    """A dog's head and chest, facing the viewer, with hanging ears."""
    parts = [
        Solid(ellipsoid((0, -1.15, -0.3), (0.68, 0.85, 0.55)), fur, 0.03, 0.3),
        Solid(ellipsoid((0, -1.1, 0.1), (0.34, 0.55, 0.3)), (0.85, 0.8, 0.72), 0.03, 0.2, 0.1),
        Solid(ellipsoid((0, 0.1, 0), (0.58, 0.6, 0.52)), fur, 0.03, 0.3, 0.1),
        Solid(limb((0, -0.12, 0.3), (0, -0.24, 0.75), 0.3, 0.22), (0.82, 0.76, 0.66), 0.05, 0.15, 0.12),
        Solid(ellipsoid((0, -0.1, 0.95), (0.13, 0.1, 0.08)), (0.015, 0.015, 0.015), 0.9, 0.0),
        Solid(ellipsoid((0, -0.46, 0.72), (0.1, 0.12, 0.1)), (0.7, 0.2, 0.22), 0.4, 0.0),
        Solid(
            slab([(-0.05, 0.05), (-0.05, 0.65), (0.05, 0.65), (0.05, 0.05)], 0.1, "z", 0.45, 0.03),
            (0.85, 0.8, 0.72),
            0.03,
            0.1,
            0.05,
        ),
    ]
    for side in (-1, 1):
        parts += [
            Solid(limb((side * 0.5, 0.42, 0.0), (side * 0.74, -0.3, 0.08), 0.16, 0.22), ear, 0.08, 0.3, 0.06),
            Solid(ellipsoid((side * 0.24, 0.18, 0.46), (0.09, 0.09, 0.07)), (0.02, 0.012, 0.01), 0.9, 0.0),
        ]
    return parts
