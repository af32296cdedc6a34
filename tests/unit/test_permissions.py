"""What postq writes is closed to other users of the machine."""

import os
import stat
from pathlib import Path

from postq.db import open_database
from postq.migrations import upgrade
from postq.settings import Settings


def test_nobody_else_may_enter_the_home_folder_whatever_the_umask(isolated_settings: Path) -> None:
    before = os.umask(0)
    try:
        database = open_database(Settings())
        upgrade(database)
        database.dispose()
    finally:
        os.umask(before)
    assert stat.S_IMODE(isolated_settings.stat().st_mode) & stat.S_IRWXO == 0
    assert (isolated_settings / "postq.db").exists()
