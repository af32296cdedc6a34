"""A trained TF-IDF model: text in, probabilities of all labels out of one sparse product."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_array
from scipy.special import expit

from postq.contracts.recipes import TermWeighting
from postq.contracts.record import Record
from postq.counted import counted
from postq.errors import BundleUnusable
from postq.learning.tfidf.features import Dampening, tfidf_rows
from postq.learning.tfidf.tokens import number_tokens
from postq.learning.tfidf.vocabulary import Vocabulary

CONFIG = "tfidf.json"
VOCABULARY = "vocabulary.json"
WEIGHTS = "model.safetensors"
HINT = "Train the bundle again, or take in a good copy with: postq bundles add FOLDER."


class TfidfConfig(Record):
    """How text becomes features; stored as `tfidf.json`."""

    format: int = 1
    ngram_max: int = Field(ge=1, le=3)
    term_weighting: TermWeighting
    mean_words: float = Field(1.0, ge=1)
    """Of the training documents; BM25 reads it."""
    stop_words: tuple[str, ...] = ()
    features: int = Field(ge=1)
    labels: int = Field(ge=1)
    regularisation: float
    """The C that was chosen."""
    score_space: str

    @property
    def dampening(self) -> Dampening:
        """What a term's count is worth."""
        return Dampening(kind=self.term_weighting, mean_words=self.mean_words)

    @model_validator(mode="before")
    @classmethod
    def _read_older(cls, values: Any) -> Any:
        """Models from before there was BM25 say `sublinear_tf` instead."""
        if not isinstance(values, dict) or "sublinear_tf" not in values:
            return values
        kept = {name: value for name, value in values.items() if name != "sublinear_tf"}
        return {"term_weighting": "log" if values["sublinear_tf"] else "raw", **kept}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredTexts:
    """Scores of some texts."""

    scores: NDArray[np.float32]
    """(docs, labels) probabilities."""
    tokens: NDArray[np.int32]
    """(docs,) words of two or more characters."""
    known: NDArray[np.bool_]
    """(docs,) False where no word of the text is a feature: its score says nothing about it."""


@dataclass(frozen=True, kw_only=True)
class TfidfModel:
    """Vocabulary, inverse document frequencies and one linear classifier per label."""

    config: TfidfConfig
    vocabulary: Vocabulary
    idf: NDArray[np.float32]
    """(features,)"""
    coefficients: NDArray[np.float32]
    """(features, labels)"""
    intercepts: NDArray[np.float32]
    """(labels,)"""

    def score(self, texts: Sequence[str]) -> ScoredTexts:
        """Tokenise, weigh and multiply; memory is proportional to the texts given."""
        stream = number_tokens(texts, self.vocabulary.numbers)
        rows = tfidf_rows(stream, self.vocabulary, idf=self.idf, dampening=self.config.dampening)
        return ScoredTexts(
            scores=self.score_rows(rows),
            tokens=stream.lengths.astype(np.int32),
            known=np.diff(rows.indptr) > 0,
        )

    def score_rows(self, rows: csr_array) -> NDArray[np.float32]:
        """(docs, labels) probabilities of ready-made feature rows."""
        return np.asarray(expit(rows @ self.coefficients + self.intercepts), np.float32)

    def write(self, folder: Path) -> None:
        """Write `tfidf.json`, `vocabulary.json` and `model.safetensors`."""
        (folder / CONFIG).write_text(self.config.model_dump_json(indent=1) + "\n", encoding="utf-8")
        names = json.dumps(self.vocabulary.features, ensure_ascii=False, indent=0)
        (folder / VOCABULARY).write_text(names + "\n", encoding="utf-8")
        arrays = {"idf": self.idf, "coefficients": self.coefficients, "intercepts": self.intercepts}
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / WEIGHTS)


def read_model(folder: Path, *, labels: int) -> TfidfModel:
    """Load a model from a verified bundle folder; raises BundleUnusable when its parts do not fit."""
    try:
        config = TfidfConfig.model_validate_json((folder / CONFIG).read_bytes())
        names = json.loads((folder / VOCABULARY).read_text(encoding="utf-8"))
        arrays: dict[str, NDArray[Any]] = load_file(folder / WEIGHTS)
        model = TfidfModel(
            config=config,
            vocabulary=Vocabulary(
                features=tuple(names), ngram_max=config.ngram_max, stop_words=config.stop_words
            ),
            idf=arrays["idf"],
            coefficients=arrays["coefficients"],
            intercepts=arrays["intercepts"],
        )
    except (OSError, ValueError, KeyError, TypeError, ValidationError, SafetensorError) as exc:
        raise BundleUnusable(f"The TF-IDF model in {folder} cannot be read: {exc}.", hint=HINT) from exc
    _check(model, folder=folder, labels=labels)
    return model


def _check(model: TfidfModel, *, folder: Path, labels: int) -> None:
    features = len(model.vocabulary.features)
    shapes = (model.idf.shape, model.coefficients.shape, model.intercepts.shape)
    if shapes != ((features,), (features, labels), (labels,)):
        raise BundleUnusable(
            f"The weights in {folder} {shapes} do not fit {counted(features, 'feature')} and "
            f"{counted(labels, 'label')}.",
            hint=HINT,
        )
    arrays = (model.idf, model.coefficients, model.intercepts)
    if any(array.dtype != np.float32 or not np.isfinite(array).all() for array in arrays):
        raise BundleUnusable(f"Weights in {folder} are not finite float32 numbers.", hint=HINT)
