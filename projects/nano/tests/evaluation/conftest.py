"""Results of an oracle and of others, computed once."""

import pytest


@pytest.fixture(scope="session")
def oracle_results():
    from eval_worlds import Oracle, whole_results

    return whole_results(Oracle(cache=True))


@pytest.fixture(scope="session")
def guesser_results():
    from eval_worlds import Guesser, tiny_results

    return tiny_results(Guesser())
