"""A tiny world with the schema of the real one."""

import pytest
from support.nano_data import build

from nano_lab.world.senses import World


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    build(root, "train", 3)
    build(root, "test", 2)
    return root


@pytest.fixture(scope="session")
def tiny_world(tiny_root):
    return World(tiny_root, "train")


@pytest.fixture(scope="session")
def tiny_test_world(tiny_root):
    return World(tiny_root, "test")
