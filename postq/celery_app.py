"""The Celery application: early acks, no results, JSON only, and one task name."""

from typing import Any

from celery import Celery

from postq.broker import broker_address
from postq.contracts.device import DeviceKind
from postq.nudges import EXCHANGE, queue_name, worker_queues
from postq.settings import Settings

BROKER_TIMEOUT_SECONDS = 5.0
HEARTBEAT_SECONDS = 30.0
"""RabbitMQ's heartbeat: a dead link is noticed after two of these."""


def make_app(settings: Settings, *, device_kind: DeviceKind) -> Celery:
    """The application of one worker: it listens to `postq.any` and the queue of its device kind.

    A message is only a hint, so it is acknowledged before it is acted on: nothing is redelivered, and
    no visibility or consumer timeout of a broker ever applies to work. Celery's own tasks (`celery.map`,
    `celery.chain`, …) are taken out: no message can make this process do anything but look for work.
    """
    broker, tls = ("memory://localhost", None) if settings.embedded_broker else broker_address(settings)
    app = Celery("postq", broker=broker, set_as_current=False)
    app.conf.update(_configuration(settings, device_kind), broker_use_ssl=tls or False)
    app.finalize()
    for name in [name for name in app.tasks if name.startswith("celery.")]:
        app.tasks.unregister(name)
    return app


def _configuration(settings: Settings, device_kind: DeviceKind) -> dict[str, Any]:
    redis = settings.broker_url.get_secret_value().startswith("redis")
    transport = {"socket_keepalive": True, "health_check_interval": 15} if redis else {}
    return {
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_backend": None,
        "task_ignore_result": True,
        "task_acks_late": False,
        "task_queues": worker_queues(device_kind),
        "task_default_queue": queue_name(device_kind),
        "task_default_exchange": EXCHANGE.name,
        "task_create_missing_queues": False,
        "task_protocol": 2,
        "worker_pool": "threads",
        "worker_concurrency": 1,
        "worker_prefetch_multiplier": 1,
        "worker_send_task_events": False,
        "worker_enable_remote_control": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "broker_connection_timeout": BROKER_TIMEOUT_SECONDS,
        "broker_connection_retry_on_startup": True,
        "broker_connection_retry": True,
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,
        "broker_heartbeat": 0 if settings.embedded_broker else HEARTBEAT_SECONDS,
        "broker_transport_options": transport,
    }
