"""A cascade asks the dear member about the doubtful documents only, and each document is judged alone."""

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from postq.contracts.document import Document
from postq.contracts.scoring import DocumentFailure, ScoreBatch
from postq.errors import BadInput, BundleUnusable, NotTrainable
from postq.learning.bundle import Bundle, fingerprint
from postq.learning.bundle.score_file import read_scores
from postq.learning.ensemble.asking import AskDoubtful
from postq.learning.ensemble.cascade import fit_cascade
from postq.learning.ensemble.choosing import cascade_worth
from postq.learning.ensemble.combining import Combination, read_combination
from postq.learning.ensemble.making import make_ensemble
from postq.learning.ensemble.scorer import EnsembleScorer
from postq.learning.logits import sigmoid
from postq.learning.rejudging import read_metrics
from postq.learning.rethresholding import rethreshold_bundle
from postq.learning.scoring import load_scorer
from tests.unit.learning.opinions import document
from tests.unit.learning.test_ensemble import CPU, DATA, scored, train
from tests.unit.learning.test_label_noise import part_of

LABELS = ("a", "b", "c")
CUTS = np.full(3, 0.5)


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    folder = tmp_path_factory.mktemp("members")
    return [train(folder, "cheap", class_weight=None, min_df=4, ngram_max=1), train(folder, "dear")]


