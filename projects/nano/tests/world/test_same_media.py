"""The test media of the standard evaluation do not change, so that two editions can be compared.

Their means and spreads are kept, not hashes: sums of floating-point numbers differ a little between machines.
"""

import numpy as np
import pytest

from nano_lab.evaluation.out_of_distribution import out_of_distribution_sets
from nano_lab.evaluation.sets import other_sets

MEDIA = {
    "spoken digits": (10, 0.1478, 0.6389),
    "animal sounds": (2, 0.277, 0.2957),
    "audio: no meaning": (2, -0.8551, 0.3773),
    "3D shapes": (2, 0.0, 0.3502),
    "3D digits": (20, 0.0, 0.3744),
    "point: no meaning": (2, 0.0, 0.3636),
    "depth digits": (20, 0.5731, 1.1437),
    "depth: no meaning": (2, 0.3378, 0.4363),
    "thermal digits": (20, -0.2543, 1.1824),
    "thermal: no meaning": (2, 0.011, 0.3502),
    "IMU digits": (20, -0.0487, 0.5968),
    "imu: no meaning": (2, -0.5093, 2.8106),
    "video digits": (5, 0.7718, 0.8646),
    "video photographs": (5, 0.3119, 0.8018),
    "video: no meaning": (1, 0.193, 0.5252),
    "image: noise": (3, 0.1885, 0.1627),
    "image: blank page": (3, 1.4709, 0.1485),
    "image: black": (3, -1.5921, 0.1483),
    "audio: white noise": (3, 0.097, 0.3103),
    "audio: silence": (3, -0.7559, 0.7987),
    "point: cloud": (3, 0.0, 0.255),
    "depth: wall": (3, 0.2312, 1.0763),
    "depth: noise": (3, 0.2928, 0.322),
    "thermal: even": (3, -0.0318, 0.2105),
    "thermal: noise": (3, 0.0038, 0.3674),
    "imu: at rest": (3, -0.0002, 0.0367),
    "imu: shaking": (3, 0.0111, 2.2481),
    "video: noise": (3, 0.1928, 0.5559),
    "video: empty": (3, 1.1836, 0.8349),
    "image: no meaning": (30, -0.1072, 1.199),
    "audio: other animals": (1, 0.4204, 0.1682),
}
"""Set → how many items, and the mean and standard deviation of their tensors, in the tests' tiny world."""


def test_the_media_are_those_of_the_first_edition(tiny_test_world) -> None:
    found = {}
    for raw in [
        *other_sets(tiny_test_world, 0, None, 20, 10),
        *out_of_distribution_sets(tiny_test_world, 0, 3),
    ]:
        values = np.concatenate([tensor.double().flatten().numpy() for tensor in raw.tensors])
        found[raw.name] = (len(raw.tensors), float(values.mean()), float(values.std()))
    assert set(found) == set(MEDIA)
    for name, moments in found.items():
        assert moments == pytest.approx(MEDIA[name], abs=2e-3), name
