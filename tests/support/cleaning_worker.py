"""A process that cleans made-up data, to be killed or weighed: ``OUT COUNT [slow|large|die-in-results]``."""

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

import imagebind_llm.data.clean.run as running
from imagebind_llm.data.clean.settings import load_settings
from imagebind_llm.data.sources.captions import caption_record
from support.cleaning_samples import MadeUpEncoder, MadeUpSource, caption, settings_of


class Slow(MadeUpSource):
    """Takes its time, so that there is a moment to strike."""

    def read(self, index):
        time.sleep(0.003)
        return super().read(index)


class Large(MadeUpSource):
    """Pictures of 300 kB that are made when they are read, and that nobody remembers."""

    def read(self, index):
        rng = np.random.default_rng(index)
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        image = coarse.resize((320, 320), Image.Resampling.BILINEAR)
        return caption_record(f"large:{index}", self.name, image, caption(index), "Describe it")


def main() -> None:
    """Clean, and tell how it went."""
    out, count, *how = Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
    made = Slow if "slow" in how else Large if "large" in how else MadeUpSource
    source = made(count, 48, bad_every=40, repeat=5)
    if "die-in-results" in how:
        running.render = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    done = running.clean(
        settings_of(kind="embedded" if "large" in how else "parquet"),  # the former is not copied
        out,
        load_settings(None, ["shard_rows=40"]),
        opened=source,
        encoder=MadeUpEncoder(),
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"resumed": done.resumed, "summary": done.summary, "peak_kb": peak}))


main()
