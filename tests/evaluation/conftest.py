"""Results of an oracle and of others, computed once."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def oracle_results():
    from eval_worlds import Oracle, whole_results

    return whole_results(Oracle(cache=True))


@pytest.fixture(scope="session")
def guesser_results():
    from eval_worlds import Guesser, tiny_results

    return tiny_results(Guesser())
