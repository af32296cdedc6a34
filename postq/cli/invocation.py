"""What one run of `postq` was given: the global flags, and from them settings and database when needed."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from postq.db import Database
    from postq.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """The global flags; everything costly is made on first use."""

    flags: Mapping[str, str] = field(default_factory=dict)
    """Settings given as flags, by the setting's name."""
    config: str | None = None
    """Settings file given as a flag."""
    verbose: bool = False

    @cached_property
    def settings(self) -> "Settings":
        """The settings in force."""
        from postq.settings import load_settings

        self._choose_file()
        settings = load_settings(**self.flags)
        if self.verbose:
            self.set_logging_up(settings)
        return settings

    def set_logging_up(self, settings: "Settings") -> None:
        """Send log lines to the error stream, and without --verbose only errors.

        Called by the few commands that run code which logs: the import costs a tenth of `postq status`.
        """
        from postq.logs import configure_logging

        level = "debug" if self.verbose else "error"
        configure_logging(settings.model_copy(update={"log_level": level}), component="cli")

    @cached_property
    def unchecked_database(self) -> "Database":
        """The database as it is, for the commands that look at its schema or change it."""
        from postq.db import open_database

        return open_database(self.settings)

    @cached_property
    def database(self) -> "Database":
        """The database in the schema this code was written for; the embedded one is laid on first use.

        Raises DatabaseUnavailable, ExtraMissing or SchemaMismatch, each with what to do.
        """
        from postq.migrations import ensure_schema

        ensure_schema(self.unchecked_database)
        return self.unchecked_database

    def close(self) -> None:
        """Close the database's connections, if it was ever opened."""
        if "unchecked_database" in self.__dict__:
            self.unchecked_database.dispose()

    @property
    def secrets(self) -> tuple[str, ...]:
        """Flag values that must not appear in any message."""
        return tuple(value for name, value in self.flags.items() if name.endswith("_url"))

    def _choose_file(self) -> None:
        """Settings and child processes read the file's place from the environment."""
        if self.config is None:
            return
        os.environ["POSTQ_CONFIG"] = str(Path(self.config).expanduser().absolute())

    def environment(self) -> dict[str, str]:
        """The environment for child processes: the flags travel as variables, out of sight of `ps`."""
        return {**os.environ, **{f"POSTQ_{name.upper()}": value for name, value in self.flags.items()}}


def invocation_of(ctx: typer.Context) -> Invocation:
    """The invocation a command runs in."""
    found: Any = ctx.find_root().obj
    return found if isinstance(found, Invocation) else Invocation()
