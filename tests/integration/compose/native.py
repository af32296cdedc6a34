"""The services of compose.yaml as plain processes: their own commands and checks on loopback ports."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.compose.composition import Composition
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[3]
STOP_SECONDS = 60.0
STOP_SIGNALS = {"postgres": signal.SIGINT}
"""What `docker stop` sends where an image asks for another signal than SIGTERM."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What containers have and plain processes lack: host names, fixed ports, mounted folders."""

    composition: Composition
    ports: Mapping[str, int]
    folder: Path

    def command(self, service: str) -> list[str]:
        """The service's command with ports and mount points of this machine."""
        return [self._here(word, service) for word in self.composition.command(service)]

    def health_check(self, service: str) -> list[str]:
        """The service's health check, likewise."""
        return [self._here(word, service) for word in self.composition.health_check(service)]

    def environment(self, service: str) -> dict[str, str]:
        """The service's environment, likewise; nothing of this process leaks in but the search path."""
        given = self.composition.environment(service)
        path = os.pathsep.join([str(Path(sys.executable).parent), *_server_folders(), os.environ["PATH"]])
        here = {name: self._here(value, service) for name, value in given.items()}
        return {"PATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **here}

    def volume(self, name: str) -> Path:
        """The folder that stands for a named volume."""
        return self.folder / name

    def healthy(self, service: str) -> bool:
        """Whether the service's own health check passes."""
        done = subprocess.run(
            self.health_check(service),
            env=self.environment(service),
            capture_output=True,
            timeout=60,
            check=False,
        )
        return done.returncode == 0

    def _here(self, text: str, service: str) -> str:
        for name, port in self.ports.items():
            text = text.replace(f"@{name}:{_container_port(name)}", f"@127.0.0.1:{port}")
        if service in self.ports:
            text = re.sub(rf"\b{_container_port(service)}\b", str(self.ports[service]), text)
        for volume in self.composition.services[service].get("volumes", []):
            source, target = volume.split(":")[:2]
            text = text.replace(target, str(ROOT / source if source.startswith(".") else self.volume(source)))
        return text


def _container_port(service: str) -> int:
    return {"postgres": 5432, "redis": 6379}[service]


def _server_folders() -> list[str]:
    """Where Debian keeps the programs of PostgreSQL."""
    return [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]


@contextmanager
def machine(composition: Composition) -> Iterator[Machine]:
    """A machine with an empty folder for each volume, which the servers' own user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="postq-compose-"))
    folder.chmod(0o755)
    for name in ("home", "broker", "database"):
        (folder / name).mkdir()
    ports = {name: _free_port() for name in ("postgres", "redis")}
    try:
        yield Machine(composition=composition, ports=ports, folder=folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    here: Machine, service: str, *, folder: Path, more: tuple[str, ...] = (), user: str | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """The service's command as a process, until its health check passes; ended as `docker stop` ends it."""
    log = (here.folder / f"{service}.log").open("ab")
    command = [*here.command(service), *more]
    with subprocess.Popen(
        command,
        env=here.environment(service),
        cwd=folder,
        stdout=log,
        stderr=log,
        user=user,
        start_new_session=True,
    ) as process:
        try:
            wait_until(
                lambda: _alive_and_healthy(here, service, process), 90, every=0.1, saying=f"{service} healthy"
            )
            yield process
        finally:
            stop(process, how=STOP_SIGNALS.get(service, signal.SIGTERM))
            log.close()


def _alive_and_healthy(here: Machine, service: str, process: "subprocess.Popen[bytes]") -> bool:
    if process.poll() is not None:
        tail = (here.folder / f"{service}.log").read_text(errors="replace")[-2000:]
        pytest.fail(f"{service} ended with {process.returncode}: {tail}", pytrace=False)
    return here.healthy(service)


def stop(process: "subprocess.Popen[bytes]", *, how: int = signal.SIGTERM) -> int:
    """Signal the process, wait for its end and return its exit status."""
    if process.poll() is None:
        process.send_signal(how)
    try:
        return process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise


def finish(here: Machine, service: str) -> "subprocess.CompletedProcess[str]":
    """Run a service that ends by itself."""
    return subprocess.run(
        here.command(service),
        env=here.environment(service),
        cwd=here.volume("home"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@contextmanager
def redis_server(here: Machine) -> Iterator["subprocess.Popen[bytes]"]:
    """The redis service; its working folder is its volume, as in the official image."""
    _need("redis-server")
    with running(here, "redis", folder=here.volume("broker")) as process:
        yield process


@contextmanager
def postgres_server(here: Machine) -> Iterator["subprocess.Popen[bytes]"]:
    """The postgres service on a fresh cluster with the user, password and database the image makes."""
    _need("initdb")
    data = here.volume("database")
    user = "postgres" if os.getuid() == 0 else None
    if user:
        shutil.chown(data, user)
    _init_cluster(here, data / "pg", user=user)
    with running(
        here, "postgres", folder=data, more=("-D", str(data / "pg"), "-k", str(data)), user=user
    ) as process:
        yield process


def _init_cluster(here: Machine, data: Path, *, user: str | None) -> None:
    given = here.environment("postgres")
    secret = here.folder / "pwfile"
    secret.write_text(given["POSTGRES_PASSWORD"])
    if user:
        shutil.chown(secret, user)
    arguments = [
        "-D",
        data,
        "-U",
        given["POSTGRES_USER"],
        f"--pwfile={secret}",
        "--auth=scram-sha-256",
        "--no-sync",
    ]
    _run_as(user, ["initdb", *map(str, arguments)], path=given["PATH"])
    single = ["postgres", "--single", "-D", str(data), "postgres"]
    _run_as(user, single, path=given["PATH"], stdin=f'CREATE DATABASE "{given["POSTGRES_DB"]}"\n')
    secret.unlink()


def _run_as(user: str | None, command: list[str], *, path: str, stdin: str = "") -> None:
    program = shutil.which(command[0], path=path)
    assert program is not None, command[0]
    done = subprocess.run(
        [program, *command[1:]], input=stdin, text=True, user=user, cwd="/", capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def _need(program: str) -> None:
    from tests.services import missing

    if shutil.which(program, path=os.pathsep.join([*_server_folders(), os.environ["PATH"]])) is None:
        missing(f"An installed {program}", "compose.yaml's services run natively in this test")
