"""Logs say what happened, name their component, and never show a secret."""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from postq.logs import configure_logging, mask_secrets
from postq.settings import Settings

PASSWORD = "s3cr%40t-Pass"
DECODED = "s3cr@t-Pass"


@pytest.fixture
def log() -> Iterator[Callable[..., io.StringIO]]:
    """Sets logging up with the given settings and returns the stream it writes to."""
    logging.captureWarnings(False)

    def start(**settings: Any) -> io.StringIO:
        stream = io.StringIO()
        configure_logging(Settings(**settings), component="worker", stream=stream)
        return stream

    yield start
    logging.captureWarnings(False)


def secret_settings(**more: Any) -> dict[str, Any]:
    return {
        "database_url": SecretStr(f"postgresql+psycopg://postq:{PASSWORD}@db/postq"),
        "broker_url": SecretStr("redis://:another-secret@broker:6379/0"),
        **more,
    }


def test_a_json_line_carries_the_sentence_its_fields_level_time_and_component(log: Any) -> None:
    stream = log(log_format="json")
    structlog.get_logger().info("Shard claimed", shard_id=7, token=3)
    line = json.loads(stream.getvalue())
    assert line["event"] == "Shard claimed"
    assert (line["shard_id"], line["token"], line["level"]) == (7, 3, "info")
    assert line["component"] == "worker"
    assert line["timestamp"].endswith("Z")


def test_bound_context_appears_on_later_lines(log: Any) -> None:
    stream = log(log_format="json")
    with structlog.contextvars.bound_contextvars(job_id=12):
        structlog.get_logger().info("Renewed")
    assert json.loads(stream.getvalue())["job_id"] == 12


def test_standard_logging_goes_the_same_way_and_is_masked_too(log: Any) -> None:
    stream = log(**secret_settings(log_format="json"))
    logging.getLogger("some.library").warning("Connecting to redis://:%s@broker", "another-secret")
    line = json.loads(stream.getvalue())
    assert line["event"] == "Connecting to redis://:***@broker"
    assert line["component"] == "worker"


def test_a_librarys_warning_is_a_line_like_any_other(log: Any) -> None:
    stream = log(**secret_settings(log_format="json"))
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.warn("redis://:another-secret@broker is slow", UserWarning, stacklevel=1)
    line = json.loads(stream.getvalue())
    assert (line["component"], line["level"]) == ("worker", "warning")
    assert "UserWarning: redis://:***@broker is slow" in line["event"]


def test_lines_below_the_level_are_dropped(log: Any) -> None:
    stream = log(log_level="warning")
    structlog.get_logger().info("unimportant")
    structlog.get_logger().warning("important")
    assert "unimportant" not in stream.getvalue()
    assert "important" in stream.getvalue()


def test_the_libraries_that_chatter_are_heard_from_warnings_on(log: Any) -> None:
    stream = log(log_level="info")
    logging.getLogger("kombu.connection").info("chatter")
    logging.getLogger("kombu.connection").warning("trouble")
    assert "chatter" not in stream.getvalue()
    assert "trouble" in stream.getvalue()


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_form_of_a_configured_password_reaches_the_log(log: Any, log_format: str) -> None:
    settings = secret_settings(log_format=log_format)
    stream = log(**settings)
    logger = structlog.get_logger()
    logger.info(f"login refused for {DECODED}", url=settings["database_url"].get_secret_value())
    logger.info("nested", data={"where": [f"x {PASSWORD} y"]}, secret_object=settings["broker_url"])
    logger.info("plain field", password="hunter2", details={"api_key": "abc"})
    logger.info("settings", settings=Settings(**settings))
    try:
        raise RuntimeError(f"could not connect: password={DECODED} host=db")
    except RuntimeError:
        logger.exception("Database trouble")
        logging.getLogger("library").exception("Database trouble")
    text = stream.getvalue()
    assert "Database trouble" in text
    assert "RuntimeError" in text
    for secret in (PASSWORD, DECODED, "another-secret", "hunter2", "abc"):
        assert secret not in text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("redis://:pw@h:6379/0", "redis://:***@h:6379/0"),
        ("amqp://u:p@ss@h//", "amqp://u:***@h//"),
        ("postgresql+psycopg://u@h/db", "postgresql+psycopg://u@h/db"),
        ("sqlite:////home/a/postq.db", "sqlite:////home/a/postq.db"),
        ("host=h password=pw user=u", "host=h password=*** user=u"),
        ("see https://example.org/a:b and mail a@b.org", "see https://example.org/a:b and mail a@b.org"),
        ("lease token=4", "lease token=4"),
    ],
)
def test_masking_hides_passwords_and_nothing_else(text: str, masked: str) -> None:
    assert mask_secrets(text) == masked


def test_a_short_password_does_not_blot_out_ordinary_words(log: Any) -> None:
    stream = log(database_url=SecretStr("postgresql://u:job@h/db"), log_format="json")
    structlog.get_logger().info("job done", url="postgresql://u:job@h/db")
    line = json.loads(stream.getvalue())
    assert line["event"] == "job done"
    assert line["url"] == "postgresql://u:***@h/db"


def test_nothing_is_written_to_standard_output(log: Any, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(), component="cli")
    structlog.get_logger().warning("to the error stream")
    out, err = capsys.readouterr()
    assert out == ""
    assert "to the error stream" in err
