"""On which databases and brokers each fault is staged: on a few in every run, on all that apply when asked.

A test that takes the fixture `setting` (or `ground`, which does) says so by three marks:

- `fault(4, 5)`: which faults of docs/reliability.md it stages;
- `usual("sqlite-embedded")`: the settings of every run;
- `never(embedded="there is no broker to kill")`: databases, brokers or settings it cannot be staged on.

`--matrix full` runs all the rest too, `--matrix postgresql-redis` one setting alone.
"""

import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import pytest

DATABASES = ("sqlite", "postgresql")
BROKERS = ("embedded", "redis", "rabbitmq")
_SERVERS = {"postgresql": pytest.mark.postgres, "redis": pytest.mark.redis, "rabbitmq": pytest.mark.rabbitmq}


@dataclass(frozen=True, slots=True)
class Setting:
    """One database with one broker."""

    database: str
    broker: str

    def __str__(self) -> str:
        return f"{self.database}-{self.broker}"


SETTINGS = tuple(Setting(*pair) for pair in itertools.product(DATABASES, BROKERS))
CHOICES = ("usual", "full", *map(str, SETTINGS))


def stageable(item: pytest.Item) -> list[object]:
    """The settings a test can be staged on, as parameters."""
    left_out = {name for mark in item.iter_markers("never") for name in mark.kwargs}
    unknown = left_out - {*DATABASES, *BROKERS, *(str(one).replace("-", "_") for one in SETTINGS)}
    if unknown:
        raise pytest.UsageError(f"{item.nodeid}: no such database, broker or setting: {sorted(unknown)}")
    return [
        pytest.param(one, id=str(one), marks=[_SERVERS[name] for name in _parts(one) if name in _SERVERS])
        for one in SETTINGS
        if not left_out & {*_parts(one), str(one).replace("-", "_")}
    ]


def _parts(setting: Setting) -> tuple[str, str]:
    return setting.database, setting.broker


def is_wanted(item: pytest.Item, choice: str) -> bool:
    """Whether a test belongs to this run; its fault and setting are noted for the table on the way."""
    setting = getattr(item, "callspec", None) and item.callspec.params.get("setting")  # type: ignore[attr-defined]
    if setting is None:
        return True
    fault, usual = item.get_closest_marker("fault"), item.get_closest_marker("usual")
    if fault is None or usual is None or not set(usual.args) <= set(CHOICES):
        raise pytest.UsageError(f"{item.nodeid} needs the marks `fault` and `usual`, with known settings")
    item.user_properties += [("setting", str(setting)), *(("fault", number) for number in fault.args)]
    return choice == "full" or str(setting) == choice or (choice == "usual" and str(setting) in usual.args)


def table(reports: Iterable[pytest.TestReport]) -> list[str]:
    """Fault by setting: how many of how many passed; a dash where nothing was staged."""
    ran: Counter[tuple[int, str]] = Counter()
    passed: Counter[tuple[int, str]] = Counter()
    for report in reports:
        facts = report.user_properties
        setting = dict(facts).get("setting")
        for fault in [value for name, value in facts if name == "fault"]:
            ran[fault, setting] += 1
            passed[fault, setting] += report.outcome == "passed"
    lines = [f"{'fault':>5}" + "".join(f"{one!s:>21}" for one in SETTINGS)]
    for fault in sorted({fault for fault, _ in ran}):
        cells = [
            f"{passed[fault, str(one)]}/{ran[fault, str(one)]}" if ran[fault, str(one)] else "–"
            for one in SETTINGS
        ]
        lines.append(f"{fault:>5}" + "".join(f"{cell:>21}" for cell in cells))
    return lines if len(lines) > 1 else []
