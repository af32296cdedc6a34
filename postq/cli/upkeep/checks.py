"""The checks of `postq doctor`: each looks at one thing and says how to mend it when it is not right."""

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from postq.cli.invocation import Invocation
from postq.cli.printing.wording import short_path, size
from postq.counted import counted
from postq.errors import PostqError

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from postq.db import Database
    from postq.models import Worker
    from postq.settings import Settings

LOW_DISK_BYTES = 2 * 10**9
"""Under this a training may not be able to write its checkpoints."""
BROKER_SECONDS = 3.0
SHOWN_FOLDERS = 5
OTHER_VARIABLES = {"POSTQ_CONFIG", "POSTQ_CRASH_AT", "POSTQ_CRASH_ONCE", "POSTQ_CRASH_SIGNAL"}
"""Read from the environment without being settings."""


class Level(StrEnum):
    """How a check came out."""

    OK = "ok"
    NOTE = "note"  # works, but the user may want to know
    BROKEN = "broken"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found."""

    check: str
    level: Level
    text: str
    fix: str = ""


def run_checks(invocation: Invocation) -> Iterator[Finding]:
    """Every check in turn; one that fails says so and the rest go on."""
    for name, check in CHECKS:
        try:
            yield from check(invocation)
        except PostqError as exc:
            yield Finding(check=name, level=Level.BROKEN, text=exc.message, fix=exc.hint)


def _environment(invocation: Invocation) -> Iterator[Finding]:
    """A misspelt variable sets nothing, and nobody else would say so."""
    from difflib import get_close_matches

    known = {f"POSTQ_{name.upper()}" for name, _ in invocation.settings} | OTHER_VARIABLES
    for name in sorted(os.environ):
        if name.upper().startswith("POSTQ_") and name.upper() not in known:
            close = get_close_matches(name.upper(), sorted(known), n=1)
            fix = f"Did you mean {close[0]}?" if close else "Unset it, or correct its name."
            yield Finding(check="settings", level=Level.NOTE, text=f"{name} is no setting of postq.", fix=fix)


def _home(invocation: Invocation) -> Iterator[Finding]:
    import tempfile

    home = invocation.settings.home
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o750)
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as exc:
        yield Finding(
            check="home",
            level=Level.BROKEN,
            text=f"{short_path(home)} cannot be written: {exc.strerror}.",
            fix="Set POSTQ_HOME, or --home, to a folder this user may write.",
        )
        return
    yield _disk(home)


def _disk(home: "Path") -> Finding:
    free = shutil.disk_usage(home).free
    text = f"{short_path(home)}, {size(free)} free"
    if free >= LOW_DISK_BYTES:
        return Finding(check="home", level=Level.OK, text=text)
    return Finding(
        check="home",
        level=Level.NOTE,
        text=f"{text}: little room for checkpoints and snapshots.",
        fix="Make room, or set POSTQ_HOME to a larger disk.",
    )


def _database(invocation: Invocation) -> Iterator[Finding]:
    database = invocation.unchecked_database
    yield _schema(database, "SQLite, embedded" if database.is_sqlite else "PostgreSQL")


def _schema(database: "Database", kind: str) -> Finding:
    from postq.migrations import check_schema, ensure_schema, head_revision

    if database.is_sqlite:
        ensure_schema(database)  # the embedded database is laid on first use, as by any other command
    check_schema(database)
    _try_to_write(database)
    return Finding(check="database", level=Level.OK, text=f"{kind}, schema {head_revision()}")


def _try_to_write(database: "Database") -> None:
    """Ask for every table's write lock and change nothing. Raises DatabaseUnavailable where rights lack."""
    import sqlalchemy as sa

    from postq.models.tables import EVERY

    with database.transaction() as session:
        for table in EVERY:
            session.execute(sa.delete(table).where(sa.false()))


