"""Fault 25: a short run of the seeded nemesis; long ones are `make nemesis SEED=… MINUTES=…`."""

from pathlib import Path

import pytest

from tests.faults import nemesis
from tests.faults.matrix import Setting
from tests.faults.stock import Stock


@pytest.mark.slow
@pytest.mark.fault(25)
@pytest.mark.usual("postgresql-redis")
def test_random_jobs_under_random_faults_lose_and_double_nothing(
    setting: Setting, broker_url: str, stock: Stock, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    done, counted = nemesis.run(
        tmp_path,
        stock=stock,
        seed=25,
        seconds=20,
        database_url=request.getfixturevalue("postgres_url") if setting.database == "postgresql" else None,
        broker_url=None if setting.broker == "embedded" else broker_url,
    )
    assert (counted.lost, counted.duplicated, counted.unexpected) == (0, 0, 0)
    assert done.clean
