"""Training TF-IDF: features, weighting and C chosen out of fold, scores out of fold, refit on all."""

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from postq.contracts.document import Document
from postq.contracts.recipes import TermWeighting, TfidfRecipe
from postq.counted import counted
from postq.errors import NotTrainable
from postq.learning.data import TrainingData
from postq.learning.hooks import Hooks, StopRequested
from postq.learning.labels import indicator_matrix
from postq.learning.tfidf.choosing import Choice, Fitters, choose
from postq.learning.tfidf.features import Dampening, inverse_document_frequency, mean_words, tfidf_rows
from postq.learning.tfidf.folds import assign_folds
from postq.learning.tfidf.model import TfidfConfig, TfidfModel
from postq.learning.tfidf.out_of_fold import OutOfFold, fits_needed, score_out_of_fold
from postq.learning.tfidf.selection import Selection, merge_interned, select_features
from postq.learning.tfidf.tokens import TokenStream, intern_tokens

CHUNK_DOCUMENTS = 256
"""Documents tokenised or scored between two looks at `should_stop`."""


class TrainedTfidf:
    """A fitted model with the out-of-fold scores of the documents it was fitted on."""

    def __init__(
        self,
        model: TfidfModel,
        *,
        documents: Sequence[Document],
        chosen: OutOfFold,
        facts: Mapping[str, Any],
    ) -> None:
        self.model = model
        self.documents = documents
        """What the model was fitted on; rows of `out_of_fold`."""
        self.out_of_fold = chosen.scores
        """(docs, labels) probabilities, each by a model that had not seen the document."""
        self.facts = dict(facts)
        self.history: list[dict[str, Any]] = []

    @property
    def score_space(self) -> str:
        """`sigmoid-balanced` or `sigmoid`."""
        return self.model.config.score_space

    def score(self, documents: Sequence[Document], *, hooks: Hooks | None = None) -> NDArray[np.float32]:
        """(docs, labels) probabilities; a document without a known word gets the intercepts' scores.

        That happens in reports only, and is counted in a note; bulk classification quarantines it.
        """
        hooks = hooks or Hooks()
        parts, unknown = [], []
        for start in range(0, len(documents), CHUNK_DOCUMENTS):
            look_up(hooks, "scoring", start, len(documents))
            part = documents[start : start + CHUNK_DOCUMENTS]
            scored = self.model.score([document.text for document in part])
            parts.append(scored.scores)
            unknown += [part[at].document_id for at in np.flatnonzero(~scored.known).tolist()]
        if unknown:
            hooks.note(
                "EMPTY",
                f"{counted(len(unknown), 'document holds', 'documents hold')} no known word: "
                f"{', '.join(unknown[:5])}.",
                {"documents": unknown, "severity": "warning"},
            )
        return np.concatenate(parts) if parts else np.zeros((0, self.model.config.labels), np.float32)

    def write_model_files(self, folder: Path) -> None:
        """Write the model into a bundle folder."""
        self.model.write(folder)


def train_tfidf(recipe: TfidfRecipe, data: TrainingData, *, hooks: Hooks) -> TrainedTfidf:
    """Fit `data.labels` on the training documents, by default with the validation documents.

    Nothing of TF-IDF is tuned on the validation split, so its documents may teach, and their honest scores
    are the out-of-fold ones. Deterministic by `recipe.seed`. Raises NotTrainable when there are no documents,
    labels or words to learn from, StopRequested when `hooks.should_stop` says so.
    """
    _require_material(data)
    documents = [*data.train, *(data.validation if recipe.fit_on == "train_and_validation" else ())]
    truth = indicator_matrix(documents, data.labels)
    selection = _select(recipe, _read_words(documents, hooks=hooks))
    idf = inverse_document_frequency(selection.document_frequency, documents=len(documents))
    mean = mean_words(selection.stream)

    def rows(kind: TermWeighting) -> csr_array:
        look_up(hooks, "features", len(documents), len(documents))
        dampening = Dampening(kind=kind, mean_words=mean)
        return tfidf_rows(selection.stream, selection.vocabulary, idf=idf, dampening=dampening)

    fitters = Fitters(rows, truth, class_weight=recipe.class_weight)
    choice, chosen = _out_of_fold(recipe, fitters, _clusters(documents, data), hooks=hooks)
    fitter = fitters.of(choice.weighting)
    model = TfidfModel(
        config=_config(recipe, selection, labels=len(data.labels), mean=mean, choice=choice),
        vocabulary=selection.vocabulary,
        idf=idf,
        coefficients=fitter.coefficients(chosen.solution),
        intercepts=chosen.solution.intercepts.astype(np.float32),
    )
    facts = {
        "features": model.config.features,
        "fitted_documents": len(documents),
        "regularisation": chosen.regularisation,
        "candidates": {str(value): precision for value, precision in choice.values.items()},
        "term_weighting": choice.weighting,
        "term_weightings": dict(choice.precision),
        "unconverged_labels": [data.labels[at] for at in chosen.solution.unconverged],
    }
    return TrainedTfidf(model, documents=documents, chosen=chosen, facts=facts)


