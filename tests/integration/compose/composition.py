"""Reads compose.yaml as Docker Compose would: variables filled in, merges resolved, `$$` unescaped."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


class VariableMissing(Exception):
    """A variable that the file demands with `:?` is unset or empty."""


@dataclass(frozen=True, kw_only=True)
class Composition:
    """The services of a compose file with every variable filled in."""

    services: Mapping[str, Mapping[str, Any]]

    def environment(self, service: str) -> dict[str, str]:
        """The environment the service's process gets."""
        return {name: str(value) for name, value in self.services[service].get("environment", {}).items()}

    def command(self, service: str) -> list[str]:
        """The service's command as an argument list."""
        return list(self.services[service]["command"])

    def health_check(self, service: str) -> list[str]:
        """The health check as an argument list; the shell form goes through `sh -c`, as in a container."""
        kind, *words = self.services[service]["healthcheck"]["test"]
        if kind == "CMD-SHELL":
            return ["sh", "-c", *words]
        assert kind == "CMD", kind
        return words


def compose(file: Path, *, variables: Mapping[str, str]) -> Composition:
    """Parse a compose file; VariableMissing when a demanded variable is not given."""
    return Composition(
        services=_filled(yaml.safe_load(file.read_text(encoding="utf-8")), variables)["services"]
    )


def env_file(file: Path) -> dict[str, str]:
    """The variables of a `.env` file."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def _filled(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, variables) for item in value]
    return fill(value, variables) if isinstance(value, str) else value


def fill(text: str, variables: Mapping[str, str]) -> str:
    """`text` with `$$`, `$NAME`, `${NAME}`, `${NAME:-default}` and `${NAME:?message}` replaced."""
    filled, rest = "", text
    while "$" in rest:
        before, _, after = rest.partition("$")
        length = _length_of_variable(after)
        filled += before + _value_of(after[:length], variables)
        rest = after[length:]
    return filled + rest


def _length_of_variable(after: str) -> int:
    """Characters of the variable that follows a dollar sign; braces may be nested."""
    if after.startswith("$"):
        return 1
    if not after.startswith("{"):
        return len(re.match(r"\w*", after)[0])  # type: ignore[index]
    depth = 0
    for position, character in enumerate(after):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return position + 1
    raise ValueError(f"unclosed brace: ${after}")


def _value_of(variable: str, variables: Mapping[str, str]) -> str:
    if variable == "$":
        return "$"
    inner = variable[1:-1] if variable.startswith("{") else variable
    name, rule, word = re.fullmatch(r"(\w+)(?:(:[-?])(.*))?", inner, re.DOTALL).groups()  # type: ignore[union-attr]
    if value := variables.get(name, ""):
        return value
    if rule == ":?":
        raise VariableMissing(f"{name}: {word}")
    return fill(word, variables) if rule == ":-" else ""
