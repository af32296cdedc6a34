"""The runner hears what comes next while it computes, and forgets it once something else has come."""

import io
from pathlib import Path

import pytest

from postq.contracts.record import Record
from postq.contracts.runner import RunRequest, StopRequest, UpcomingRequest
from postq.contracts.specs import ClassifySpec
from postq.worker.channel import Inbox
from tests.unit.worker.scene import CPU


def request(shard: int) -> RunRequest:
    return RunRequest(
        job_id=1,
        shard_id=shard,
        token=1,
        spec=ClassifySpec(corpus_id=1, bundle="1"),
        snapshot=Path("snapshot"),
        start_row=0,
        stop_row=10,
        device=CPU,
        output=Path("output"),
    )


def heard(monkeypatch: pytest.MonkeyPatch, *messages: Record) -> Inbox:
    """An inbox that has read all of these; the supervisor's end alone would end the process."""
    monkeypatch.setattr("postq.worker.channel.end_group", lambda: None)
    lines = b"".join(message.model_dump_json().encode() + b"\n" for message in messages)
    inbox = Inbox(io.BytesIO(lines))
    inbox._read()
    return inbox


def test_what_comes_next_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    inbox = heard(monkeypatch, request(1), UpcomingRequest(request=request(2)))
    assert inbox.next_request() == request(1)
    assert inbox.take_upcoming() == request(2)
    assert inbox.take_upcoming() is None
    assert inbox.next_request() is None


def test_what_was_to_come_is_forgotten_with_the_next_request(monkeypatch: pytest.MonkeyPatch) -> None:
    inbox = heard(monkeypatch, request(1), UpcomingRequest(request=request(2)), request(2))
    assert inbox.take_upcoming() is None
    assert [inbox.next_request(), inbox.next_request()] == [request(1), request(2)]


def test_word_of_a_stop_and_of_what_comes_next_do_not_hide_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inbox = heard(monkeypatch, request(1), UpcomingRequest(request=request(2)), StopRequest())
    assert inbox.stop_requested.is_set()
    assert inbox.take_upcoming() == request(2)
