"""`postq doctor`: every setting and where it came from, every service, and how to mend what is broken."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from postq.cli import options
from postq.cli.command import command
from postq.cli.invocation import Invocation, invocation_of
from postq.cli.printing.terminal import show, show_json
from postq.errors import Environment, PostqError

if TYPE_CHECKING:
    from postq.cli.upkeep.checks import Finding
    from postq.cli.upkeep.setting_sources import SettingValue


@command("doctor", examples=("postq doctor", "postq doctor --json"), exits=(6,))
def doctor(ctx: typer.Context, *, json: options.Json = False) -> None:
    """Explain the settings, check the surroundings, and say how to mend what is wrong.

    Looks at settings, disk, database and schema, broker, devices, installed extras and live workers.
    Passwords are never shown.
    """
    from postq.cli.upkeep.checks import Level, run_checks

    invocation = invocation_of(ctx)
    values, findings = _settings(invocation)
    if not findings:
        findings = list(run_checks(invocation))
    if json:
        show_json(_as_json(values, findings))
    else:
        from postq.cli.upkeep.doctor_page import doctor_page

        show(doctor_page(values, findings))
    if any(finding.level is Level.BROKEN for finding in findings):
        raise typer.Exit(Environment.exit_code)


def _settings(invocation: Invocation) -> "tuple[list[SettingValue], list[Finding]]":
    """The settings, or the one finding that they cannot be read: nothing else can be checked then."""
    from postq.cli.upkeep.checks import Finding, Level
    from postq.cli.upkeep.setting_sources import setting_values

    try:
        return setting_values(invocation.settings, flags=invocation.flags), []
    except PostqError as exc:
        return [], [Finding(check="settings", level=Level.BROKEN, text=exc.message, fix=exc.hint)]


def _as_json(values: "Sequence[SettingValue]", findings: "Sequence[Finding]") -> dict[str, Any]:
    return {
        "settings": [{"name": value.name, "value": value.value, "source": value.source} for value in values],
        "checks": [
            {
                "check": finding.check,
                "level": finding.level.value,
                "text": finding.text,
                "fix": finding.fix or None,
            }
            for finding in findings
        ],
    }
