"""Nudges are sent beside the work, one at a time, and hold up neither the work nor the worker's end."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from postq.settings import Settings
from postq.worker import nudging as nudging_module
from postq.worker.nudging import Nudging


class SilentBroker:
    """A broker that answers when it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers = threading.Semaphore(0)

    def nudge(self, settings: Settings, *, device_kind: str) -> bool:
        assert device_kind == "any"
        self.asked += 1
        return self.answers.acquire(timeout=30)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> SilentBroker:
    made = SilentBroker()
    monkeypatch.setattr(nudging_module, "nudge", made.nudge)
    return made


@pytest.fixture
def with_broker(settings: Settings) -> Settings:
    return settings.model_copy(update={"broker_url": SecretStr("redis://127.0.0.1:1/0")})


def test_a_broker_that_does_not_answer_holds_nobody_up_and_is_asked_once_more_for_many(
    broker: SilentBroker, with_broker: Settings, wait_until: Callable[..., Any]
) -> None:
    nudging = Nudging(with_broker)
    nudging.others()
    wait_until(lambda: broker.asked == 1)
    for _ in range(5):
        nudging.others()
    nudging.wait(0.01)
    assert broker.asked == 1
    broker.answers.release(2)
    nudging.wait(30)
    assert broker.asked == 2
    broker.answers.release()
    nudging.others()
    nudging.wait(30)
    assert broker.asked == 3


def test_without_a_broker_there_is_nothing_to_send(broker: SilentBroker, settings: Settings) -> None:
    nudging = Nudging(settings)
    nudging.others()
    nudging.wait()
    assert broker.asked == 0
