"""Detectors that look at what a model predicts: too little, too much, or thresholds that flatter."""

from postq.counted import counted
from postq.learning.detectors.detection import Detection, Matrix, Scores
from postq.learning.metrics.ranking import mean_average_precision

SHY_SHARE = 0.1
LOUD_SHARE = 1.8
RANKING_LIFT = 2.0
"""Mean average precision this many times that of random ranking counts as ranking well."""
THRESHOLD_GAP = 0.05


def detect_shy(truth: Matrix, predicted: Matrix, scores: Scores) -> Detection | None:
    """SHY: at most a tenth of the true number of labels is predicted. (docs, labels) each.

    Says whether the ranking is fine, because then thresholds are at fault and not the model.
    """
    wanted, given = int(truth.sum()), int(predicted.sum())
    if wanted == 0 or given > SHY_SHARE * wanted:
        return None
    ranking, chance = mean_average_precision(truth, scores) or 0.0, _chance_precision(truth)
    fine = ranking >= RANKING_LIFT * chance
    advice = "The ranking is fine: lower the thresholds." if fine else "The ranking is poor too: train more."
    return Detection(
        event="SHY",
        severity="warning",
        message=f"{_predicted(given, wanted)} {advice}",
        data={"predicted": given, "true": wanted, "map": ranking, "chance_map": chance, "ranking_fine": fine},
    )


def detect_loud(truth: Matrix, predicted: Matrix) -> Detection | None:
    """LOUD: at least 1.8 times the true number of labels is predicted. (docs, labels) each."""
    wanted, given = int(truth.sum()), int(predicted.sum())
    if wanted == 0 or given < LOUD_SHARE * wanted:
        return None
    return Detection(
        event="LOUD",
        severity="warning",
        message=f"{_predicted(given, wanted)} Raise or tune the thresholds; a positive weight in the loss "
        "shifts every logit upwards.",
        data={"predicted": given, "true": wanted, "ratio": given / wanted},
    )


def detect_threshold_overfit(*, resubstituted_f1: float, cross_fitted_f1: float) -> Detection | None:
    """THRESHOLD_OVERFIT: F1 on the tuning documents exceeds its cross-fitted estimate by over 0.05."""
    gap = resubstituted_f1 - cross_fitted_f1
    if gap <= THRESHOLD_GAP:
        return None
    return Detection(
        event="THRESHOLD_OVERFIT",
        severity="warning",
        message=f"Thresholds give F1 {resubstituted_f1:.3f} on the documents they were tuned on, but "
        f"{cross_fitted_f1:.3f} cross-fitted. Use bagged, shrunk or global thresholds.",
        data={"resubstituted_f1": resubstituted_f1, "cross_fitted_f1": cross_fitted_f1, "gap": gap},
    )


def _predicted(given: int, wanted: int) -> str:
    return f"The model predicts {counted(given, 'label')} where {counted(wanted, 'is', 'are')} true."


def _chance_precision(truth: Matrix) -> float:
    share = truth.mean(axis=0)
    return float(share[share > 0].mean())
