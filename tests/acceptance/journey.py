"""The main job as a user lives it: corpus, training, evaluation, classification, alias, nightly schedule."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.acceptance.user import Answer, User

DOCUMENTS = 160
NEW = 20


@dataclass(frozen=True, kw_only=True)
class Journey:
    """The user at the end, and what was said on the way."""

    user: User
    added: Answer
    submitted: Answer
    trained: Answer
    evaluated: Answer
    classified: Answer
    nothing_new: Answer
    only_new: Answer


def live_through(user: User) -> Journey:
    """Every step with `--wait`, so that its exit code is the job's."""
    folder = user.home.parent
    _synthesize(user, "opinions.jsonl.gz", documents=DOCUMENTS, seed=3)
    added = user.runs("corpus", "add", "opinions", "opinions.jsonl.gz")
    submitted = user.runs("submit-train", "opinions", "--preset", "tfidf", "--idempotency-key", "first")
    with user.working():
        trained = user.runs(
            *("submit-train", "opinions", "--preset", "tfidf", "--idempotency-key", "first", "--wait")
        )
        evaluated = user.runs("submit-eval", "opinions", "--bundle", "job:1", "--wait")
        user.runs("bundles", "alias", "@production", "job:1")
        classified = user.runs("classify-corpus", "opinions", "--bundle", "@production", "--wait")
        user.runs(*_nightly())
        nothing_new = user.runs("schedule", "run-now", "nightly", "--wait")
        _synthesize(user, "new.jsonl.gz", documents=NEW, seed=4)
        user.runs("corpus", "add", "opinions", folder / "opinions.jsonl.gz", folder / "new.jsonl.gz")
        only_new = user.runs("schedule", "run-now", "nightly", "--wait")
    return Journey(
        user=user,
        added=added,
        submitted=submitted,
        trained=trained,
        evaluated=evaluated,
        classified=classified,
        nothing_new=nothing_new,
        only_new=only_new,
    )


def _synthesize(user: User, name: str, *, documents: int, seed: int) -> None:
    user.home.parent.mkdir(parents=True, exist_ok=True)
    sizes = ("--documents", documents, "--median-words", 200)
    user.runs("corpus", "synthesize", name, *sizes, "--seed", seed)


def _nightly() -> Sequence[str]:
    when = ("--cron", "0 2 * * *", "--tz", "Europe/Berlin")
    return ("schedule", "add", "nightly", *when, "--corpus", "opinions", "--bundle", "@production")
