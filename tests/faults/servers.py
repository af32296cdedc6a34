"""Private servers on free ports, which a test may kill, freeze, stop and start again."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
import redis
from kombu.exceptions import OperationalError

from postq.broker import broker_connection
from postq.settings import load_settings
from tests.services import missing
from tests.waiting import wait_until

POSTGRES_BINARIES = ("/usr/lib/postgresql/17/bin", "/usr/lib/postgresql/16/bin", "/usr/lib/postgresql/15/bin")


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """One server process: `start` waits until it answers, `kill` takes it away without a goodbye."""

    def __init__(
        self,
        command: list[str],
        *,
        answers: Callable[[], bool],
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = command
        self._environment = environment
        self._answers = answers
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=self._environment,
            )
        wait_until(self._answers, 120, saying=f"{self._command[0]} to answer; see {self._log}")

    def start_unless_running(self) -> None:
        if self._process is None:
            self.start()

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """SIGKILL to the server and all its processes."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self.send(signal.SIGKILL)
            self._process.wait(timeout=60)
            self._process = None

    def stop(self, number: signal.Signals) -> None:
        """Ask the main process to end and wait for it."""
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(timeout=60)
        self._process = None


class PrivateRedis(Server):
    """Redis without any persistence: what it forgets on a kill is gone."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server") or missing("A redis-server program", "not installed")
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command = [program, *options, "--dir", str(folder)]
        super().__init__(command, answers=self._answers_ping, log=folder / "redis.log")

    def client(self) -> "redis.Redis":
        return redis.Redis(port=self.port, socket_timeout=5)

    def _answers_ping(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


class PrivatePostgres(Server):
    """A PostgreSQL cluster of its own, with everything synchronous as in real life.

    `folder` must be reachable for the user postgres, which pytest's temporary folders are not.
    """

    def __init__(self, folder: Path) -> None:
        binaries = next((path for path in POSTGRES_BINARIES if Path(path).is_dir()), None)
        if binaries is None:
            missing("A PostgreSQL server program", "not installed")
        self.port = free_port()
        self.data = folder / "data"
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"
        as_user = _as_user("postgres", folder)
        subprocess.run(
            [*as_user, f"{binaries}/initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "-N"],
            check=True,
            capture_output=True,
        )
        options = ["-p", str(self.port), "-k", str(folder), "-c", "listen_addresses=127.0.0.1"]
        command = [*as_user, f"{binaries}/postgres", "-D", str(self.data), *options]
        super().__init__(command, answers=self._answers_query, log=folder / "server.log")

    def stop_immediately(self) -> None:
        """What `pg_ctl stop -m immediate` does: no checkpoint, no goodbye, recovery at the next start."""
        pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGQUIT)
        assert self._process is not None
        self._process.wait(timeout=60)

    def freeze(self) -> None:
        """Stop every process of the cluster: connections stay open and nobody answers."""
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.send(signal.SIGCONT)

    def _answers_query(self) -> bool:
        try:
            with psycopg.connect(self.url.replace("+psycopg", ""), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False


class PrivateRabbitMQ(Server):
    """A RabbitMQ node of its own that speaks TLS only and wants a password.

    `folder` must be reachable for the user rabbitmq and hold `server.crt` and `server.key`.
    """

    def __init__(self, folder: Path, *, password: str) -> None:
        program = shutil.which("rabbitmq-server", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            missing("A rabbitmq-server program", "not installed")
        self.port = free_port()
        self.base_url = f"amqps://postq:{password}@127.0.0.1:{self.port}//"
        self.url = f"{self.base_url}?ssl_ca_certs={folder / 'server.crt'}"
        self._write_settings(folder, password)
        command = [*_as_user("rabbitmq", folder), program]
        environment = {**os.environ, **self._places(folder)}
        log = folder / "server.log"
        super().__init__(command, answers=self._answers_login, log=log, environment=environment)

    def stop_and_wait(self) -> None:
        """SIGTERM: an orderly end of the node."""
        self.send(signal.SIGTERM)
        assert self._process is not None
        self._process.wait(timeout=60)
        self._process = None

    def _write_settings(self, folder: Path, password: str) -> None:
        lines = {
            "listeners.tcp": "none",
            "listeners.ssl.1": f"127.0.0.1:{self.port}",
            "ssl_options.cacertfile": folder / "server.crt",
            "ssl_options.certfile": folder / "server.crt",
            "ssl_options.keyfile": folder / "server.key",
            "ssl_options.verify": "verify_none",
            "default_user": "postq",
            "default_pass": password,
        }
        text = "".join(f"{name} = {value}\n" for name, value in lines.items())
        (folder / "rabbitmq.conf").write_text(text)
        (folder / "plugins").write_text("[].")
        (folder / "env.conf").touch()

    def _places(self, folder: Path) -> dict[str, str]:
        return {
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"postq_{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_MNESIA_BASE": str(folder),
            "RABBITMQ_LOG_BASE": str(folder),
        }

    def _answers_login(self) -> bool:
        with broker_connection(load_settings(broker_url=self.url), timeout_seconds=2.0) as connection:
            try:
                connection.ensure_connection(max_retries=1, interval_start=0, timeout=2)
            except OperationalError:
                return False
        return True


def _as_user(name: str, folder: Path) -> list[str]:
    """Some servers refuse to run as root; become their user then, who must own the folder."""
    if os.geteuid() != 0:
        return []
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        pytest.skip(f"The server cannot run as root and there is no user '{name}'")
    for place in (folder, *folder.iterdir()):
        os.chown(place, user.pw_uid, user.pw_gid)
    return ["setpriv", f"--reuid={name}", f"--regid={name}", "--clear-groups"]


@contextmanager
def running(server: Server) -> Iterator[None]:
    """The server started, and gone afterwards."""
    try:
        server.start()
        yield
    finally:
        with suppress(ProcessLookupError, AssertionError):
            server.send(signal.SIGCONT)
        server.kill()
