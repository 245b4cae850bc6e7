"""Farthest-point sampling and neighbours, against the plain way."""

import pytest
import torch

from imagebind_llm.encoders.imagebind.points import farthest_points, nearest_points, take_points


@pytest.fixture
def clouds() -> torch.Tensor:
    return torch.randn(3, 200, 3, generator=torch.Generator().manual_seed(9))


def plain_farthest(cloud: torch.Tensor, count: int, start: int) -> list[int]:
    chosen = [start]
    while len(chosen) < count:
        nearest = [min(float(((point - cloud[other]) ** 2).sum()) for other in chosen) for point in cloud]
        chosen.append(max(range(len(cloud)), key=lambda i: (nearest[i], -i)))
    return chosen


def test_farthest_points_equal_the_plain_loop(clouds):
    found = farthest_points(clouds, 12)
    assert found.tolist() == [plain_farthest(cloud, 12, 0) for cloud in clouds]


def test_farthest_points_are_deterministic_and_independent_of_the_batch(clouds):
    together = farthest_points(clouds, 40)
    assert torch.equal(together, farthest_points(clouds, 40))
    assert torch.equal(together, torch.cat([farthest_points(cloud[None], 40) for cloud in clouds]))
    assert torch.equal(together[:, 0], torch.zeros(3, dtype=torch.int64))
    assert all(len(set(row)) == 40 for row in together.tolist())


def test_random_start_follows_its_generator(clouds):
    def draw(seed: int) -> torch.Tensor:
        return farthest_points(clouds, 5, start=torch.Generator().manual_seed(seed))

    assert torch.equal(draw(1), draw(1))
    starts = {tuple(draw(seed)[:, 0].tolist()) for seed in range(5)}
    assert len(starts) > 1
    first = draw(1)
    assert first[1].tolist() == plain_farthest(clouds[1], 5, int(first[1, 0]))


def test_all_points_can_be_chosen_and_duplicates_do_no_harm():
    line = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [3, 0, 0]]])
    assert farthest_points(line, 3).tolist() == [[0, 2, 1]]
    same = torch.ones(1, 8, 3)
    assert farthest_points(same, 4).tolist() == [[0, 0, 0, 0]]


def test_nearest_points_equal_a_full_sort(clouds):
    centres = clouds[:, :6]
    found = nearest_points(clouds, centres, 10)
    exact = ((centres[:, :, None] - clouds[:, None]) ** 2).sum(-1).argsort(dim=-1)[..., :10]
    assert torch.equal(found.sort(dim=-1).values, exact.sort(dim=-1).values)
    assert all(i in found[b, i].tolist() for b in range(3) for i in range(6))  # a centre is its own neighbour


def test_neighbours_do_not_depend_on_autocast(clouds):
    plain = nearest_points(clouds, clouds[:, :6], 10).sort().values
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(nearest_points(clouds, clouds[:, :6], 10).sort().values, plain)


def test_take_points(clouds):
    index = torch.randint(200, (3, 4, 5), generator=torch.Generator().manual_seed(2))
    taken = take_points(clouds, index)
    assert taken.shape == (3, 4, 5, 3)
    assert torch.equal(taken[2, 1, 3], clouds[2, index[2, 1, 3]])
