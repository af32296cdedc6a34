"""Where an attempt's files lie: one folder per token, so that a fenced attempt disturbs no other."""

import shutil
from contextlib import suppress
from pathlib import Path

from postq.database_tag import tagged
from postq.jobs.leases import Lease
from postq.registry.bundle_place import BUNDLES_FOLDER

MAKING_TRIES = 5
"""How often a folder is made whose parent another attempt may find empty, and remove, at the same moment."""


class Folders:
    """The folders of attempts and checkpoints below one home, of the database with this tag."""

    def __init__(self, home: Path, *, tag: str) -> None:
        self.home = home
        self._tag = tag

    def output(self, lease: Lease) -> Path:
        """Result files of this attempt."""
        return self._shard(lease) / f"token-{lease.token}"

    def checkpoints(self, lease: Lease) -> Path:
        """Checkpoints this attempt writes."""
        return self._job(lease) / f"token-{lease.token}"

    @property
    def bundles(self) -> Path:
        """All bundles, each in a folder whose name begins with its digest."""
        return self.home / BUNDLES_FOLDER

    def prepare(self, lease: Lease) -> None:
        """Make the attempt's folders, empty, and drop the results of attempts before it.

        A database that was restored gives numbers out anew, under which another job's files may lie.
        """
        shutil.rmtree(self._shard(lease), ignore_errors=True)
        shutil.rmtree(self.checkpoints(lease), ignore_errors=True)
        _make(self.output(lease))
        _make(self.checkpoints(lease))

    def drop_output(self, lease: Lease) -> None:
        """The attempt is over: its result is in the database, or of no use."""
        shutil.rmtree(self.output(lease), ignore_errors=True)
        _remove_empty(self._shard(lease))
        _remove_empty(self.checkpoints(lease))
        _remove_empty(self._job(lease))

    def drop_checkpoints(self, lease: Lease) -> None:
        """The training is done: nothing will be resumed."""
        shutil.rmtree(self._job(lease), ignore_errors=True)

    def drop_superseded_checkpoints(self, lease: Lease) -> None:
        """A checkpoint of this attempt is registered: those of earlier ones will not be asked for again."""
        for folder in self._job(lease).glob("token-*"):
            if _token_of(folder) < lease.token:
                shutil.rmtree(folder, ignore_errors=True)

    def relative(self, path: Path) -> str:
        """`path` as the database stores it: machines may mount home at different places."""
        return path.relative_to(self.home).as_posix()

    def _shard(self, lease: Lease) -> Path:
        return self.home / "attempts" / tagged(f"shard-{lease.shard_id}", self._tag)

    def _job(self, lease: Lease) -> Path:
        return self.home / "checkpoints" / tagged(f"job-{lease.job_id}", self._tag)


def _token_of(folder: Path) -> int:
    number = folder.name.removeprefix("token-")
    return int(number) if number.isdigit() else 0


def _make(folder: Path) -> None:
    """Make a folder and its parents, also while the attempt before this one clears the parents away."""
    for _ in range(MAKING_TRIES - 1):
        with suppress(FileNotFoundError):
            folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            return
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)


def _remove_empty(folder: Path) -> None:
    """In one step of the kernel's, since the next attempt may make a folder in here at any moment."""
    with suppress(OSError):
        folder.rmdir()