def _bundles(invocation: Invocation) -> Iterator[Finding]:
    """Folders that no row names; nothing is said where there are none."""
    from sqlalchemy.exc import SQLAlchemyError

    from postq.db import database_now
    from postq.registry.bundle_place import unnamed_folders

    home = invocation.settings.home
    try:
        with invocation.unchecked_database.reading() as session:
            now = database_now(session)
            folders = unnamed_folders(session, home=home, before=now, now=now)
    except (PostqError, SQLAlchemyError):  # told above, by the check of the database
        return
    for folder in folders:
        yield Finding(
            check="bundles",
            level=Level.NOTE,
            text=f"{short_path(folder)} is named by no bundle, as after a crash at a training's end "
            "or when an older database was restored.",
            fix="Keep it with: postq bundles add FOLDER. Once it is old enough, postq prune removes it.",
        )


def _strangers(invocation: Invocation) -> Iterator[Finding]:
    """What another database left in this home; nothing is said where there is nothing."""
    from sqlalchemy.exc import SQLAlchemyError

    from postq.registry.strangers import strange_folders

    home, database = invocation.settings.home, invocation.unchecked_database
    try:
        with database.reading() as session:
            found = strange_folders(session, home=home)
    except (PostqError, SQLAlchemyError):  # told above, by the check of the database
        return
    embedded = (home / "postq.db").resolve()
    if embedded.exists() and embedded != _file_of(database):
        yield _stranger(f"{short_path(embedded)} is another database than the one in use.", OWN_HOME)
    for tag, folders in found.items():
        yield _unclaimed(folders) if tag is None else _anothers(tag, folders)


def _file_of(database: "Database") -> "Path | None":
    """Where the embedded database lies, whatever links lead there."""
    from pathlib import Path

    return Path(database.engine.url.database or "").resolve() if database.is_sqlite else None


OWN_HOME = "Give each database a home of its own: another POSTQ_HOME with another POSTQ_DATABASE_URL."


def _anothers(tag: str, folders: "Sequence[Path]") -> Finding:
    from collections import Counter

    by_kind = Counter(folder.parent.name for folder in folders)
    where = ", ".join(f"{many} in {kind}" for kind, many in by_kind.items())
    those = counted(len(folders), "folder here is", "folders here are")
    return _stranger(
        f"{those} another database's, with the tag {tag}: {where}. This one leaves them alone.",
        f"{OWN_HOME} Once that one is no more, remove by hand the folders whose names end in -{tag}.",
    )


def _unclaimed(folders: "Sequence[Path]") -> Finding:
    shown = ", ".join(f"{folder.parent.name}/{folder.name}" for folder in folders[:SHOWN_FOLDERS])
    more = f" and {len(folders) - SHOWN_FOLDERS} more" if len(folders) > SHOWN_FOLDERS else ""
    return _stranger(
        f"{shown}{more}: no row names this and no tag says whose it is, another database's or left behind by "
        "this one.",
        "postq never removes them. Keep a bundle with: postq bundles add FOLDER. "
        "Remove by hand what no other database with this home needs.",
    )


def _stranger(text: str, fix: str) -> Finding:
    return Finding(check="home", level=Level.NOTE, text=text, fix=fix)


def _workers(invocation: Invocation) -> Iterator[Finding]:
    from sqlalchemy.exc import SQLAlchemyError

    from postq.db import database_now
    from postq.jobs.workers import live_workers

    try:
        with invocation.unchecked_database.reading() as session:
            now = database_now(session)
            living = live_workers(session, now=now, settings=invocation.settings)
    except (PostqError, SQLAlchemyError):  # told above, by the check of the database
        yield Finding(check="workers", level=Level.NOTE, text="not known while the database is not usable")
        return
    for row in living:
        yield _sign_of_life(row, now=now, settings=invocation.settings)
    if not living:
        yield Finding(
            check="workers",
            level=Level.NOTE,
            text="no worker is running; jobs wait until one is.",
            fix="Start one per device with: postq up",
        )


