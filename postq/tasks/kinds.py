"""The one table from a kind of job to the code that runs it; each kind is imported when it is needed."""

from typing import Any

from postq.contracts.runner import RunRequest
from postq.contracts.specs import JobKind
from postq.learning.hooks import Hooks
from postq.tasks.resident import Resident


def run(request: RunRequest, *, hooks: Hooks, resident: Resident) -> dict[str, Any]:
    """Do the work of one attempt, in the runner; returns the small facts of its result.

    Raises hooks.StopRequested after a clean stop, and whatever the work raises.
    """
    if request.spec.kind is JobKind.TRAIN:
        from postq.tasks import train

        return train.run(request, request.spec, hooks=hooks, resident=resident)
    if request.spec.kind is JobKind.EVALUATE:
        from postq.tasks import evaluate

        return evaluate.run(request, request.spec, hooks=hooks, resident=resident)
    from postq.tasks import classify

    return classify.run(request, request.spec, hooks=hooks, resident=resident)
