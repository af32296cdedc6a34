"""The sentences at the head of a report: what the figure is, on what, how sure, and who wins."""

from collections.abc import Mapping
from typing import Any

from postq.reports.content import PLACES, Verdict
from postq.reports.estimate import Estimate, estimate

NOT_LOOKED_FOR = "Whether some are near-duplicates of documents it was trained or tuned on is not known."


def headline(
    name: str, facts: Mapping[str, Any], *, on: str, documents: int, twins: str, leaked: bool
) -> str:
    """`facts` are those of the default cut on all documents; `twins` says which have one it has seen."""
    micro = estimate(facts["micro_f1"], facts.get("micro_f1_interval"))
    macro = estimate(facts["macro_f1"], facts.get("macro_f1_interval"))
    return (
        f"On {documents:,} {_place(on, leaked=leaked)}, {name} reaches micro-F1 {_with_interval(micro)} and "
        f"macro-F1 {_with_interval(macro)} at its default thresholds. {twins}"
    ).rstrip()


def twins(number: int, *, at_most: bool) -> str:
    """How many documents judged have a near-duplicate among those learned from; nothing where none has."""
    if not number:
        return ""
    if at_most:
        return f"At most {number:,} of these have a near-duplicate among those it was trained or tuned on."
    if number == 1:
        return "One of these documents is a near-duplicate of one it was trained or tuned on."
    return f"{number:,} of these documents are near-duplicates of ones it was trained or tuned on."


def _with_interval(figure: Estimate) -> str:
    if not figure.known:
        return figure.words()
    return f"{figure.words().split(' ')[0]} (95\u00a0% interval {figure.interval()})"


def _place(on: str, *, leaked: bool) -> str:
    if leaked:
        return f"documents of {PLACES.get(on, on)}, some of which it was trained or tuned on"
    return {
        "test": "test documents that neither training nor tuning saw",
        "validation": "validation documents, which tuning has seen,",
        "all": "documents of a corpus it was not trained on",
    }.get(on, f"documents of {PLACES.get(on, on)}")


def verdict(against: Mapping[str, Any] | None, *, name: str) -> Verdict | None:
    """Who wins on the test split; None when no baseline was trained or there is no test split."""
    if not against:
        return None
    micro, macro = (against[f"{metric}_f1"] for metric in ("micro", "macro"))
    found = [estimate(one["difference"], one["interval"]) for one in (micro, macro)]
    sentence = " ".join(
        _outcome(metric, one, clear=bool(facts["clear"]), name=name)
        for metric, one, facts in (("micro-F1", found[0], micro), ("macro-F1", found[1], macro))
    )
    return Verdict(
        micro=found[0],
        macro=found[1],
        sentence=sentence,
        micro_clear=bool(micro["clear"]),
        macro_clear=bool(macro["clear"]),
    )


def _outcome(metric: str, difference: Estimate, *, clear: bool, name: str) -> str:
    told = f"{difference.words(sign=True)}"
    if not clear:
        return f"In {metric} no winner can be named: the difference of {told} has an interval that holds 0."
    winner = name if (difference.value or 0) > 0 else "the TF-IDF baseline"
    return f"In {metric} {winner} wins: the paired difference is {told}, and its interval excludes 0."


def baseline_sentence(metrics: Mapping[str, Any], *, kind: str, on: str | None) -> str:
    """What stands beside the model, or why nothing does; `on` None: on documents the baseline was not."""
    baseline = metrics.get("baseline")
    if kind == "tfidf":
        return "This is a TF-IDF model, the baseline itself; no second model was trained beside it."
    if not baseline and kind != "encoder":
        return "No baseline was trained beside this bundle."
    if not baseline:
        return (
            "No baseline was trained beside this encoder (--no-baseline): nothing says what TF-IDF would do."
        )
    judged = baseline.get(on) if on is not None else None
    found = (judged or {}).get("tracks", {}).get("all", {}).get("default")
    if not found:
        return "The TF-IDF baseline trained on the same split has no figures on these documents."
    micro = estimate(found["micro_f1"], found.get("micro_f1_interval"))
    macro = estimate(found["macro_f1"], found.get("macro_f1_interval"))
    return (
        f"The TF-IDF baseline, trained on the same split and {_tuned(metrics, baseline)}, reaches "
        f"micro-F1 {_with_interval(micro)} and macro-F1 {_with_interval(macro)}."
    )


def _tuned(metrics: Mapping[str, Any], baseline: Mapping[str, Any]) -> str:
    """The thresholds of a bundle may have been tuned anew, by another method; the baseline's stay."""
    own, theirs = metrics["tuning"]["method"], baseline["tuning"]["method"]
    return "tuned by the same procedure" if own == theirs else f"tuned by {theirs} where this is by {own}"
