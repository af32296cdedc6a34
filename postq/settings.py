"""Every setting of postq with its default and meaning: flag > environment > postq.toml > default."""

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from postq.errors import SettingsInvalid
from postq.unfit import in_few_words

DEFAULT_HOME = Path(platformdirs.user_data_dir("postq", appauthor=False))
"""Where the embedded database, snapshots, bundles, checkpoints and logs live by default."""
BROKERS = ("memory://", "redis://", "rediss://", "amqp://", "amqps://")
"""How a broker's address may begin."""


def config_file() -> Path:
    """The settings file in force: `POSTQ_CONFIG` if set, else `postq.toml` in the working folder."""
    return Path(os.environ.get("POSTQ_CONFIG", "postq.toml"))


class Settings(BaseSettings):
    """All settings; each can be given as `POSTQ_<NAME>` or as a key in `postq.toml`."""

    model_config = SettingsConfigDict(env_prefix="POSTQ_", extra="forbid", frozen=True)

    home: Path = DEFAULT_HOME
    """Folder of snapshots, bundles, checkpoints, logs and, when embedded, the database."""
    database_url: SecretStr | None = None
    """SQLAlchemy URL; unset means SQLite at `<home>/postq.db`. May hold a password."""
    broker_url: SecretStr = SecretStr("memory://")
    """Where nudges travel: `memory://` (embedded), `redis://`, `rediss://`, `amqp://`, `amqps://`.
    Over TLS `?ssl_ca_certs=FILE` names an authority of your own."""
    corpus_roots: tuple[str, ...] = ()
    """Folders and URL prefixes corpora may be read from; empty means anywhere this user can read."""

    lease_seconds: float = Field(60.0, gt=0, allow_inf_nan=False)
    """How long a claimed shard belongs to its worker without a renewal."""
    renew_seconds: float = Field(15.0, gt=0, validate_default=True)
    """How often a supervisor renews its lease; at most half of `lease_seconds`."""
    poll_seconds: float = Field(1.0, gt=0)
    """How often an idle worker looks for ready shards without having been nudged."""
    reconcile_seconds: float = Field(10.0, gt=0)
    """How often each supervisor runs the maintenance pass."""
    stall_seconds: float = Field(900.0, gt=0)
    """How long a shard may show no progress before its runner is killed (class STALLED)."""
    drain_seconds: float = Field(30.0, gt=0)
    """Grace after SIGTERM: time to finish the batch or write a checkpoint before the runner is killed."""

    retry_budget: int = Field(5, ge=0)
    """Attempts of one shard that may fail in a retryable way before it is dead."""
    crash_budget: int = Field(2, ge=1)
    """Crashes of the runner on one shard before it is split (or its one document quarantined)."""
    backoff_seconds: float = Field(2.0, ge=0)
    """First wait before a retry; doubles with each attempt, with jitter, up to five minutes."""

    shard_documents: int = Field(5000, ge=1)
    """Most documents in one classification shard."""
    shard_words: int = Field(2_000_000, ge=1)
    """Most words in one classification shard, by the corpus' mean document length."""

    cpu_threads: int | None = Field(None, ge=1)
    """Compute threads of one CPU runner; unset shares the cores among this machine's workers."""
    tokeniser_processes: int | None = Field(None, ge=0)
    """Processes that tokenise ahead of an encoder; unset: none on a CPU, spare cores beside a GPU."""
    attention: Literal["auto", "stock", "native", "sdpa", "triton"] = "auto"
    """Attention kernel of Longformers; `stock` runs the unchanged model, `auto` the fastest exact one."""
    products: Literal["auto", "plain", "packed"] = "auto"
    """A Longformer's products on a CPU: torch's own (`plain`), postq's (`packed`) or by processor."""
    log_format: Literal["console", "json"] = "console"
    """`console` for people, `json` for log collectors."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least serious level that is logged."""

    @field_validator("home", "database_url", "broker_url", mode="before")
    @classmethod
    def _place_is_named(cls, value: Any) -> Any:
        """A blank is a variable that was not set: it would mean the folder one stands in, the embedded
        database or a broker on this machine."""
        if isinstance(value, str) and not value.strip():
            raise ValueError("it is empty")
        return value

    @field_validator("broker_url")
    @classmethod
    def _broker_is_known(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(BROKERS):
            raise ValueError(f"it must begin with one of {', '.join(BROKERS)}")
        return value

    @field_validator("renew_seconds")
    @classmethod
    def _renewed_in_time(cls, value: float, info: ValidationInfo) -> float:
        lease = info.data.get("lease_seconds")
        if lease is not None and 2 * value > lease:
            raise ValueError(f"at {value:g} it is more than half of lease_seconds, which is {lease:g}")
        return value

    @field_validator("home")
    @classmethod
    def _absolute_home(cls, value: Path) -> Path:
        try:
            return value.expanduser().absolute()
        except RuntimeError as exc:  # ~name of nobody
            raise ValueError("its ~ stands for no folder") from exc

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flag, then environment, then file: the first source that names a setting wins."""
        del dotenv_settings, file_secret_settings
        toml = TomlConfigSettingsSource(settings_cls, toml_file=config_file())
        return init_settings, env_settings, toml

    @property
    def resolved_database_url(self) -> SecretStr:
        """The database URL in force, with the embedded default filled in."""
        return self.database_url or SecretStr(f"sqlite:///{self.home / 'postq.db'}")

    @property
    def runner_variables(self) -> dict[str, str]:
        """What `learning/` reads from a runner's environment, wherever the settings came from."""
        chosen = {name: getattr(self, name) for name in ("tokeniser_processes", "attention", "products")}
        return {f"POSTQ_{name.upper()}": str(value) for name, value in chosen.items() if value is not None}

    @property
    def embedded_broker(self) -> bool:
        """True when no broker server is configured and workers find work by polling alone."""
        return self.broker_url.get_secret_value().startswith("memory:")


def load_settings(**flags: Any) -> Settings:
    """Read the settings; `flags` (those that are not None) win over every other source.

    Raises SettingsInvalid naming the setting, where its value came from and what it must be.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        _check_file()
        return Settings(**given)
    except ValidationError as exc:
        raise _refused(exc) from exc
    except OSError as exc:
        raise SettingsInvalid(
            f"{config_file()} cannot be read: {exc.strerror or exc}.",
            hint="Let this user read it, work in another folder, or set POSTQ_CONFIG=/dev/null for no file.",
        ) from exc
    except ValueError as exc:
        raise SettingsInvalid(
            f"{config_file()} is not valid TOML: {exc}.",
            hint="Mend the file or point POSTQ_CONFIG at another one.",
        ) from exc


def _check_file() -> None:
    """A file that was named and is not there would leave every setting at its default, without a word."""
    named = os.environ.get("POSTQ_CONFIG")
    if named is not None and (Path(named).is_dir() or not Path(named).exists()):
        raise SettingsInvalid(
            f"There is no settings file '{named}'.", hint="Correct --config or POSTQ_CONFIG, or leave it out."
        )


def _refused(exc: ValidationError) -> SettingsInvalid:
    first = exc.errors()[0]
    name = ".".join(str(part) for part in first["loc"]) or "settings"
    if first["type"] == "extra_forbidden":
        return SettingsInvalid(
            f"postq has no setting '{name}', which {config_file()} names.", hint=_meant(name)
        )
    return SettingsInvalid(
        f"Setting '{name}' is not usable: {in_few_words(first['msg'])}.",
        hint=f"Correct POSTQ_{name.upper()} or '{name}' in {config_file()}; `postq doctor` lists all.",
    )


def _meant(name: str) -> str:
    close = get_close_matches(name.lower().removeprefix("postq_"), Settings.model_fields, n=1)
    if close:
        return f"Did you mean '{close[0]}'?"
    return "docs/operations.md lists all; they stand in the file without a [section] and without POSTQ_."
