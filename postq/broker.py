"""How the broker is reached: over TLS only a server that can prove itself, unless the URL says otherwise."""

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from kombu.connection import Connection

from postq.settings import Settings

_VERIFY: Mapping[str, ssl.VerifyMode] = {
    "required": ssl.CERT_REQUIRED,
    "optional": ssl.CERT_OPTIONAL,
    "none": ssl.CERT_NONE,
}
"""Values of `ssl_cert_reqs` in a URL; anything else counts as required."""


def broker_address(settings: Settings) -> tuple[str, dict[str, Any] | None]:
    """The URL for kombu and, for RabbitMQ over TLS, the options its driver takes apart from the URL.

    Left to themselves the drivers take any certificate (`rediss://`), or that of any host (`amqps://`). Both
    kinds of URL understand `ssl_cert_reqs` (required, optional, none) and `ssl_ca_certs` (a file).
    """
    url = settings.broker_url.get_secret_value()
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    if parts.scheme == "rediss":
        query.setdefault("ssl_cert_reqs", "required")
        return urlunsplit(parts._replace(query=urlencode(query, safe="/"))), None
    if parts.scheme != "amqps":
        return url, None
    mode = _VERIFY.get(
        query.pop("ssl_cert_reqs", "required").lower().removeprefix("cert_"), ssl.CERT_REQUIRED
    )
    options: dict[str, Any] = {"cert_reqs": mode, "ca_certs": query.pop("ssl_ca_certs", None)}
    if mode is not ssl.CERT_NONE:
        options["server_hostname"] = parts.hostname
    return urlunsplit(parts._replace(query=urlencode(query))), options


def broker_connection(settings: Settings, *, timeout_seconds: float, **transport_options: Any) -> Connection:
    """A connection, not yet open; to be closed by the caller."""
    url, options = broker_address(settings)
    return Connection(
        url, ssl=options or False, connect_timeout=timeout_seconds, transport_options=transport_options
    )
