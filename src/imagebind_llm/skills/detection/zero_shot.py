"""Boxes from a zero-shot detector of transformers: Grounding DINO, OWLv2, OWL-ViT and their like.

They are used without a class: OWLv2 says itself how sure it is that something is there (its objectness);
others are asked for general things (:data:`GENERAL`), and the best counts. What it is decides the joint
encoder, so that prompts may be of any modality.
"""

import os
from typing import Any

import numpy as np
import torch
from PIL import Image

from imagebind_llm.common.errors import UserError, one_line, reason_of
from imagebind_llm.common.locate import locate_folder
from imagebind_llm.skills.detection.proposals import Proposals

GENERAL = ("an object", "a thing", "an animal", "a person", "a vehicle", "a plant", "food", "a building")
"""What detectors without objectness are asked for."""


class ZeroShotProposer:
    """See the module.

    Args:
        name: folder of a model with its processor, or a hub id.
        device: where it runs.

    Raises:
        CheckpointError: there is none.
        UserError: it holds another model, or one whose weights do not fit.
    """

    def __init__(self, name: str | os.PathLike[str], device: str | torch.device = "cpu") -> None:
        from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

        folder = locate_folder(name)
        try:
            self._processor: Any = AutoProcessor.from_pretrained(folder, local_files_only=True, backend="pil")
            self._model, report = AutoModelForZeroShotObjectDetection.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
        except Exception as error:  # whatever a folder of something else makes transformers raise
            raise UserError(
                f"{os.fspath(name)!r} holds no zero-shot detector: {one_line(reason_of(error), 160)}"
            ) from error
        lacking = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
        if lacking:
            raise UserError(
                f"{os.fspath(name)!r}: the weights lack {len(lacking)} tensors, {one_line(lacking[0], 80)!r} "
                "first; get them again"
            )
        self._model = self._model.eval().to(device)

    def propose(self, picture: Image.Image, most: int) -> Proposals:
        """At most ``most`` boxes of an RGB picture, best first."""
        words = [list(GENERAL)]
        inputs = self._processor(images=picture, text=words, return_tensors="pt").to(self._model.device)
        with torch.inference_mode():
            outputs = self._model(**inputs)
        known = getattr(outputs, "objectness_logits", None)
        if known is not None:  # [1, boxes]: as the logits of one class
            outputs.logits = known.reshape(*known.shape[:2], 1)
        (found,) = self._processor.image_processor.post_process_object_detection(
            outputs, threshold=0.0, target_sizes=[(picture.height, picture.width)]
        )
        boxes = found["boxes"].float().cpu().double().numpy()
        sure = found["scores"].float().cpu().double().numpy()
        best = np.argsort(-sure, kind="stable")[: 4 * most]  # many of them are nearly the same
        return Proposals.of(boxes[best], sure[best], picture.size).first(most)