def _require_material(data: TrainingData) -> None:
    if not data.train or not data.labels:
        raise NotTrainable(
            "There is no training document, or no label, to learn from.",
            hint="Check the corpus with `postq corpus show` and the recipe's split shares.",
        )


def _config(
    recipe: TfidfRecipe, selection: Selection, *, labels: int, mean: float, choice: Choice
) -> TfidfConfig:
    return TfidfConfig(
        ngram_max=recipe.ngram_max,
        term_weighting=choice.weighting,
        mean_words=mean,
        stop_words=selection.vocabulary.stop_words,
        features=len(selection.vocabulary.features),
        labels=labels,
        regularisation=choice.trial.chosen,
        score_space="sigmoid-balanced" if recipe.class_weight == "balanced" else "sigmoid",
    )


def look_up(hooks: Hooks, phase: str, done: int, total: int) -> None:
    """Tell progress; raise StopRequested when asked to stop."""
    if hooks.should_stop():
        raise StopRequested
    hooks.progress(phase, done, total, {})


def _read_words(documents: Sequence[Document], *, hooks: Hooks) -> tuple[list[str], TokenStream]:
    parts = []
    for start in range(0, len(documents), CHUNK_DOCUMENTS):
        look_up(hooks, "tokenising", start, len(documents))
        parts.append(intern_tokens([d.text for d in documents[start : start + CHUNK_DOCUMENTS]]))
    return merge_interned(parts)


def _select(recipe: TfidfRecipe, words: tuple[list[str], TokenStream]) -> Selection:
    return select_features(
        *words,
        ngram_max=recipe.ngram_max,
        min_df=recipe.min_df,
        max_df=recipe.max_df,
        max_features=recipe.max_features,
        stop_words=_english_stop_words() if recipe.stop_words else (),
    )


def _english_stop_words() -> frozenset[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return frozenset(ENGLISH_STOP_WORDS)


def _clusters(documents: Sequence[Document], data: TrainingData) -> list[int]:
    """Near-duplicate cluster of each document; documents outside the manifest stand alone."""
    known = {entry.document_id: entry.cluster for entry in data.manifest}
    return [known.get(document.document_id, -1 - at) for at, document in enumerate(documents)]


def _out_of_fold(
    recipe: TfidfRecipe, fitters: Fitters, clusters: Sequence[int], *, hooks: Hooks
) -> tuple[Choice, OutOfFold]:
    folds = min(recipe.folds, len(set(clusters)))
    if folds < 2:
        raise NotTrainable(
            "All training documents are near-duplicates of one another, so nothing can be held out.",
            hint="Add documents that differ.",
        )
    fold = assign_folds(fitters.truth, clusters, folds=folds, seed=recipe.seed)
    fits = fits_needed(folds=folds, values=len(recipe.regularisation), weightings=len(recipe.term_weightings))
    done = count()

    def look() -> None:
        look_up(hooks, "fitting", next(done), fits)

    choice = choose(
        fitters,
        fold,
        weightings=recipe.term_weightings,
        regularisation=recipe.regularisation,
        look_up=look,
    )
    return choice, score_out_of_fold(fitters.of(choice.weighting), fold, choice.trial, look_up=look)
