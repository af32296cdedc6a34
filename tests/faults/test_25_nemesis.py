"""Fault 25: a short run of the seeded nemesis; long ones are `make nemesis SEED=… MINUTES=…`."""

from pathlib import Path

import pytest

from tests.faults import nemesis
from tests.services import fresh_postgres_database


@pytest.mark.slow
@pytest.mark.postgres
def test_random_jobs_under_random_faults_lose_and_double_nothing(tmp_path: Path) -> None:
    with fresh_postgres_database() as url:
        done, counted = nemesis.run(tmp_path, seed=25, seconds=20, database_url=url)
    assert (counted.lost, counted.duplicated, counted.unexpected) == (0, 0, 0)
    assert done.clean
