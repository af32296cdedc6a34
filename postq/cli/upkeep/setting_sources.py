"""Each setting with its value, safe to print, and where the value came from."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

if TYPE_CHECKING:
    from postq.settings import Settings


@dataclass(frozen=True, kw_only=True)
class SettingValue:
    """One line of `postq doctor`."""

    name: str
    value: str
    """Passwords are masked."""
    source: str
    """`flag`, `environment`, the settings file's name, or `default`."""


def setting_values(settings: "Settings", *, flags: Mapping[str, str]) -> list[SettingValue]:
    """Every setting in the order of the class, in the precedence the settings themselves follow."""
    from postq.settings import config_file

    in_file = _keys_of_file()
    origin = _Origin(flags=frozenset(flags), in_file=in_file, file_name=config_file().name)
    return [
        SettingValue(name=name, value=_shown(name, value, settings), source=origin.of(name))
        for name, value in settings
    ]


@dataclass(frozen=True, kw_only=True)
class _Origin:
    flags: frozenset[str]
    in_file: frozenset[str]
    file_name: str

    def of(self, name: str) -> str:
        """The first source that names the setting."""
        if name in self.flags:
            return "flag"
        if f"POSTQ_{name.upper()}" in {variable.upper() for variable in os.environ}:
            return "environment"
        return self.file_name if name in self.in_file else "default"


def _keys_of_file() -> frozenset[str]:
    from postq.settings import config_file

    path = config_file()
    if not path.is_file():
        return frozenset()
    return frozenset(tomllib.loads(path.read_text(encoding="utf-8")))


def _shown(name: str, value: Any, settings: "Settings") -> str:
    from postq.logs import mask_secrets

    if name == "database_url":
        value = settings.resolved_database_url
    if isinstance(value, SecretStr):
        return mask_secrets(value.get_secret_value())
    if value is None:
        return "automatic"
    if isinstance(value, tuple):
        return ", ".join(value) or "anywhere this user can read"
    return f"{value:,}" if isinstance(value, int) else str(value)
