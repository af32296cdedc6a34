"""Two transactions of which the second begins while the first is open, on PostgreSQL, which lets both."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.errors import PostqError
from tests.integration.engine.world import World

Verb = Callable[[Session], Any]
only_postgres = pytest.mark.parametrize(
    "shared_database", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)


class Crossed:
    """Runs one verb in an open transaction and another beside it."""

    def __init__(self, world: World, wait_until: Callable[..., Any]) -> None:
        self._world = world
        self._wait_until = wait_until

    def __call__(self, first: Verb, second: Callable[[], Any]) -> Any:
        """What `second` returned; it is either done before `first` commits, or waits for it."""
        with ThreadPoolExecutor(1) as pool:
            with self._world.session() as session:
                first(session)
                other = pool.submit(second)
                self._wait_until(lambda: self.somebody_waits() or other.done(), 10)
            return other.result(timeout=10)

    def refused(self, first: Verb, second: Callable[[], Any]) -> PostqError:
        """The refusal of `second`."""
        with pytest.raises(PostqError) as caught:
            self(first, second)
        return caught.value

    def somebody_waits(self) -> bool:
        """Whether a transaction waits for another one's lock."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = :name"
        with self._world.database.reading() as session:
            name = self._world.database.engine.url.database
            return bool(session.execute(sa.text(query), {"name": name}).scalar_one())


def alone(world: World, verb: Verb) -> Callable[[], Any]:
    """`verb` in a transaction of its own."""

    def run() -> Any:
        with world.session() as session:
            return verb(session)

    return run
