"""What a condition costs the language model: nothing in the context, next to nothing per token.

Three ways take turns, step by step: the plain transformers language model (a separate one without hooks that
shares the weights), ours about conditions, and ours about none. The conditions are mixed: every row sees
another mixture, every fourth row none at all.

    python benchmarks/decode.py                                   ten minutes on a CPU
    python benchmarks/decode.py --sizes small --styles value+updates --batches 1
    python benchmarks/decode.py --sizes nano mid large --device cuda --dtype bfloat16
    python benchmarks/decode.py --smoke                           seconds

``step`` is one forward pass for one token a row over a filled key-value cache; ``generate`` is a whole call
of ``generate`` divided by its tokens: bind network, prompt and transformers' own loop included. Both are
judged. ``value+updates`` is style ``value`` with low-rank updates, as finetuning leaves the published model,
folded as loading folds them; its plain model has the folded weights.
"""

import argparse
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from measuring import facts, interleaved, load_after, print_table, spread, verdict
from random_models import SIZES, bare_language_model, tokenizer, whole_model, with_updates
from torch import Tensor
from torch.nn import functional

from imagebind_llm.model.adaptation import merge_lora
from imagebind_llm.model.dialog import build_dialog

STYLES = ("residual", "value", "value+updates")
TARGETS = {"step at batch 1": 1.01, "step": 1.03, "generate": 1.03}
EMBEDDING_DIM = 1024
"""ImageBind-Huge's."""


