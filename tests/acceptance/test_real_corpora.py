"""The journey on real corpora, with a real database server and real brokers, and on the embedded default."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.corpora import write_slice
from tests.acceptance.user import User

pytestmark = [pytest.mark.slow, pytest.mark.real_data]
REUTERS = {"train": 800, "val": 150, "test": 300}
FCA = {"train": 90, "val": 25, "test": 25}


def sliced(source: Path, folder: Path, sizes: dict[str, int]) -> Sequence[str]:
    """`--split NAME=FILE` for each official split of a corpus, cut to its first documents."""
    words = []
    for split, documents in sizes.items():
        part = write_slice(source / f"{split}.jsonl.gz", folder / f"{split}.jsonl.gz", documents=documents)
        words += ["--split", f"{split}={part}"]
    return words


def train_evaluate_classify(user: User, corpus: str) -> tuple[Any, Any, Any]:
    """Submit all three at once, the later ones waiting for the first; the three jobs when all have ended."""
    lean = ("--set", "folds=3", "--set", "regularisation=[4.0]")
    trained = user.submits("submit-train", corpus, "--preset", "tfidf", *lean)
    after = ("--bundle", f"job:{trained}", "--after", trained)
    evaluated = user.submits("submit-eval", corpus, *after)
    classified = user.submits("classify-corpus", corpus, *after)
    user.runs("status", "--watch")
    return tuple(user.asks("status", job) for job in (trained, evaluated, classified))  # type: ignore[return-value]


def check_honest(user: User, corpus: str, jobs: tuple[Any, Any, Any], *, micro_f1: float) -> None:
    """All succeeded; tested on the official test split alone; every document predicted once."""
    trained, evaluated, classified = jobs
    facts = user.asks("corpus", "show", corpus)["facts"]
    assert [job["state"] for job in jobs] == ["succeeded"] * 3
    assert trained["bundle"] is not None
    assert evaluated["result"]["documents"] == facts["splits"]["test"]
    assert evaluated["result"]["report"]["tracks"]["all"]["default"]["micro_f1"] > micro_f1
    assert classified["documents"]["predicted"] == facts["documents"]
    assert classified["documents"]["quarantined"] == 0
    check_exported(user, classified["job"], documents=facts["documents"])


def check_exported(user: User, job: int, *, documents: int) -> None:
    """The stored predictions can be read back, each document once."""
    lines = user.runs("predictions", "export", "-", "--format", "csv", "--job", job).out.splitlines()
    assert len(lines) == documents + 1


@pytest.fixture(params=["redis", "rabbitmq"])
def deployed(request: pytest.FixtureRequest, user: User, postgres_url: str) -> User:
    """A user whose postq runs on PostgreSQL and one of the brokers."""
    broker = request.getfixturevalue(f"{request.param}_url")
    ready = user.with_settings(database_url=postgres_url, broker_url=broker, poll_seconds="10")
    ready.runs("db", "upgrade")
    return ready


@pytest.mark.postgres
@pytest.mark.redis
@pytest.mark.rabbitmq
def test_reuters_on_postgresql_with_a_broker(deployed: User, real_corpora: Path, tmp_path: Path) -> None:
    words = sliced(real_corpora / "reuters21578", tmp_path, REUTERS)
    deployed.runs("corpus", "add", "reuters", *words)
    with deployed.working():
        jobs = train_evaluate_classify(deployed, "reuters")
    check_honest(deployed, "reuters", jobs, micro_f1=0.6)


def test_long_judgments_on_the_embedded_default(user: User, real_corpora: Path, tmp_path: Path) -> None:
    user.runs("corpus", "add", "fca", *sliced(real_corpora / "fca_catchphrases", tmp_path, FCA))
    with user.working():
        jobs = train_evaluate_classify(user, "fca")
    check_honest(user, "fca", jobs, micro_f1=0.2)
