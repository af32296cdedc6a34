"""A fine-tuned encoder: scores documents, writes itself in the Hub's layout, and carries its history."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from postq.contracts.document import Document
from postq.contracts.recipes import Precision
from postq.counted import counted
from postq.learning.detectors import Detection
from postq.learning.encoder.backbones.loading import Backbone
from postq.learning.encoder.forward.inference import TokenBudget, document_logits
from postq.learning.encoder.scoring.space import EncoderSettings
from postq.learning.encoder.tokens.tokeniser import TextTokeniser
from postq.learning.encoder.training.examples import tokenise
from postq.learning.hooks import Hooks, StopRequested


class TrainedEncoder:
    """The best epoch's model, on the device it was trained on."""

    def __init__(
        self,
        backbone: Backbone,
        *,
        runs: nn.Module,
        labels: tuple[str, ...],
        settings: EncoderSettings,
        tokeniser: TextTokeniser,
        budget: TokenBudget,
        precision: Precision,
        history: Sequence[Mapping[str, float]],
        facts: Mapping[str, Any],
        timing: Mapping[str, Any],
        detections: Sequence[Detection],
    ) -> None:
        self.labels = labels
        self.settings = settings
        self.history = [
            {name: value for name, value in entry.items() if name != "seconds"} for entry in history
        ]
        self.facts = dict(facts)
        """What the training did; equal trainings have equal facts."""
        self.timing = dict(timing)
        """How long it took and how often it was interrupted: differs from run to run."""
        self.detections = tuple(detections)
        self.model = backbone.model
        self._runs = runs
        self.tokenizer = backbone.tokenizer
        self._tokeniser = tokeniser
        self._budget = budget
        self._precision: Precision = precision

    @property
    def score_space(self) -> str:
        """Names the scores: `sigmoid` or `sigmoid-debiased`."""
        return self.settings.score_space

    def score(self, documents: Sequence[Document], *, hooks: Hooks | None = None) -> NDArray[np.float32]:
        """(docs, labels) probabilities, in order.

        A document without one token the model knows, or with a score that is not a number, gets 0 for every
        label and is counted in a note, so that a report stays computable and says so. Bulk classification
        quarantines such documents instead.
        """
        hooks = hooks or Hooks()
        texts = tokenise(documents, self._tokeniser, hooks=hooks)
        logits = np.full((len(documents), len(self.labels)), np.nan, dtype=np.float32)
        readable = [i for i, text in enumerate(texts) if text.readable]
        done = 0

        def look_up() -> None:
            hooks.progress("scoring", done, len(readable), {})
            if hooks.should_stop():
                raise StopRequested

        batches = document_logits(
            self._runs,
            [[texts[i] for i in readable]],
            budget=self._budget,
            pooling=self.settings.pooling,
            precision=self._precision,
            before_batch=look_up,
        )
        for indices, values in batches:
            logits[[readable[i] for i in indices]] = values
            done += len(indices)
        return self._zero_where_absent(self.settings.probabilities(logits), documents, hooks=hooks)

    def _zero_where_absent(
        self, scores: NDArray[np.float32], documents: Sequence[Document], *, hooks: Hooks
    ) -> NDArray[np.float32]:
        absent = ~np.isfinite(scores).all(axis=1)
        if absent.any():
            names = [documents[i].document_id for i in np.flatnonzero(absent).tolist()]
            hooks.note(
                "EMPTY",
                f"{counted(len(names), 'document')} could not be scored, taken as 0 for every label: "
                f"{', '.join(names[:5])}.",
                {"documents": names, "severity": "warning"},
            )
            scores[absent] = 0.0
        return scores

    def write_model_files(self, folder: Path) -> None:
        """Write config, safetensors weights, tokenizer and `encoder.json`; plain transformers can load it."""
        model: Any = self.model
        model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        self.settings.write(folder)
