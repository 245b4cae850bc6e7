"""A tiny mini and its world, made once."""

import pytest
from mini_worlds import write_world


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("mini"))
