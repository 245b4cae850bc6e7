"""Clustered unit vectors, as image embeddings are, and queries off them, as other modalities' are."""

import numpy as np
import torch


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def clustered(rows, dim, seed=0, clusters=100, noise=0.8):
    """``[rows, dim]`` unit rows around ``clusters`` centres."""
    centres = unit(np.random.default_rng(99).standard_normal((clusters, dim)))
    rng = np.random.default_rng(seed)
    return unit(centres[rng.integers(clusters, size=rows)] + noise * unit(rng.standard_normal((rows, dim))))


def shifted(rows, dim, seed=1):
    """Queries from the same centres, moved by one common offset and noisier."""
    offset = unit(np.random.default_rng(98).standard_normal((1, dim)))
    return torch.from_numpy(unit(clustered(rows, dim, seed, noise=1.0) + 0.5 * offset))
