"""Trainings that all end in one bundle, whose folder is a real one to the registry."""

from pathlib import Path

from sqlalchemy.orm import Session

from postq.database_tag import database_tag, tagged
from postq.jobs.commit import StoredCounts, commit
from postq.jobs.leases import Lease
from postq.tasks import train
from tests.integration.engine.crossing import Verb
from tests.integration.engine.world import World

DIGEST = "c0ffee" + "0" * 58


def place_of_bundle(world: World) -> Path:
    """Where the bundle of the trainings lies."""
    home = world.settings.home
    with world.database.reading() as session:
        return home / "bundles" / tagged(DIGEST, database_tag(session, home=home))


def finish_training(world: World, lease: Lease) -> Verb:
    """The commit of a training whose bundle has DIGEST, whatever its attempt."""
    output = world.settings.home / "made" / str(lease.attempt_id)
    made = output / train.BUNDLE_FOLDER
    made.mkdir(parents=True)
    (made / "labels.json").write_text("[]")
    result = {
        "facts": {"digest": DIGEST, "kind": "tfidf"},
        "fingerprint": "ab" * 16,
        "threshold_digest": "t",
        "labels": ["affirmed"],
        "size_bytes": 2,
    }

    def store(session: Session, lease: Lease) -> StoredCounts:
        home = world.settings.home
        return train.store(session, lease, result, folder=output, home=home, now=world.now)

    return lambda session: commit(session, lease, now=world.now, settings=world.settings, store=store)
