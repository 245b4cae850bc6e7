"""The numbers of nano's senses, in one place."""

from __future__ import annotations

IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)
IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)
"""CLIP's colour statistics, which ImageBind's vision encoder uses."""
