"""Speech recognition as a tool: Whisper, through transformers, from a folder.

``imagebind-llm pull whisper-tiny.en`` brings one. It hears the attached recordings by their place, in pieces
of 30 seconds, so that a word across a border may be lost.
"""

import os
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagebind_llm.common.errors import UserError, one_line, reason_of
from imagebind_llm.common.locate import locate_folder
from imagebind_llm.common.modality import Modality
from imagebind_llm.media.audio import as_waveform, check_rate, open_blocks, rated
from imagebind_llm.media.audio_features import resample
from imagebind_llm.media.base import Limits, is_encoded, name_of, open_source
from imagebind_llm.model.messages import MediaItem
from imagebind_llm.skills.tools.definition import Tool
from imagebind_llm.skills.tools.routes import Route
from imagebind_llm.skills.tools.stopping import check_time

RATE = 16_000
"""Hz; Whisper hears no other."""
PIECE = 30 * RATE
"""Samples that Whisper hears at once (30 s, ``chunk_length`` of its preprocessor)."""
LIMITS = Limits(max_seconds=600)
_SHORTEST = RATE // 10


class Transcriber:
    """Writes down what is said.

    Args:
        folder: of a Whisper model with its processor.

    Raises:
        CheckpointError: there is no such folder.
        UserError: it holds another model.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        from transformers import WhisperForConditionalGeneration, WhisperProcessor

        place = locate_folder(folder)
        try:
            self._processor: Any = WhisperProcessor.from_pretrained(place, local_files_only=True)
            self._model: Any = WhisperForConditionalGeneration.from_pretrained(
                place, local_files_only=True
            ).eval()
        except Exception as error:  # whatever a folder of something else makes transformers raise
            raise UserError(
                f"{str(folder)!r} holds no Whisper model: {one_line(reason_of(error), 160)}"
            ) from error
        self._one = threading.Lock()

    def transcribe(self, source: Any) -> str:
        """What is said in a recording: a path, bytes, a waveform at 16 kHz or ``{"array", "sampling_rate"}``.

        Raises:
            MediaError: it cannot be read as audio, or is longer than ten minutes.
        """
        wave = mono(source)
        pieces = [wave[start : start + PIECE] for start in range(0, len(wave), PIECE)]
        if len(pieces) > 1 and len(pieces[-1]) < _SHORTEST:
            del pieces[-1]
        with self._one:
            return " ".join(filter(None, map(self._piece, pieces)))

    def _piece(self, wave: NDArray[np.float32]) -> str:
        import torch
        from transformers import StoppingCriteriaList

        def in_time(ids: Any, scores: Any, **_: Any) -> Any:
            check_time()
            return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)

        check_time()
        features = self._processor(wave, sampling_rate=RATE, return_tensors="pt").input_features
        with torch.inference_mode():
            ids = self._model.generate(features, stopping_criteria=StoppingCriteriaList([in_time]))
        return str(self._processor.batch_decode(ids, skip_special_tokens=True)[0]).strip()

    def tool(self) -> Tool:
        """As a tool ``transcribe``."""
        return Tool(
            "transcribe",
            "Writes down what is said in an attached recording.",
            {
                "type": "object",
                "properties": {
                    "number": {"type": "integer", "minimum": 1, "description": "Which of the recordings."}
                },
                "additionalProperties": False,
            },
            self._called,
            seconds=120.0,
            media=True,
            routes=ROUTES,
        )

    def _called(self, media: Sequence[MediaItem], number: int = 1) -> str:
        heard = [item for item in media if item.modality is Modality.AUDIO]
        if number > len(heard):
            raise UserError(f"recording {number} is asked for, and {len(heard)} are attached")
        return self.transcribe(heard[number - 1].source)


ROUTES = (
    Route(
        "(transcribe|write down)[ what is said in][ the| this] (recording|audio|speech|sound|clip|it|voice)"
    ),
    Route("(write down|transcribe) what (is|was) said[ here]"),
    Route("(which|what) words are (said|spoken)[ here]"),
)
"""How people ask for it. Nano answers "what is said?" itself."""


def mono(source: Any) -> NDArray[np.float32]:
    """``[n]`` at 16 kHz, the mean of all channels."""
    name = name_of(source)
    if is_encoded(source):
        with open_source(source, LIMITS) as stream:
            blocks, rate, _ = open_blocks(stream, name, LIMITS)
            check_rate(rate, name)
            wave = np.concatenate([block[1] for block in blocks()])
    else:
        values, rate = rated(source, RATE, name, LIMITS)
        wave = as_waveform(values, name).mean(axis=0)
    return np.asarray(wave if rate == RATE else resample(wave, rate, RATE), dtype=np.float32)
