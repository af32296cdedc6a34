"""Private servers on free ports, which a test may kill, freeze, stop and start again."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
import redis

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

    def __init__(self, command: list[str], *, answers: Callable[[], bool], log: Path) -> None:
        self._command = command
        self._answers = answers
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        wait_until(self._answers, 60, saying=f"{self._command[0]} to answer; see {self._log}")

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
        as_user = _as_postgres(folder)
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


def _as_postgres(folder: Path) -> list[str]:
    """PostgreSQL refuses to run as root; become its user then, who must own the folder."""
    if os.geteuid() != 0:
        return []
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        pytest.skip("PostgreSQL cannot run as root and there is no user 'postgres'")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]


@contextmanager
def running(server: Server) -> Iterator[None]:
    """The server started, and gone afterwards."""
    server.start()
    try:
        yield
    finally:
        with suppress(ProcessLookupError, AssertionError):
            server.send(signal.SIGCONT)
        server.kill()
