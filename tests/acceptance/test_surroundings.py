"""A database, disk or broker that is not as it should be: told in one sentence, nothing lost or left."""

import os
import shlex
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.acceptance.refusal import check_refusal, refused, refused_here
from tests.acceptance.user import User
from tests.faults.servers import PrivatePostgres, free_port, running

TMPFS_SIZE = "3m"
PASSWORD = "right-and-long"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense", "not one SQLAlchemy understands"),
        ("oracle9://host/db", "begins with oracle9"),
        ("sqlite:////no/such/folder/postq.db", "/no/such/folder/postq.db cannot be used"),
        ("mysql://someone@host/db", "does not work with a database URL that begins with mysql"),
        ("postgresql+asyncpg://someone@host/db", "begins with postgresql.asyncpg"),
        ("postgresql://someone@127.0.0.1/db?sslmod=require", 'invalid connection option "sslmod"'),
        ("postgresql://someone:p@ss@127.0.0.1/db", "holds more than one @"),
    ],
)
def test_a_database_url_that_leads_nowhere_is_told(user: User, url: str, says: str) -> None:
    refused_here(user.with_settings(database_url=url), "status", code=6, says=says)


def test_a_database_server_that_does_not_answer_is_told_without_its_password(user: User) -> None:
    url = f"postgresql+psycopg://someone:hunter2-secret@127.0.0.1:{free_port()}/postq"
    unlucky = user.with_settings(database_url=url)
    refused(unlucky, "submit-train", "x", "--preset", "tfidf", code=6, says="cannot be used: ")
    for words in (("status",), ("doctor",), ("up",), ("worker",), ("worker", "--ping")):
        answer = unlucky.tries(*words)
        assert answer.code == 6, words
        assert "hunter2" not in answer.out + answer.err


@pytest.fixture
def locked_postgres() -> Iterator[str]:
    """URL of a PostgreSQL that asks for a password, with a wrong one in it."""
    with tempfile.TemporaryDirectory(prefix="postq-postgres-") as folder:
        server = PrivatePostgres(Path(folder))
        with running(server):
            with psycopg.connect(server.url.replace("+psycopg", ""), autocommit=True) as admin:
                admin.execute(f"ALTER ROLE postgres PASSWORD '{PASSWORD}'")
                (server.data / "pg_hba.conf").write_text("host all all 127.0.0.1/32 scram-sha-256\n")
                admin.execute("SELECT pg_reload_conf()")
            yield server.url.replace("postgres@", "postgres:wrong-and-long@")


@pytest.mark.postgres
def test_a_wrong_password_is_told_and_not_shown(user: User, locked_postgres: str) -> None:
    locked_out = user.with_settings(database_url=locked_postgres)
    refused(locked_out, "status", code=6, says="password authentication failed")
    answer = locked_out.runs("--verbose", "status", code=6)
    assert "wrong-and-long" not in answer.out + answer.err
    let_in = user.with_settings(database_url=locked_postgres.replace("wrong-and-long", PASSWORD))
    refused_here(let_in, "status", code=7, says="no postq tables yet")


