"""Animals as solids: bird, horse, dog."""

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


def horse(coat: Colour, mane: Colour) -> list[Solid]:
    """A horse: side view, looking left, standing on y = -1.1."""
    neck_top = (-1.0, 0.75, 0)
    parts = [
        Solid(ellipsoid((0.05, 0.0, 0), (0.85, 0.4, 0.36)), coat, 0.2, 0.15),
        Solid(ellipsoid((0.6, 0.06, 0), (0.42, 0.42, 0.36)), coat, 0.2, 0.12, 0.15),
        Solid(ellipsoid((-0.5, 0.04, 0), (0.4, 0.42, 0.34)), coat, 0.2, 0.12, 0.15),
        Solid(limb((-0.6, 0.12, 0), neck_top, 0.3, 0.16), coat, 0.2, 0.12, 0.15),
        Solid(
            limb(neck_top, (neck_top[0] - 0.42, neck_top[1] - 0.3, 0), 0.17, 0.09),
            coat, 0.2, 0.1, 0.06,
        ),
        Solid(ellipsoid((0.0, -0.22, 0), (0.6, 0.2, 0.28)), coat, 0.1, 0.1, 0.1),
    ]  # fmt: skip
    for x, bend in ((-0.52, -0.06), (0.66, 0.1)):
        for side, step in ((-0.2, 0.16), (0.2, -0.08)):
            knee = (x + step + bend, -0.58, side)
            parts.append(Solid(limb((x, -0.1, side), knee, 0.18, 0.08), coat, 0.15, 0.1, 0.1))
            parts.append(
                Solid(
                    limb(knee, (x + step - bend, -1.06, side), 0.075, 0.055),
                    mane,
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
            ellipsoid((neck_top[0] - 0.12, neck_top[1] + 0.02, 0.13), (0.03, 0.03, 0.03)),
            (0.01, 0.01, 0.01),
            0.8,
        )
    )
    parts.append(Solid(limb((1.0, 0.2, 0), (1.18, -0.5, 0), 0.09, 0.12), mane, 0.1, 0.4))
    parts.append(Solid(limb((-0.5, 0.45, 0), (-0.93, 0.9, 0), 0.1, 0.08), mane, 0.1, 0.5, 0.04))
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
