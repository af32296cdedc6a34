"""The commands, settings and health checks of compose.yaml, executed against servers of this machine."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import redis

from tests.integration.compose import native
from tests.integration.compose.composition import compose, env_file

ROOT = Path(__file__).resolve().parents[3]

COMMAND_SECONDS = 120

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


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """The running composition, and `postq` as `docker compose exec worker-cpu` would run it."""

    here: native.Machine
    worker: "subprocess.Popen[bytes]"
    corpus_file: Path

    def postq(self, *words: str) -> str:
        """Output of one command; fails the test unless it ends with 0."""
        process = subprocess.Popen(
            ["postq", *words],
            env=self.here.environment("worker-cpu"),
            cwd=self.here.volume("home"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            out, err = process.communicate(timeout=COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
        assert process.returncode == 0, f"postq {' '.join(words)}: {out}{err}\n{self.log()}"
        return out

    def log(self) -> str:
        """The end of the worker's log."""
        return (self.here.folder / "worker-cpu.log").read_text(errors="replace")[-3000:]


@pytest.fixture
def deployment(
    here: native.Machine, postgres: "subprocess.Popen[bytes]", corpus_file: Path
) -> Iterator[Deployment]:
    """Database, broker and migrations as the file orders them, and a CPU worker that reports healthy."""
    with native.redis_server(here):
        done = native.finish(here, "migrate")
        assert done.returncode == 0, done.stderr
        with native.running(here, "worker-cpu", folder=here.volume("home")) as worker:
            yield Deployment(here=here, worker=worker, corpus_file=corpus_file)


@pytest.fixture(scope="module")
def corpus_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty short documents with two labels that their words give away."""
    file = tmp_path_factory.mktemp("corpus") / "small.jsonl"
    topics = {
        "Motion to Dismiss": "dismiss complaint failure claim",
        "Appeal": "appeal reversed district court",
    }
    with file.open("w", encoding="utf-8") as lines:
        for number in range(60):
            label = list(topics)[number % 2]
            words = f"Case {number}. The court considered {topics[label]} on the {number} day of the term."
            sections = [
                {"headtext": "Opinion", "paragraphs": [words, f"Reasons of matter {number} follow here."]}
            ]
            lines.write(
                json.dumps({"documentId": f"d{number}", "postures": [label], "sections": sections}) + "\n"
            )
    return file


@pytest.mark.slow
def test_a_small_job_goes_through_the_whole_deployment(deployment: Deployment) -> None:
    deployment.postq("corpus", "add", "small", str(deployment.corpus_file))
    deployment.postq("submit-train", "small", "--preset", "tfidf", "--name", "baseline", "--wait")
    deployment.postq("classify-corpus", "small", "--bundle", "baseline", "--wait")
    states = {job["state"] for job in json.loads(deployment.postq("status", "--json"))}
    assert states == {"succeeded"}
    assert deployment.here.healthy("worker-cpu")
    assert native.stop(deployment.worker) == 0, deployment.log()
    assert not deployment.here.healthy("worker-cpu"), "a worker that has ended must not pass for a living one"
    for service in ("postgres", "redis"):
        for name, secret in deployment.here.environment(service).items():
            assert not name.endswith("PASSWORD") or secret not in deployment.log()
    with psycopg.connect(
        deployment.here.environment("migrate")["POSTQ_DATABASE_URL"].replace("+psycopg", "")
    ) as db:
        assert db.execute("SELECT count(*) FROM prediction").fetchone() == (60,)