@pytest.fixture
def looking_only(user: User, postgres_url: str) -> Iterator[User]:
    """A user whose login may read postq's tables and nothing else."""
    name = f"postq_guest_{uuid.uuid4().hex[:12]}"
    user.with_settings(database_url=postgres_url).runs("db", "upgrade")
    parts = urlsplit(postgres_url.replace("+psycopg", ""))
    with psycopg.connect(parts.geturl(), autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {name} LOGIN")
        admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
        guest = parts._replace(scheme="postgresql", netloc=f"{name}@{parts.netloc.rpartition('@')[2]}")
        try:
            yield user.with_settings(database_url=guest.geturl())
        finally:
            admin.execute(f"DROP OWNED BY {name}")
            admin.execute(f"DROP ROLE {name}")


@pytest.mark.postgres
def test_a_login_that_may_only_read_looks_on_and_is_told_what_it_may_not(
    looking_only: User, corpus_file: Callable[..., Path]
) -> None:
    assert looking_only.asks("status") == []
    refused_here(looking_only, "corpus", "add", "subjects", corpus_file(), code=6, says="permission denied")
    told = looking_only.runs("doctor", code=6)
    assert "permission denied for table" in told.out
    assert "grant it" in told.out
    answer = looking_only.runs("worker", code=6)
    assert "Traceback" not in answer.err


@pytest.mark.postgres
def test_a_server_is_given_its_tables_by_db_upgrade_only(user: User, postgres_url: str) -> None:
    guest = user.with_settings(database_url=postgres_url)
    refused_here(guest, "status", code=7, says="no postq tables yet")
    assert guest.tries("db", "current").code == 7
    assert "The schema went from nothing to" in guest.runs("db", "upgrade").err
    assert "is current" in guest.runs("db", "upgrade").err
    assert guest.asks("status") == []


@pytest.mark.parametrize(
    "broker", ["redis://:hunter2-secret@127.0.0.1:{port}/0", "amqp://u:hunter2-secret@127.0.0.1:{port}//"]
)
def test_a_submit_succeeds_without_its_broker_and_says_so(
    user: User, corpus_file: Callable[..., Path], broker: str
) -> None:
    lonely = user.with_settings(broker_url=broker.format(port=free_port()))
    lonely.runs("corpus", "add", "subjects", corpus_file())
    answer = lonely.runs("submit-train", "subjects", "--preset", "tfidf")
    assert answer.out == "Submitted job 1.\n"
    assert "The broker does not answer. The job is stored" in answer.err
    assert "hunter2" not in answer.err
    assert [job["state"] for job in lonely.asks("status")] == ["ready"]
    told = lonely.runs("doctor", code=6)
    assert "does not answer" in told.out
    assert "hunter2" not in told.out


def test_a_locale_without_the_signs_that_postq_prints_fails_no_command(
    user: User, corpus_file: Callable[..., Path]
) -> None:
    plain = User(home=user.home, settings={"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"})
    plain.runs("corpus", "add", "subjects", corpus_file())
    plain.runs("submit-train", "subjects", "--preset", "tfidf")
    assert "Job 1 · train · ready" in plain.runs("status", 1).out
    assert "✓" in plain.runs("doctor").out


def test_a_closed_standard_output_fails_no_command(user: User) -> None:
    command = f"{shlex.quote(sys.executable)} -m postq doctor >&-"
    done = subprocess.run(command, shell=True, env=user.environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr.count(b"error")) == (0, 0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file that is always full")
@pytest.mark.parametrize(
    "words", ["doctor", "status --json", "--help", "--version", "", "bundles", "status --help"]
)
def test_a_standard_output_that_is_full_is_told(user: User, words: str) -> None:
    command = f"{shlex.quote(sys.executable)} -m postq {words} >/dev/full"
    done = subprocess.run(command, shell=True, env=user.environment, capture_output=True, check=False)
    assert done.returncode == 6
    assert b"error: The answer could not be written: No space left on device." in done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of three megabytes, mounted for this test; needs root."""
    place = tmp_path / "disk"
    place.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={TMPFS_SIZE}", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def remount_read_only(place: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)


def test_a_disk_that_fills_up_adds_nothing_and_leaves_nothing(user: User, small_disk: Path) -> None:
    tight = User(home=small_disk / "home")
    user.runs("corpus", "synthesize", "large.jsonl", "--documents", 1500, "--median-words", 1500)
    tight.runs("corpus", "list")
    refused(
        tight,
        "corpus",
        "add",
        "large",
        user.home.parent / "large.jsonl",
        code=6,
        says="No space left|disk is full",
    )
    assert tight.asks("corpus", "list") == []


def test_writing_onto_a_full_disk_leaves_the_old_file(user: User, small_disk: Path) -> None:
    target = small_disk / "synthetic.jsonl"
    target.write_text("the old one\n")
    words = ("corpus", "synthesize", target, "--documents", 1500, "--median-words", 1500)
    check_refusal(user.runs(*words, code=6), says="No space left")
    assert target.read_text() == "the old one\n"
    assert [path.name for path in small_disk.iterdir()] == [target.name]


def test_a_read_only_disk_is_told(user: User, small_disk: Path, corpus_file: Callable[..., Path]) -> None:
    tight = User(home=small_disk / "home")
    tight.runs("corpus", "list")
    remount_read_only(small_disk)
    refused(tight, "corpus", "add", "subjects", corpus_file(), code=6, says="[Rr]ead-only|readonly|cannot be")
    refused(User(home=small_disk / "new"), "status", code=6, says="[Rr]ead-only|readonly|cannot be")
    assert "cannot be written" in tight.runs("doctor", code=6).out


def test_an_export_into_a_folder_that_is_not_there_is_told(user: User) -> None:
    user.runs("status")
    refused(user, "predictions", "export", "no/such/folder/x.csv", code=6, says="cannot be written")
