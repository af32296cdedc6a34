"""TLS to PostgreSQL and Redis is used when asked for, and a server that cannot prove itself is refused."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
import sqlalchemy as sa

from postq.db import open_database
from postq.errors import DatabaseUnavailable
from postq.nudges import nudge, queue_name
from postq.settings import load_settings
from tests.certificates import make_certificates
from tests.faults.servers import PrivatePostgres, Server, free_port, running
from tests.services import missing


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a self-signed certificate for 127.0.0.1 and, as `other.crt`, one of somebody else."""
    folder = tmp_path_factory.mktemp("tls")
    make_certificates(folder)
    return folder


class TlsRedis(Server):
    """Redis that speaks TLS only and wants a password."""

    def __init__(self, folder: Path, certificate: Path) -> None:
        program = shutil.which("redis-server") or missing("A redis-server program", "not installed")
        self.port = free_port()
        self.authority = certificate / "server.crt"
        command = [
            *(program, "--port", "0", "--tls-port", str(self.port), "--bind", "127.0.0.1"),
            *("--tls-cert-file", str(self.authority), "--tls-key-file", str(certificate / "server.key")),
            *("--tls-ca-cert-file", str(self.authority), "--tls-auth-clients", "no"),
            *("--requirepass", "hunter2hunter2", "--save", "", "--dir", str(folder)),
        ]
        super().__init__(command, answers=self._answers_ping, log=folder / "redis.log")

    def url(self, *, authority: Path) -> str:
        options = f"ssl_ca_certs={authority}"
        return f"rediss://:hunter2hunter2@127.0.0.1:{self.port}/0?{options}"

    def _answers_ping(self) -> bool:
        try:
            with redis.Redis.from_url(self.url(authority=self.authority)) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


@pytest.fixture
def tls_redis(tmp_path: Path, certificate: Path) -> Iterator[TlsRedis]:
    server = TlsRedis(tmp_path, certificate)
    with running(server):
        yield server


@pytest.mark.redis
def test_a_nudge_travels_over_tls(tls_redis: TlsRedis) -> None:
    url = tls_redis.url(authority=tls_redis.authority)
    assert nudge(load_settings(broker_url=url), device_kind="cpu")
    with redis.Redis.from_url(url) as client:
        assert client.llen(queue_name("cpu")) == 1


@pytest.mark.redis
def test_a_redis_whose_certificate_nobody_vouches_for_is_given_no_password(
    tls_redis: TlsRedis, certificate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = tls_redis.url(authority=certificate / "other.crt")
    assert not nudge(load_settings(broker_url=url), device_kind="cpu")
    assert "hunter2" not in "".join(capsys.readouterr())


@pytest.mark.redis
def test_a_redis_is_not_taken_on_trust_because_the_url_names_no_authority(tls_redis: TlsRedis) -> None:
    plain = tls_redis.url(authority=tls_redis.authority).partition("?")[0]
    assert not nudge(load_settings(broker_url=plain), device_kind="cpu")
    assert nudge(load_settings(broker_url=f"{plain}?ssl_cert_reqs=none"), device_kind="cpu")


@pytest.fixture
def tls_postgres(certificate: Path) -> Iterator[PrivatePostgres]:
    """A PostgreSQL that speaks TLS and nothing else over TCP, and wants a password."""
    with tempfile.TemporaryDirectory(prefix="postq-tls-") as folder:  # one the user postgres may enter
        server = PrivatePostgres(Path(folder))
        speak_tls_only(server, certificate)
        with running(server):
            (server.data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")
            with psycopg.connect(server.url.replace("+psycopg", ""), autocommit=True) as admin:
                admin.execute(f"ALTER USER postgres PASSWORD '{PASSWORD}'")
                admin.execute("SELECT pg_reload_conf()")
            server.url = server.url.replace("postgres@", f"postgres:{PASSWORD}@")
            yield server


def speak_tls_only(server: PrivatePostgres, certificate: Path) -> None:
    owner = server.data.stat()
    for name in ("server.crt", "server.key"):
        copy = server.data / name
        copy.write_bytes((certificate / name).read_bytes())
        copy.chmod(0o600)
        shutil.chown(copy, owner.st_uid, owner.st_gid)
    with (server.data / "postgresql.auto.conf").open("a") as settings:
        settings.write("ssl = on\n")


PASSWORD = "hunter2hunter2"


def speaks_tls(url: str) -> bool:
    database = open_database(load_settings(database_url=url))
    try:
        with database.reading() as session:
            query = sa.text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            return bool(session.execute(query).scalar_one())
    finally:
        database.dispose()


@pytest.mark.postgres
def test_the_options_of_the_database_url_reach_the_driver(
    tls_postgres: PrivatePostgres, certificate: Path
) -> None:
    verified = f"{tls_postgres.url}?sslmode=verify-full&sslrootcert={certificate / 'server.crt'}"
    assert speaks_tls(verified)
    for options, reason in (
        (f"sslmode=verify-full&sslrootcert={certificate / 'other.crt'}", "certificate verify failed"),
        ("sslmode=disable", "no encryption"),
    ):
        with pytest.raises(DatabaseUnavailable, match=reason) as refused:
            speaks_tls(f"{tls_postgres.url}?{options}")
        assert PASSWORD not in f"{refused.value}{refused.value.hint}"
    wrong = verified.replace(PASSWORD, "guessed-guessed")
    with pytest.raises(DatabaseUnavailable, match="password authentication failed") as refused:
        speaks_tls(wrong)
    assert "guessed-guessed" not in f"{refused.value}{refused.value.hint}"
