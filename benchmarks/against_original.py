"""New tokens a second against the authors' way to decode, with the same weights.

    python benchmarks/against_original.py                  a minute or two on a CPU
    python benchmarks/against_original.py --smoke          seconds

The original (:mod:`original`) answers one prompt at a time, in float32, because that is all it can do.
Ours answers one, and 32 at once, in the precision that ``dtype="auto"`` chooses on this machine. The
model is built as the published one: style ``value`` in every layer, low-rank updates and biases; ours
folds what can be folded, as loading does. Bind network and prompt are part of every call. Before
anything is timed, both must choose the same tokens in float32.
"""

import argparse
import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from measuring import facts, interleaved, load_after, print_table, spread, verdict
from original import OriginalDecoder
from random_models import SIZES, published_model
from torch import Tensor
from torch.nn import functional

from imagebind_llm.inference.loading import choose_dtype
from imagebind_llm.model.adaptation import merge_lora
from imagebind_llm.model.precision import cast_weights

EMBEDDING_DIM = 1024
TARGETS = {1: 1.5, 32: 10.0}


def ours(model: Any, prompts: Tensor, conditions: Tensor, new_tokens: int) -> Tensor:
    """New tokens ``[B, new_tokens]``, greedy."""
    found: Tensor = model.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        conditions=conditions,
        max_new_tokens=new_tokens,
        min_new_tokens=new_tokens,
        do_sample=False,
        pad_token_id=0,
        eos_token_id=None,
    )
    return found[:, prompts.shape[1] :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", default="small", choices=list(SIZES))
    parser.add_argument("--batches", type=int, nargs="+", default=list(TARGETS))
    parser.add_argument("--prompt", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=32, help="new tokens of a call")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=60.0, help="end after this time, though with fewer")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--smoke", action="store_true", help="a few tokens of the smallest size")
    options = parser.parse_args()
    if options.smoke:
        options.size, options.batches, options.tokens, options.rounds = "nano", [1, 4], 4, 2
    torch.set_num_threads(options.threads)
    model: Any = published_model(options.size, EMBEDDING_DIM)
    original = OriginalDecoder(model)
    merge_lora(model)
    most = max(options.batches)
    random = torch.Generator().manual_seed(1)
    prompts = torch.randint(3, SIZES[options.size]["vocab_size"], (most, options.prompt), generator=random)
    conditions = functional.normalize(torch.randn(most, EMBEDDING_DIM, generator=random), dim=-1)
    alike = [
        original.generate(prompts[row : row + 1], conditions[row : row + 1], options.tokens)
        for row in range(min(most, 4))
    ]
    if ours(model, prompts[: len(alike)], conditions[: len(alike)], options.tokens).tolist() != alike:
        raise SystemExit("the original and ours choose different tokens; nothing was timed")
    width = SIZES[options.size]["hidden_size"]
    dtype = choose_dtype("auto", torch.device("cpu"), width)
    automatic = copy.deepcopy(model)
    cast_weights(automatic.language_model, dtype)

    def call(batch: int) -> Callable[[], object]:
        return lambda: ours(automatic, prompts[:batch], conditions[:batch], options.tokens)

    ways: dict[str, Callable[[], object]] = {
        "original": lambda: original.generate(prompts[:1], conditions[:1], options.tokens)
    }
    ways |= {f"ours, {batch}": call(batch) for batch in options.batches}
    times = interleaved(ways, options.rounds, seconds=options.seconds, fewest=2)
    print(
        facts(
            f"{options.size}: width {width}; prompt {options.prompt}, {options.tokens} new tokens a call; "
            f"the same {len(alike)} x {options.tokens} greedy tokens; "
            f"ours in {str(dtype).removeprefix('torch.')} (auto)"
        )
    )
    base = times["original"]
    rows = [["original", "1", spread(options.tokens / base.wall, 1), "1", "1", "–"]]
    for batch in options.batches:
        found = times[f"ours, {batch}"]
        ratio, cpu = batch * base.wall / found.wall, batch * base.cpu / found.cpu
        goal = TARGETS.get(batch)
        judged = "–" if goal is None else verdict(float(np.median(ratio)), goal, at_most=False)
        rate = spread(batch * options.tokens / found.wall, 1)
        rows.append(["ours", str(batch), rate, spread(ratio), spread(cpu), judged])
    print_table(("way", "batch", "tokens/s", "ratio, paired", "CPU-time ratio, paired", "target"), rows)
    print(load_after())


if __name__ == "__main__":
    main()
