"""The commands, settings and health checks of compose.yaml, executed against servers of this machine."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from tests.integration.compose import native
from tests.integration.compose.composition import compose, env_file

ROOT = Path(__file__).resolve().parents[3]

pytestmark = [pytest.mark.postgres, pytest.mark.redis]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[native.Machine]:
    """A machine for the composition, with passwords as `deploy/make-env` writes them."""
    target = tmp_path_factory.mktemp("env") / ".env"
    subprocess.run(["sh", ROOT / "deploy" / "make-env", target], check=True, capture_output=True)
    with native.machine(compose(ROOT / "compose.yaml", variables=env_file(target))) as made:
        yield made


@pytest.fixture(scope="module")
def postgres(here: native.Machine) -> Iterator["subprocess.Popen[bytes]"]:
    with native.postgres_server(here) as process:
        yield process


def test_postgres_is_healthy_and_refuses_a_wrong_password(
    here: native.Machine, postgres: "subprocess.Popen[bytes]"
) -> None:
    url = here.environment("migrate")["POSTQ_DATABASE_URL"].replace("+psycopg", "")
    password = here.environment("postgres")["POSTGRES_PASSWORD"]
    assert postgres.poll() is None
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT current_user, current_database()").fetchone() == ("postq", "postq")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url.replace(password, "wrong"))


def test_redis_asks_for_the_password_shows_it_nowhere_and_survives_a_kill(here: native.Machine) -> None:
    password = here.environment("redis")["REDIS_PASSWORD"]
    port = here.ports["redis"]
    with native.redis_server(here) as process:
        with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        with redis.Redis(port=port, password=password) as client:
            client.set("kept", "yes")
        command_line = Path(f"/proc/{process.pid}/cmdline")
        if command_line.exists():
            assert password not in command_line.read_text()
            assert "redis-server" in command_line.read_text(), "the server itself must get the stop signal"
        native.stop(process, how=signal.SIGKILL)
    with native.redis_server(here), redis.Redis(port=port, password=password) as client:
        assert client.get("kept") == b"yes"


def test_the_health_checks_fail_when_nothing_runs(here: native.Machine) -> None:
    assert not here.healthy("redis")


def test_no_process_of_ours_inherits_this_shell(here: native.Machine) -> None:
    assert "HOME" not in here.environment("worker-cpu")
    assert set(os.environ) - set(here.environment("migrate"))
