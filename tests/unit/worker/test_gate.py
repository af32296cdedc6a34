"""Only a plain nudge passes the gate; everything else is acknowledged away and counted."""

import json
from functools import partial
from typing import Any

import pytest
from kombu.message import Message

from postq.celery_app import make_app
from postq.nudges import TASK_NAME
from postq.settings import Settings
from postq.worker.gate import MAX_BODY_BYTES, Gate, GatedConsumer

PLAIN_BODY = [[], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]


class FakeMessage(Message):
    """A real kombu message whose acknowledgement can be seen."""

    acked_away = False

    def ack_log_error(self, *args: Any, **kwargs: Any) -> None:
        self.acked_away = True


def message(body: Any = PLAIN_BODY, *, content_type: str = "application/json", **headers: Any) -> FakeMessage:
    text = body if isinstance(body, str) else json.dumps(body)
    given = {"task": TASK_NAME, "id": "one", **headers}
    return FakeMessage(body=text, content_type=content_type, content_encoding="utf-8", headers=given)


def test_a_nudge_passes() -> None:
    gate, nudge = Gate(), message(eta=None, expires=None)
    assert gate.lets_through(nudge)
    assert (gate.dropped, nudge.acked_away) == (0, False)


@pytest.mark.parametrize(
    "hostile",
    [
        message(task="celery.map"),
        message(task=None),
        message(task=["postq.nudge"]),
        message(id=None),
        message(id="x" * 10_000),
        message(content_type="application/x-python-serialize"),
        message(content_type="application/x-yaml"),
        message(body=[["os.system"], {}, {}]),
        message(body=[[], {"rows": 1}, {}]),
        message(body=[[], {}, {"callbacks": [{"task": "other"}]}]),
        message(body=[[], {}, {"chain": [{"task": "other"}]}]),
        message(body={"task": TASK_NAME}),
        message(body="not json"),
        message(body="[" * 1000),
        message(body=json.dumps([[], {}, {}]) + " " * MAX_BODY_BYTES),
        message(eta="2999-01-01T00:00:00+00:00"),
        message(expires=10),
        message(group="g"),
        message(compression="application/x-gzip"),
    ],
)
def test_anything_else_is_dropped_and_counted(hostile: FakeMessage) -> None:
    gate = Gate()
    assert not gate.lets_through(hostile)
    assert (gate.dropped, hostile.acked_away) == (1, True)


def test_a_broker_that_refuses_after_it_let_us_in_is_soon_asked_again() -> None:
    pauses: list[float] = []
    app = make_app(Settings(), device_kind="cpu")
    consumer_cls = partial(GatedConsumer, gate=Gate(), pause=pauses.append)
    consumer = app.WorkController(consumer_cls=consumer_cls, without_gossip=True, pool_cls="solo").consumer
    for _ in range(8):
        consumer.on_connection_error_before_connected(ConnectionError("ACCESS_REFUSED"))
    consumer.on_ready()
    consumer.on_connection_error_before_connected(ConnectionError("ACCESS_REFUSED"))
    assert pauses[7] >= 30
    assert pauses[8] <= 0.5