@pytest.fixture(scope="module")
def cascade(members: list[Bundle], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    output = tmp_path_factory.mktemp("cascade") / "quick"
    return make_ensemble(members, name="quick", output=output, method="cascade", defer_share=0.3)


def stored(cascade: Bundle) -> Any:
    found = read_combination(cascade.path, labels=len(cascade.labels)).cascade
    assert found is not None
    return found


def planted(documents: int = 1000, seed: int = 0) -> tuple[Any, Any, Any]:
    """Truth, scores of a cheap member that is unsure of every fifth document, and of a dear one."""
    random = np.random.default_rng(seed)
    truth = random.random((documents, 3)) < 0.3
    sure = np.where(truth, 4.0, -4.0)
    hard = np.arange(documents) % 5 == 0
    doubtful = np.where(hard[:, None], random.normal(0, 0.5, truth.shape), sure)
    return truth, sigmoid(doubtful).astype(np.float32), sigmoid(sure).astype(np.float32)


def test_the_documents_that_are_deferred_are_those_the_cheap_member_is_unsure_of() -> None:
    truth, cheap, dear = planted()
    found = fit_cascade(truth, cheap, CUTS, labels=LABELS, share=0.2, fitted_on="validation")
    deferred = found.deferred(cheap, CUTS)
    assert deferred.mean() == pytest.approx(0.2, abs=0.01)
    assert (deferred == (np.arange(1000) % 5 == 0)).mean() > 0.98
    combined = Combination(method="cascade", weights=(0.5,) * 3, cascade=found).combine(
        [cheap, dear], thresholds=[CUTS, CUTS]
    )
    assert ((combined >= 0.5) == truth).mean() > 0.99
    assert ((cheap >= 0.5) == truth).mean() < 0.95


def test_expected_errors_are_about_as_many_as_there_are() -> None:
    truth, cheap, _ = planted(documents=4000)
    found = fit_cascade(truth, cheap, CUTS, labels=LABELS, share=0.2, fitted_on="validation")
    wrong = ((cheap >= 0.5) != truth).sum()
    assert found.expected_errors(cheap, CUTS).sum() == pytest.approx(wrong, rel=0.25)


def test_without_any_label_there_is_nothing_to_calibrate_on() -> None:
    truth, cheap, _ = planted()
    with pytest.raises(NotTrainable):
        fit_cascade(truth & False, cheap, CUTS, labels=LABELS, share=0.2, fitted_on="validation")


def test_the_dear_member_decides_about_deferred_documents_and_the_cheap_one_about_the_rest(
    cascade: Bundle, members: list[Bundle]
) -> None:
    cheap, dear, joint = (scored(each, DATA.test) for each in (*members, cascade))
    rows = sorted(joint)
    cuts = [each.thresholds.values for each in members]
    deferred = stored(cascade).deferred(np.array([cheap[row] for row in rows]), cuts[0])
    assert 0 < deferred.sum() < len(rows)
    for row, asked in zip(rows, deferred.tolist(), strict=True):
        expected = dear[row] >= cuts[1] if asked else cheap[row] >= cuts[0]
        assert ((joint[row] >= 0.5) == expected).all()


class Spy:
    """Stands before a scorer and notes what it is asked."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.labels = inner.labels
        self.asked: list[int] = []

    def score(self, documents: Iterable[Document], **options: Any) -> Iterator[ScoreBatch]:
        listed = list(documents)
        self.asked += [each.row for each in listed]
        return iter(list(self.inner.score(listed, **options)))


def test_the_dear_member_is_not_asked_about_the_others(cascade: Bundle) -> None:
    scorer = load_scorer(cascade, CPU)
    assert isinstance(scorer, EnsembleScorer)
    asking = scorer._asking
    assert isinstance(asking, AskDoubtful)
    cheap, dear = Spy(asking.cheap), Spy(asking.dear)
    asking.cheap, asking.dear = cheap, dear
    failures: list[DocumentFailure] = []
    list(scorer.score(DATA.test, on_failure=failures.append))
    assert sorted(cheap.asked) == sorted(each.row for each in DATA.test)
    assert 0 < len(dear.asked) < len(DATA.test) / 2
    assert failures == []


def test_what_shares_a_batch_with_a_document_plays_no_part(cascade: Bundle) -> None:
    together = scored(cascade, DATA.test)
    for one in DATA.test[:12]:
        assert (scored(cascade, [one])[one.row] == together[one.row]).all()


def test_a_document_that_cannot_be_scored_fails_once(cascade: Bundle) -> None:
    failures: list[DocumentFailure] = []
    found = scored(cascade, [document("zzqx qqzw", row=999), DATA.test[0]], failures)
    assert [failure.row for failure in failures] == [999]
    assert list(found) == [DATA.test[0].row]


def test_stored_scores_are_what_the_cascade_scores_and_the_facts_say_what_it_is_worth(
    cascade: Bundle,
) -> None:
    test = read_scores(cascade.path)[("main", "test")]
    found = scored(cascade, DATA.test)
    rows = {each.document_id: each.row for each in DATA.test}
    live = np.array([found[rows[name]] for name in test.document_ids])
    np.testing.assert_allclose(live, test.scores, atol=1e-6)
    facts = read_metrics(cascade)["facts"]
    assert facts["share_wanted"] == 0.3
    assert 0.1 < facts["validation"]["deferred"] < 0.6
    assert set(facts["test"]) == {"deferred", "micro_f1_gain_kept", "macro_f1_gain_kept"}
    assert cascade.thresholds.method == "half"


def test_the_gain_that_is_kept_is_all_of_it_where_the_cheap_member_knows_its_doubts(
    members: list[Bundle],
) -> None:
    truth, cheap, dear = planted()
    truth, cheap, dear = (np.c_[each, each[:, 0]] for each in (truth, cheap, dear))
    cuts = members[0].thresholds.values
    found = fit_cascade(truth, cheap, cuts, labels=members[0].labels, share=0.2, fitted_on="validation")
    combination = Combination(method="cascade", weights=(0.5,) * 4, cascade=found)
    names = [f"d{at}" for at in range(len(truth))]
    parts = [part_of("main", names, truth, each) for each in (cheap, dear)]
    worth = cascade_worth(combination, parts, [members[0], members[0]])
    assert worth["micro_f1_gain_kept"] > 0.9
    turned = cascade_worth(combination, parts[::-1], [members[0], members[0]])
    assert turned["micro_f1_gain_kept"] is None


def test_a_cascade_is_a_bundle_like_any_other(cascade: Bundle, members: list[Bundle], tmp_path: Path) -> None:
    again = make_ensemble(members, name="quick", output=tmp_path / "2", method="cascade", defer_share=0.3)
    assert (again.digest, fingerprint(again)) == (cascade.digest, fingerprint(cascade))
    more = make_ensemble(members, name="quick", output=tmp_path / "3", method="cascade", defer_share=0.5)
    assert fingerprint(more) != fingerprint(cascade)
    tuned = rethreshold_bundle(cascade, method="micro_macro", name="t", output=tmp_path / "t")
    assert sorted(scored(tuned, DATA.test[:3])) == sorted(each.row for each in DATA.test[:3])
    with pytest.raises(BadInput, match="cascade takes two members"):
        make_ensemble([*members, again], name="x", output=tmp_path / "x", method="cascade")


def test_a_cascade_that_does_not_fit_its_labels_is_refused(cascade: Bundle, tmp_path: Path) -> None:
    shutil.copy(cascade.path / "ensemble.json", tmp_path)
    held = json.loads((tmp_path / "ensemble.json").read_text())
    short = {**held["cascade"], "slopes": held["cascade"]["slopes"][1:]}
    for change in ({"cascade": None}, {"cascade": short}, {"method": "and"}):
        (tmp_path / "ensemble.json").write_text(json.dumps({**held, **change}))
        with pytest.raises(BundleUnusable, match=r"does not hold what"):
            read_combination(tmp_path, labels=4)