def mixed_conditions(batch: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Mixtures ``[N, D]`` and the one each row sees ``[B]``, -1 for every fourth row (but the first)."""
    random = torch.Generator().manual_seed(1)
    parts = functional.normalize(torch.randn(2, batch, EMBEDDING_DIM, generator=random), dim=-1)
    share = torch.rand(batch, 1, generator=random)
    conditions = share * parts[0] + (1 - share) * parts[1]
    seen = torch.arange(batch)
    seen[(seen % 4 == 3)] = -1
    return conditions.to(device, dtype), seen.to(device)


class Stepper:
    """One decode step, again and again from the same state."""

    def __init__(self, model: Any, prompt: Tensor, wait: Callable[[], None], **conditioned: Any) -> None:
        self._model, self._wait = model, wait
        self._length = prompt.shape[1]
        self._mask = torch.ones(len(prompt), self._length + 1, dtype=torch.long, device=prompt.device)
        ids = conditioned.get("condition_ids")
        given = dict(conditioned)
        if ids is not None:
            given["condition_ids"] = ids[:, None].expand(-1, self._length)
            conditioned["condition_ids"] = ids[:, None]
        self._given = conditioned
        with torch.inference_mode():
            output = model(input_ids=prompt, attention_mask=self._mask[:, :-1], use_cache=True, **given)
        self.first_logits: Tensor = output.logits
        self._past = output.past_key_values
        self._token = output.logits[:, -1:].argmax(-1)

    @property
    def entries(self) -> int:
        """Positions in the key-value cache after the prompt."""
        return int(self._past.get_seq_length())

    def __call__(self) -> None:
        with torch.inference_mode():
            output = self._model(
                input_ids=self._token,
                attention_mask=self._mask,
                past_key_values=self._past,
                use_cache=True,
                **self._given,
            )
            output.logits[:, -1].argmax(-1)
            self._wait()

    def rewind(self) -> None:
        """Take back the last step; called outside the measured time."""
        self._past.crop(-1)


def build(size: str, style: str, options: argparse.Namespace) -> tuple[Any, Any]:
    """A model with injection, and the plain language model of the same weights."""
    model: Any = whole_model(size, EMBEDDING_DIM, style=style.partition("+")[0])
    if style == "value+updates":
        merge_lora(with_updates(model))
    model.to(options.device, getattr(torch, options.dtype))
    return model, bare_language_model(model)


def measure(
    size: str, style: str, batch: int, model: Any, base: Any, options: argparse.Namespace
) -> list[list[str]]:
    device = torch.device(options.device)
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    prompt = torch.randint(3, SIZES[size]["vocab_size"], (batch, options.prompt), device=device)
    conditions, seen = mixed_conditions(batch, device, getattr(torch, options.dtype))
    with torch.inference_mode():
        deltas = model.condition_deltas(conditions)
    ways = {
        "plain": Stepper(base, prompt, wait),
        "conditions": Stepper(model, prompt, wait, deltas=deltas, condition_ids=seen),
        "none": Stepper(model, prompt, wait),
    }
    if len({way.entries for way in ways.values()}) != 1:
        raise SystemExit("a condition takes entries of the key-value cache")
    if not torch.equal(ways["plain"].first_logits, ways["none"].first_logits):
        raise SystemExit("without conditions the logits are not those of the plain language model")
    steps = interleaved(ways, options.rounds, options.warmup, options.seconds, fewest=10)

    settings = {
        "attention_mask": torch.ones_like(prompt),
        "max_new_tokens": options.tokens,
        "min_new_tokens": options.tokens,
        "do_sample": False,
        "pad_token_id": 0,
    }
    per_row = seen[:, None].expand(-1, options.prompt)

    def generate(used: Any, **more: Any) -> Callable[[], None]:
        def run() -> None:
            used.generate(prompt, **settings, **more)
            wait()

        return run

    calls = interleaved(
        {
            "plain": generate(base),
            "conditions": generate(model, conditions=conditions, condition_ids=per_row),
            "none": generate(model),
        },
        options.calls,
        seconds=options.seconds,
    )
    rows = []
    for sort, times, per in (("step", steps, 1), ("generate", calls, options.tokens)):
        plain, with_, without = (1000 * times[name].wall / per for name in ways)
        cpu = times["conditions"].cpu / times["plain"].cpu
        target = TARGETS.get(f"{sort} at batch {batch}", TARGETS[sort])
        label = size if style == STYLES[0] else f"{size}, {style}"
        rows.append(
            [label, str(batch), f"{sort}, {len(plain)} rounds", spread(plain, 3),
             spread(with_, 3), spread(with_ / plain, 3), f"{np.median(with_) / np.median(plain):.3f}",
             spread(cpu, 3), spread(without / plain, 3),
             verdict(float(np.median(with_ / plain)), target, at_most=True)]
        )  # fmt: skip
    return rows


def context_check(model: Any, base: Any) -> list[list[str]]:
    """What a condition takes of the context, and what closed gates change; all three must be nothing."""
    words = tokenizer()
    question: dict[str, Any] = {"type": "text", "text": "What is this?"}
    picture = {"type": "image", "image": "picture.png"}
    lengths = [
        len(build_dialog([{"role": "user", "content": parts}], words, add_generation_prompt=True))
        for parts in ([question], [picture, question], [picture, picture, picture, question])
    ]
    prompt = torch.randint(3, 200, (2, 12), device=base.device)
    conditions, seen = mixed_conditions(2, base.device, base.dtype)
    gates = model.injection.gate.detach().clone()
    with torch.inference_mode():
        plain = base(prompt, use_cache=True)
        opened = model(
            prompt, use_cache=True, conditions=conditions, condition_ids=seen[:, None].expand(2, 12)
        )
        model.injection.gate.zero_()
        closed = model(
            prompt, use_cache=True, conditions=conditions, condition_ids=seen[:, None].expand(2, 12)
        )
        model.injection.gate.copy_(gates)
    entries = opened.past_key_values.get_seq_length() - plain.past_key_values.get_seq_length()
    same = torch.equal(plain.logits, closed.logits)
    changed = float((plain.logits - opened.logits).abs().max())
    if len(set(lengths)) != 1 or entries or not same or not changed:
        raise SystemExit(f"prompt tokens {lengths}, more entries {entries}, closed gates same {same}")
    return [
        [
            "context tokens of 0, 1 and 3 media",
            f"prompts of {' = '.join(map(str, lengths))} tokens",
            "0: met",
        ],
        ["key-value entries of a condition", str(entries), "0: met"],
        ["logits with gates at 0", "identical to the plain language model's, bit for bit", "identical: met"],
        ["logits with open gates", f"moved by up to {changed:.3g}", "moved: met"],
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of conditions in the language model.")
    parser.add_argument("--sizes", nargs="+", default=["nano", "small"], choices=list(SIZES))
    parser.add_argument("--styles", nargs="+", default=list(STYLES), choices=STYLES)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--prompt", type=int, default=32, help="tokens in the key-value cache")
    parser.add_argument("--rounds", type=int, default=200, help="steps of each way")
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--calls", type=int, default=6, help="calls of generate of each way")
    parser.add_argument("--tokens", type=int, default=24, help="new tokens of such a call")
    parser.add_argument(
        "--seconds",
        type=float,
        default=20.0,
        help="end a measurement after this time, though with fewer rounds",
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--threads", type=int, default=0, help="of torch (0: as it finds)")
    parser.add_argument("--smoke", action="store_true", help="a few steps of the smallest size")
    options = parser.parse_args()
    if options.smoke:
        options.sizes, options.batches, options.rounds, options.warmup = ["nano"], [1, 4], 4, 1
        options.calls, options.tokens = 2, 4
    if options.threads:
        torch.set_num_threads(options.threads)
    names = [f"device {torch.cuda.get_device_name()}"] if options.device.startswith("cuda") else []
    print(
        facts(
            f"prompt {options.prompt} tokens; up to {options.rounds} steps of each way in turns; "
            f"{options.dtype} on {options.device}; every fourth row sees no condition",
            *names,
        )
    )
    rows = []
    for number, (size, style) in enumerate(itertools.product(options.sizes, options.styles)):
        model, base = build(size, style, options)
        if number == 0:
            print_table(("what a condition takes", "measured", "target"), context_check(model, base))
        for batch in options.batches:
            rows += measure(size, style, batch, model, base, options)
        del model, base
    print_table(
        ("size", "batch", "what", "plain ms", "with conditions ms", "ratio, paired", "ratio of medians",
         "CPU-time ratio, paired", "ratio without conditions", "target"),
        rows,
    )  # fmt: skip
    print(load_after())


if __name__ == "__main__":
    main()
