"""What conditions of several vectors cost, against the language model without and with one vector.

    python benchmarks/condition_tokens.py                         five minutes on a CPU
    python benchmarks/condition_tokens.py --sizes nano mid --counts 1 4 8 16 64
    python benchmarks/condition_tokens.py --sizes nano --counts 1 2 4 --groups 4 16
    python benchmarks/condition_tokens.py --sizes nano mid large --device cuda --dtype bfloat16
    python benchmarks/condition_tokens.py --smoke                 seconds

All models have injection style ``value``, and language models of the same weights. ``step`` is one forward
pass for one token a row over a filled key-value cache, ``prompt`` the pass that fills it, ``condition`` bind
network and projections once for all conditions, ``training`` a forward and a backward pass of the bind
network and the injection over rows of four dialogs each. Every row sees a condition of its own. The plain way
is the same model without any condition (of ``condition``: with one vector).

What several vectors do to the answers is measured by nano's ablations, group ``tokens``.
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from decode import EMBEDDING_DIM, Stepper
from measuring import facts, interleaved, load_after, print_table, spread
from random_models import SIZES, whole_model
from torch import Tensor
from torch.nn import functional

from imagebind_llm import ImageBindConfig
from imagebind_llm.common.modality import Modality
from imagebind_llm.encoders.imagebind import ImageBindModel
from imagebind_llm.encoders.tokens import with_groups

_DIALOGS = 4
"""In a row of training."""


def models(size: str, options: argparse.Namespace) -> dict[str, Any]:
    """A model for each number of vectors and of groups, by name; their language models have the same
    weights."""
    kinds = {("1 vector" if count == 1 else f"{count} vectors"): (count, 0) for count in options.counts}
    kinds |= {f"1 vector, {groups} groups": (1, groups) for groups in options.groups}
    found: dict[str, Any] = {}
    for name, (count, groups) in kinds.items():
        model: Any = whole_model(size, EMBEDDING_DIM, style="value", tokens=count, encoder_tokens=groups)
        if found:
            first = next(iter(found.values()))
            model.language_model.load_state_dict(first.language_model.state_dict())
        found[name] = model.to(options.device, getattr(torch, options.dtype))
    return found


def unit(count: int, groups: int, options: argparse.Namespace) -> Tensor:
    """Random conditions ``[count, D]``, or ``[count, 1 + groups, D]``."""
    shape = (count, 1 + groups, EMBEDDING_DIM) if groups else (count, EMBEDDING_DIM)
    rows = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    return functional.normalize(rows, dim=-1).to(options.device, getattr(torch, options.dtype))


def training_step(model: Any, ids: Tensor, given: Tensor | None, wait: Callable[[], None]) -> Any:
    """A forward and a backward pass; without conditions it goes back to the token embeddings."""
    batch, length = ids.shape
    part = torch.arange(length, device=ids.device) * _DIALOGS // length
    seen = part + _DIALOGS * torch.arange(batch, device=ids.device)[:, None]
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model.bind.requires_grad_(True)
    model.injection.requires_grad_(True)

    def run() -> None:
        embeds = model.get_input_embeddings()(ids)
        more: dict[str, Any] = {}
        if given is None:
            embeds.requires_grad_(True)
        else:
            more = {"conditions": given, "condition_ids": seen}
        model(inputs_embeds=embeds, labels=ids, use_cache=False, **more).loss.backward()
        model.zero_grad(set_to_none=True)
        wait()

    return run


def measure(size: str, batch: int, found: dict[str, Any], options: argparse.Namespace) -> list[list[str]]:
    device = torch.device(options.device)
    wait: Callable[[], None] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    first = next(iter(found.values()))
    ids = torch.randint(3, SIZES[size]["vocab_size"], (batch, options.prompt), device=device)
    seen = torch.arange(batch, device=device)
    steps: dict[str, Any] = {"plain": Stepper(first, ids, wait)}
    prompts: dict[str, Callable[[], None]] = {}
    bound: dict[str, Callable[[], None]] = {}
    training = {"plain": training_step(first, ids, None, wait)}

    def inferring(work: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            with torch.inference_mode():
                work()
                wait()

        return run

    prompts["plain"] = inferring(lambda: first(ids, logits_to_keep=1))
    for name, model in found.items():
        groups = model.bind.encoder_tokens
        conditions, many = unit(batch, groups, options), unit(batch * _DIALOGS, groups, options)
        with torch.inference_mode():
            deltas = model.condition_deltas(conditions)
        steps[name] = Stepper(model, ids, wait, deltas=deltas, condition_ids=seen)
        rows = seen[:, None].expand(-1, options.prompt)
        prompts[name] = inferring(
            lambda model=model, deltas=deltas, rows=rows: model(
                ids, deltas=deltas, condition_ids=rows, logits_to_keep=1
            )
        )
        bound[name] = inferring(lambda model=model, conditions=conditions: model.condition_deltas(conditions))
        training[name] = training_step(model, ids, many, wait)
    table = []
    for what, ways in (("step", steps), ("prompt", prompts), ("condition", bound), ("training", training)):
        times = interleaved(ways, options.rounds, options.warmup, options.seconds)
        base = 1000 * next(iter(times.values())).wall
        for name in found:
            own = 1000 * times[name].wall
            table.append(
                [size, name, str(batch), what, spread(base, 3), spread(own, 3),
                 spread(own / base, 3), f"{np.median(own) / np.median(base):.3f}"]
            )  # fmt: skip
    return table


def encoding(batch: int, options: argparse.Namespace) -> list[list[str]]:
    """What the encoder needs for its tokens, of random pictures."""
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    torch.manual_seed(0)
    encoder = ImageBindModel(ImageBindConfig.nano()).eval().to(device, dtype)
    pictures = torch.randn(batch, 3, *encoder.config.vision.size, device=device, dtype=dtype)
    wait: Callable[[], None] = torch.cuda.synchronize if device.type == "cuda" else lambda: None

    def way(groups: int) -> Callable[[], None]:
        def run() -> None:
            with torch.inference_mode():
                if groups:
                    with_groups(encoder, Modality.IMAGE, pictures, groups)
                else:
                    encoder.encode(Modality.IMAGE, pictures)
                wait()

        return run

    ways = {0: way(0), **{groups: way(groups) for groups in options.groups}}
    times = interleaved(
        {str(groups): one for groups, one in ways.items()}, options.rounds, options.warmup, options.seconds
    )
    base = 1000 * times["0"].wall
    return [
        ["nano's encoder", f"{groups} groups", str(batch), "encoding", spread(base, 3), spread(own, 3),
         spread(own / base, 3), f"{np.median(own) / np.median(base):.3f}"]
        for groups in options.groups
        for own in [1000 * times[str(groups)].wall]
    ]  # fmt: skip


def memory(size: str, found: dict[str, Any], options: argparse.Namespace) -> list[list[str]]:
    """What a condition that is in use holds, and what is trained."""
    table = []
    sizes = {}
    for name, model in found.items():
        with torch.inference_mode():
            held = model.condition_deltas(unit(1, model.bind.encoder_tokens, options)).tensor
        trained = sum(p.numel() for part in (model.bind, model.injection) for p in part.parameters())
        sizes[name] = (held.numel() * held.element_size() / 1024, trained / 1e6)
    kib, millions = next(iter(sizes.values()))
    for name, (own, numbers) in sizes.items():
        table.append(
            [size, name, "memory", f"{own:.1f}", f"{own / kib:.2f}", f"{numbers:.3f}",
             f"{numbers / millions:.2f}"]
        )  # fmt: skip
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of conditions of several vectors.")
    parser.add_argument("--sizes", nargs="+", default=["nano", "small"], choices=list(SIZES))
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 4, 8], help="vectors per condition")
    parser.add_argument(
        "--groups", type=int, nargs="*", default=[4], help="of the encoder's tokens, beside one vector"
    )
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--prompt", type=int, default=64, help="tokens in the key-value cache, and of rows")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0, help="end a measurement after this time")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--threads", type=int, default=0, help="of torch (0: as it finds)")
    parser.add_argument("--smoke", action="store_true", help="a few steps of the smallest size")
    options = parser.parse_args()
    if options.smoke:
        options.sizes, options.counts, options.batches = ["nano"], [1, 4], [1]
        options.rounds, options.warmup, options.prompt = 3, 1, 8
    if options.threads:
        torch.set_num_threads(options.threads)
    names = [f"device {torch.cuda.get_device_name()}"] if options.device.startswith("cuda") else []
    print(
        facts(
            f"rows of {options.prompt} tokens; up to {options.rounds} rounds of all ways in turns; "
            f"{options.dtype} on {options.device}",
            *names,
        )
    )
    times, sizes = [], []
    for size in options.sizes:
        found = models(size, options)
        for batch in options.batches:
            times += measure(size, batch, found, options)
        sizes += memory(size, found, options)
        del found
    if options.groups:
        for batch in options.batches:
            times += encoding(batch, options)
    print_table(
        ("size", "condition", "batch", "what", "plain ms", "ms", "ratio, paired", "ratio of medians"), times
    )
    print_table(
        ("size", "condition", "what", "KiB a condition", "ratio", "trained numbers, M", "ratio of these"),
        sizes,
    )
    print(load_after())


if __name__ == "__main__":
    main()