def _sign_of_life(row: "Worker", *, now: "datetime", settings: "Settings") -> Finding:
    """What is known of a worker that the database takes for alive still."""
    from postq.cli.workers.living import is_gone
    from postq.jobs.workers import overdue_after

    where, silent = f"{row.device_kind} on {row.hostname}", now - row.seen_at
    if is_gone(row):
        text = f"{where}, process {row.pid} is gone without a word; it was {row.state}."
    elif silent > overdue_after(settings):
        seconds = f"{silent.total_seconds():.0f} s"
        text = f"{where}, no heartbeat for {seconds}, was {row.state} then, process {row.pid}."
    else:
        text = f"{where}, {row.state}, process {row.pid}"
        return Finding(check="workers", level=Level.OK, text=text)
    fix = "Others take over what it held once its lease has run out; start another with: postq up."
    return Finding(check="workers", level=Level.NOTE, text=text, fix=fix)


def _broker(invocation: Invocation) -> Iterator[Finding]:
    settings = invocation.settings
    if settings.embedded_broker:
        yield Finding(check="broker", level=Level.OK, text="embedded: workers find work by polling")
        return
    from postq.broker import broker_connection

    url = settings.broker_url.get_secret_value()
    try:
        with broker_connection(settings, timeout_seconds=BROKER_SECONDS) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=BROKER_SECONDS)
            yield Finding(check="broker", level=Level.OK, text=f"{_broker_name(url)} answers")
    except Exception as exc:  # each driver has its own family of errors
        yield _broken_broker(url, exc)


def _broker_name(url: str) -> str:
    return "RabbitMQ" if url.startswith("amqp") else "Redis"


def _broken_broker(url: str, exc: Exception) -> Finding:
    from postq.logs import mask_secrets

    reason = (str(exc).strip() or type(exc).__name__).splitlines()[0]
    return Finding(
        check="broker",
        level=Level.BROKEN,
        text=f"{mask_secrets(url)} does not answer: {mask_secrets(reason).rstrip('.')}.",
        fix="Start the broker or correct POSTQ_BROKER_URL. Jobs can be submitted and run meanwhile.",
    )


def _devices(invocation: Invocation) -> Iterator[Finding]:
    from postq.devices import bfloat16_instructions, detect_devices, usable_cores

    del invocation
    narrow = bfloat16_instructions()
    for device in detect_devices():
        cores = f", {counted(usable_cores(), 'core')}" if device.kind == "cpu" else ""
        fast = f", bfloat16 by {narrow}" if device.kind == "cpu" and narrow else ""
        name = f" {device.name}" if device.name else ""
        text = f"{device.label}{name}{cores}{fast}, {size(device.memory_bytes)} memory"
        yield Finding(check="devices", level=Level.OK, text=text)


EXTRAS = (
    ("tfidf", ("sklearn", "safetensors", "datasketch"), "train and run TF-IDF bundles"),
    ("encoders", ("torch", "transformers", "tokenizers"), "train and run encoders"),
    ("postgres", ("psycopg",), "use PostgreSQL"),
    ("redis", ("redis",), "use Redis"),
)


def _extras(invocation: Invocation) -> Iterator[Finding]:
    del invocation
    missing = {extra: _missing(modules) for extra, modules, _ in EXTRAS}
    installed = [extra for extra, modules in missing.items() if not modules]
    if installed:
        yield Finding(check="extras", level=Level.OK, text=f"installed: {', '.join(installed)}")
    for extra, _, purpose in EXTRAS:
        if missing[extra]:
            yield Finding(
                check="extras",
                level=Level.NOTE,
                text=f"{extra} is not installed ({', '.join(missing[extra])}); it is needed to {purpose}.",
                fix=f"pip install 'postq[{extra}]'",
            )


def _missing(modules: tuple[str, ...]) -> list[str]:
    return [module for module in modules if importlib.util.find_spec(module) is None]


Check = Callable[[Invocation], Iterator[Finding]]
CHECKS: tuple[tuple[str, Check], ...] = (
    ("settings", _environment),
    ("home", _home),
    ("database", _database),
    ("broker", _broker),
    ("devices", _devices),
    ("extras", _extras),
    ("home", _strangers),
    ("bundles", _bundles),
    ("workers", _workers),
)
"""In the order they are shown."""
