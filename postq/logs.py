"""Log set-up of every process: a sentence plus fields, for people or for collectors, never with a secret."""

import logging
import re
import sys
from collections.abc import Iterable
from typing import Any, TextIO
from urllib.parse import unquote

import structlog
from pydantic import SecretStr
from structlog.typing import EventDict, Processor, WrappedLogger

from postq.settings import Settings

MASK = "***"
SECRET_FIELDS = frozenset({"password", "passwd", "secret", "api_key", "authorization"})
"""Fields masked whatever they hold. A lease's `token` is a counter, not a secret, and stays readable."""
SHORTEST_LITERAL = 6
"""Passwords shorter than this are masked in URLs and settings only: as bare text they would hit words."""

_URL_PASSWORD = re.compile(r"(?P<head>[a-z][a-z0-9+.-]*://[^\s:/@\"']*):[^\s\"']*@", re.IGNORECASE)
_PASSWORD_PAIR = re.compile(r"(?P<head>\b(?:password|passwd|pwd)\s*[=:]\s*)[^\s,;&)\"']+", re.IGNORECASE)
_NOISY = ("alembic", "amqp", "celery.redirected", "kombu", "urllib3")


def configure_logging(settings: Settings, *, component: str, stream: TextIO | None = None) -> None:
    """Send structlog, standard logging and Python's warnings to `stream`, in the settings' format and level.

    The default stream is stderr. Every line names the `component` (such as `worker` or `runner`). Standard
    output is never used: it belongs to the CLI's answers and to the runner's messages. Calling it again
    replaces the set-up.
    """
    target = stream or sys.stderr
    shared = _shared_processors(component, secrets=_passwords_of(settings))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _renderer(settings.log_format, colours=target.isatty()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    logging.captureWarnings(True)
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))


def mask_secrets(text: str, *, secrets: Iterable[str] = ()) -> str:
    """`text` without the passwords of URLs, of `password=…` pairs, and without any of `secrets`."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    text = _URL_PASSWORD.sub(rf"\g<head>:{MASK}@", text)
    return _PASSWORD_PAIR.sub(rf"\g<head>{MASK}", text)


def _shared_processors(component: str, *, secrets: tuple[str, ...]) -> list[Processor]:
    """The steps before rendering. Tracebacks become text before masking, so that they are masked too."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _Component(component),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _Masker(secrets),
    ]


def _renderer(log_format: str, *, colours: bool) -> Processor:
    if log_format == "json":
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(colors=colours)


def _passwords_of(settings: Settings) -> tuple[str, ...]:
    """The passwords inside the settings' URLs, as written and percent-decoded, longest first."""
    urls = [secret.get_secret_value() for _, secret in settings if isinstance(secret, SecretStr)]
    found = {form for url in urls for form in _forms(_password_of(url)) if len(form) >= SHORTEST_LITERAL}
    return tuple(sorted(found, key=len, reverse=True))


def _password_of(url: str) -> str:
    """What stands between the user's colon and the last `@` of the address; empty when there is none."""
    _, _, rest = url.partition("://")
    login, at, _ = rest.rpartition("@")
    return login.partition(":")[2] if at else ""


def _forms(password: str) -> tuple[str, str]:
    return password, unquote(password)


class _Component:
    """Adds the component's name to every line."""

    def __init__(self, component: str) -> None:
        self._component = component

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("component", self._component)
        return event


class _Masker:
    """Masks secrets in every field of a line, however deeply nested."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._secrets = secrets

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        for field in list(event):
            if not field.startswith("_"):  # structlog's own bookkeeping, never rendered
                event[field] = self._masked_field(field, event[field])
        return event

    def _masked_field(self, field: str, value: Any) -> Any:
        return MASK if field.lower() in SECRET_FIELDS else self._masked(value)

    def _masked(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, SecretStr):
            return MASK
        if isinstance(value, dict):
            return {key: self._masked_field(str(key), item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._masked(item) for item in value]
        return mask_secrets(str(value), secrets=self._secrets)
