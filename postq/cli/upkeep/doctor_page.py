"""How the findings of `postq doctor` look in a terminal."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from postq.cli.printing.tables import grid
from postq.cli.printing.terminal import clean
from postq.cli.upkeep.checks import Finding, Level
from postq.cli.upkeep.setting_sources import SettingValue

MARKS = {Level.OK: ("✓", "green"), Level.NOTE: ("!", "yellow"), Level.BROKEN: ("✗", "bold red")}


def doctor_page(values: Sequence[SettingValue], findings: Sequence[Finding]) -> RenderableType:
    """Settings first, then the checks, then one line of verdict."""
    parts: list[RenderableType] = []
    if values:
        parts += [Text("Settings", style="bold"), grid(map(_setting, values)), Text("")]
    parts += [Text("Checks", style="bold"), grid(map(_check, findings)), Text("")]
    return Group(*parts, _verdict(findings))


def _setting(value: SettingValue) -> tuple[Text, Text, Text]:
    faint = "dim" if value.source == "default" else ""
    return (
        Text(value.name, style=faint),
        Text(clean(value.value), style=faint, overflow="fold"),
        Text(value.source, style="dim" if faint else "cyan"),
    )


def _check(finding: Finding) -> tuple[Text, Text]:
    mark, style = MARKS[finding.level]
    text = Text(clean(finding.text))
    if finding.fix:
        text.append(f"\n→ {clean(finding.fix)}", style="cyan")
    return Text.assemble((mark, style), f" {finding.check}"), text


def _verdict(findings: Sequence[Finding]) -> Text:
    broken = sum(finding.level is Level.BROKEN for finding in findings)
    if not broken:
        return Text("postq is ready.", style="green")
    return Text(f"{broken} of these must be mended before postq works as set up.", style="bold red")
