"""A suite from its files to its metrics, without a model."""

from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from imagebind_llm.evaluation.suite import check_items


def picture(path: Path) -> Path:
    """A tiny picture, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (2, 2), (200, 30, 30)).save(path)
    return path


def score(suite, items, answers):
    """Metrics of given answers, as plain numbers. The sums also go in as arrays, as the bootstrap's do."""
    samples = suite.judge(items, answers)
    assert len(samples) == len(items)
    sums = defaultdict(float)
    for sample in samples:
        for name, value in sample.sums.items():
            sums[name] += value
    found = {name: float(value) for name, value in suite.metrics(_arrays(sums, ())).items()}
    assert suite.main in found
    for name, values in suite.metrics(_arrays(sums, (3, 2))).items():
        assert np.shape(values) == (3, 2)
        np.testing.assert_allclose(values, np.full((3, 2), found[name]))
    return found, samples


def read(suite, data):
    """The items, which must be usable."""
    items = list(suite.items(data))
    check_items(items, suite.name)
    for item in items:
        media = [value for key, value in item.request.items() if key not in ("question", "max_new_tokens")]
        assert media
        assert all(Path(path).is_file() for path in media)
    return items


def evaluate(suite, data, answer):
    """Items, metrics and samples; ``answer``: a text for all, or a function of an item."""
    items = read(suite, data)
    answers = [answer(item) if callable(answer) else answer for item in items]
    return items, *score(suite, items, answers)


def _arrays(sums, shape):
    return {name: np.full(shape, value) for name, value in sums.items()}
