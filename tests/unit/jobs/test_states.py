"""The state machines: every state is explained, reachable and drawn as it is."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from postq.contracts.failure import FailureClass
from postq.jobs.retries import POLICIES, Budget
from postq.jobs.states import (
    JOB_EDGES,
    JOB_MEANING,
    JOB_TERMINAL,
    SHARD_EDGES,
    SHARD_MEANING,
    SHARD_OPEN,
    IllegalMove,
    move_jobs,
    move_shards,
)
from postq.models.job import JobState
from postq.models.shard import ShardState

MACHINES = [
    pytest.param("Job", JobState, JOB_EDGES, JOB_MEANING, {"blocked", "ready"}, id="job"),
    pytest.param("Shard", ShardState, SHARD_EDGES, SHARD_MEANING, {"ready"}, id="shard"),
]


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "state_machine.md").read_text(encoding="utf-8")


def section(page: str, title: str) -> str:
    return re.split(r"^## ", page, flags=re.MULTILINE)[1:][["Job", "Shard"].index(title)]


@pytest.mark.parametrize(("title", "states", "edges", "meaning", "first"), MACHINES)
def test_the_drawing_shows_the_edges_of_the_table(
    page: str, title: str, states: Any, edges: Any, meaning: Any, first: set[str]
) -> None:
    drawn = re.findall(r"^    (\S+) --> (\w+)(?:: (.+))?$", section(page, title), flags=re.MULTILINE)
    starts = {target for source, target, _ in drawn if source == "[*]"}
    arrows = {(source, target): why for source, target, why in drawn if source != "[*]"}
    assert starts == first
    assert arrows == {(source.value, target.value): why for (source, target), why in edges.items()}


@pytest.mark.parametrize(("title", "states", "edges", "meaning", "first"), MACHINES)
def test_the_page_explains_every_state_in_the_words_of_the_code(
    page: str, title: str, states: Any, edges: Any, meaning: Any, first: set[str]
) -> None:
    told = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", section(page, title), flags=re.MULTILINE))
    assert {state: told.get(state.value) for state in states} == dict(meaning)


@pytest.mark.parametrize(("title", "states", "edges", "meaning", "first"), MACHINES)
def test_every_state_can_be_reached(
    page: str, title: str, states: Any, edges: Any, meaning: Any, first: set[str]
) -> None:
    reached = {states(name) for name in first}
    while more := {target for source, target in edges if source in reached} - reached:
        reached |= more
    assert reached == set(states)


def test_open_shards_can_end_and_ended_jobs_move_only_by_a_retry() -> None:
    for state in SHARD_OPEN:
        assert any(source is state for source, _ in SHARD_EDGES)
    for (source, _), why in JOB_EDGES.items():
        assert (source in JOB_TERMINAL) == why.startswith("retry")


def test_the_page_names_every_class_of_failure_with_its_budget(page: str) -> None:
    rows = re.findall(r"^\| (`.+`) \| ([^|]+) \| [^|]+ \|[^|]*\|$", page, flags=re.MULTILINE)
    told = {name: budget for names, budget in rows for name in re.findall(r"`(\w+)`", names)}
    words = {
        Budget.RETRY: "retry budget",
        Budget.CRASH: "crash budget",
        Budget.OTHERS: "live workers",
        Budget.NONE: "nothing",
    }
    expected = {failure.value: words[policy.budget] for failure, policy in POLICIES.items()}
    assert told == {**expected, "nan_loss": "one retry"}
    assert set(POLICIES) == set(FailureClass)


def test_a_move_that_is_no_edge_is_a_bug_and_reaches_no_database() -> None:
    now = datetime.now(tz=UTC)
    session: Any = None
    with pytest.raises(IllegalMove):
        move_jobs(session, source=JobState.SUCCEEDED, target=JobState.READY, now=now, reason="")
    with pytest.raises(IllegalMove):
        move_shards(session, source=ShardState.DONE, target=ShardState.LEASED, now=now)
