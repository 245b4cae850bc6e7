"""Media through the encoder: what knowing equal clips and reading one token only are worth.

    python benchmarks/encoding.py            nano, and towers of ImageBind-Huge's width: minutes
    python benchmarks/encoding.py --smoke    seconds

The plain way encodes every clip and crop, and carries every token through the last block. Both ways use the
same model and must agree to 1e-5. ``ceiling`` is what would be left to win if all but matrix products,
attention and convolutions, which are the libraries' own kernels, cost nothing (from one profiled call).
"""

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from measuring import facts, interleaved, load_after, print_table, spread, verdict
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from imagebind_llm.common.modality import Modality, trunk_name
from imagebind_llm.encoders.imagebind import ImageBindConfig, ImageBindModel

TARGET = 1.2
KERNELS = ("addmm", "aten::mm", "bmm", "convolution", "scaled_dot_product")


def plain(model: ImageBindModel, modality: Modality, batch: Tensor) -> Tensor:
    """Unit embeddings, every row and every token computed."""
    name = trunk_name(modality)
    clips = batch.shape[1] if batch.dim() > (5 if modality is Modality.VIDEO else 4) else None
    rows = batch if clips is None else batch.flatten(0, 1)
    tokens: Any = model.modality_preprocessors[name](rows)
    stream: Tensor = model.modality_trunks[name](tokens.values)
    out: Tensor = model.modality_postprocessors[name](model.modality_heads[name](stream[:, 0]))
    if clips is not None:
        out = out.unflatten(0, (-1, clips)).mean(1)
    return torch.nn.functional.normalize(out.float(), dim=-1)


def batches(model: ImageBindModel, rows: int) -> dict[str, tuple[Modality, Tensor]]:
    """Random media of the model's sizes: long and short sounds, wide and square films."""
    vision, audio = model.config.vision, model.config.audio
    assert vision is not None
    assert audio is not None
    image = torch.randn(rows, vision.channels, *vision.size)
    sounds = torch.randn(rows, 3, audio.channels, *audio.size)
    films = torch.randn(max(rows // 8, 1), 15, vision.channels, vision.frames, *vision.size)
    square = films.unflatten(1, (5, 3))[:, :, :1].expand(-1, -1, 3, *[-1] * 4).flatten(1, 2)
    return {
        "image": (Modality.IMAGE, image),
        "sound, three clips": (Modality.AUDIO, sounds),
        "sound of 2 s or less": (Modality.AUDIO, sounds[:, :1].expand(-1, 3, -1, -1, -1).contiguous()),
        "film, 15 crops": (Modality.VIDEO, films),
        "square film": (Modality.VIDEO, square.contiguous()),
    }


def ceiling(call: Callable[[], object]) -> float:
    """Time of a call over that of the libraries' kernels in it."""
    with profile(activities=[ProfilerActivity.CPU]) as found:
        call()
    events = found.key_averages()
    inside = sum(e.self_cpu_time_total for e in events if any(name in e.key for name in KERNELS))
    return float(sum(e.self_cpu_time_total for e in events) / inside)


def models(smoke: bool, blocks: int) -> dict[str, tuple[ImageBindModel, int]]:
    """Models, and how many media each gets at once."""
    torch.manual_seed(0)
    nano = ImageBindConfig.nano()
    if smoke:
        return {"nano": (ImageBindModel(nano).eval(), 2)}
    huge = ImageBindConfig.huge(point=False)

    def cut(part: Any) -> Any:
        return dataclasses.replace(part, trunk=dataclasses.replace(part.trunk, blocks=blocks))

    parts = {name: None for name, _ in huge.parts()} | {
        name: cut(part) for name, part in huge.parts() if name in ("vision", "audio")
    }
    return {
        "nano": (ImageBindModel(nano).eval(), 16),
        f"Huge, {blocks} blocks": (ImageBindModel(dataclasses.replace(huge, **parts)).eval(), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10.0, help="end a measurement after this time")
    parser.add_argument("--blocks", type=int, default=12, help="of the large model's trunks")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--smoke", action="store_true", help="two rounds of nano")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rounds = 2 if options.smoke else options.rounds
    rows = []
    for label, (model, count) in models(options.smoke, options.blocks).items():
        for what, (modality, batch) in batches(model, count).items():

            def ours(model: Any = model, modality: Any = modality, batch: Tensor = batch) -> Tensor:
                found: Tensor = model.encode(modality, batch)
                return found

            def theirs(model: Any = model, modality: Any = modality, batch: Tensor = batch) -> Tensor:
                return plain(model, modality, batch)

            with torch.inference_mode():
                difference = float((ours() - theirs()).abs().max())
                if difference > 1e-5:
                    raise SystemExit(f"{label}, {what}: embeddings differ by {difference:.2g}")
                times = interleaved({"plain": theirs, "ours": ours}, rounds, seconds=options.seconds)
                left = ceiling(ours)
            ratio = times["plain"].wall / times["ours"].wall
            cpu = times["plain"].cpu / times["ours"].cpu
            ms = [spread(1000 * times[name].wall / len(batch), 1) for name in ("plain", "ours")]
            judged = verdict(float(np.median(ratio)), TARGET, at_most=False)
            rows.append(
                [label, what, str(len(batch)), *ms, spread(ratio), spread(cpu), f"{left:.2f}", judged]
            )
    print(facts(f"up to {rounds} rounds, random weights and media, float32"))
    print_table(
        ("encoder", "media", "at once", "plain ms each", "ours ms each", "ratio, paired",
         "CPU-time ratio, paired", "ceiling", "target"),
        rows,
    )  # fmt: skip
    print(load_after())


if __name__ == "__main__":
    main()
