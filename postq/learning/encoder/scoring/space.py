"""From logits to the probabilities a bundle stands for, and the small file that lets a scorer do the same."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from postq.contracts.recipes import HeadName, LongText, TextView
from postq.contracts.record import Record
from postq.errors import BundleUnusable
from postq.learning.encoder.forward.calling import Pooling

ENCODER_FILE = "encoder.json"


class EncoderSettings(Record):
    """How a bundle reads texts and turns logits into scores; stored as `encoder.json`."""

    format: int = 1
    text: TextView
    max_tokens: int = Field(ge=8)
    piece_tokens: int = Field(ge=8)
    """The longest sequence the model takes; the chunk strategies cut texts to it."""
    long_text: LongText
    head: HeadName = "pooled"
    """How the logits come from hidden states; a label attention's weights lie in a file of their own."""
    logit_shift: tuple[float, ...] | None = None
    """Subtracted from each label's logit: log(pos_weight) of a debiased model."""

    @property
    def pooling(self) -> Pooling:
        """How the logits of a document's chunks become one."""
        return "mean" if self.long_text == "chunk_mean" else "max"

    @property
    def score_space(self) -> str:
        """Names the scores, so that thresholds tuned on others are refused."""
        return "sigmoid" if self.logit_shift is None else "sigmoid-debiased"

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """(docs, labels) scores in [0, 1]; NaN stays NaN."""
        shifted = logits if self.logit_shift is None else logits - np.asarray(self.logit_shift, np.float32)
        # exp of a negative argument only: no overflow on either side.
        small = np.exp(-np.abs(shifted))
        scores = np.where(shifted >= 0, 1.0, small) / (1.0 + small)
        return scores.astype(np.float32)

    def write(self, folder: Path) -> None:
        """Store as `encoder.json`."""
        (folder / ENCODER_FILE).write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_settings(folder: Path) -> EncoderSettings:
    """The settings stored in a bundle's folder; raises BundleUnusable."""
    try:
        return EncoderSettings.model_validate(json.loads((folder / ENCODER_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as exc:
        raise BundleUnusable(
            f"{ENCODER_FILE} of {folder} is missing or unreadable.",
            hint="Use a bundle folder as a training wrote it.",
        ) from exc
