"""Every error postq raises on purpose: one sentence of what is wrong, one hint, one exit code.

PostqError                     1  base; never raised itself
├── BadInput                   3  what the user gave cannot be used
│   ├── CorpusUnreadable       3  a corpus file is empty, binary, truncated or not the stated form
│   ├── LabelSetMismatch       3  labels asked for and labels at hand do not fit
│   ├── NotTrainable           3  a corpus has no labels, or too few documents, to train or test on
│   ├── BundleUnusable         3  a bundle folder lacks files or its parts do not fit each other
│   └── LossNotFinite          3  a training's loss stays not-a-number whatever is left out
├── NotFound                   4  an unknown job, corpus, bundle, alias, schedule or worker
├── Conflict                   5  the thing exists, but its state forbids what was asked
├── Environment                6  the machine or a service is not as postq needs it
│   ├── SettingsInvalid        6  a setting has a wrong value, or an unknown name
│   ├── DatabaseUnavailable    6  the database cannot be reached, or refuses the login
│   ├── StorageUnavailable     6  a disk is full, read-only, or a folder may not be written
│   ├── ExtraMissing           6  an optional part of postq is not installed
│   ├── DeviceUnavailable      6  the device asked for is not on this machine
│   ├── DeviceOccupied         6  the model does not fit into what is left of the device's memory
│   ├── DeviceMemoryExhausted  6  one document alone does not fit into the device's memory
│   ├── RankLost               6  one of the processes that train together died
│   └── TokeniserLost          6  one of the processes that tokenise ahead of a device died
├── SchemaMismatch             7  database schema and code are of different versions
└── IntegrityError             8  stored bytes, or the honesty of a number, cannot be vouched for
    ├── DigestMismatch         8  a file is not the one its manifest was written for
    └── LeakRefused            8  evaluation on documents the bundle was trained or tuned on

Exit codes 0 and 2 are success and wrong usage; 10, 11 and 12 tell how a waited-for job ended
(failed, cancelled, succeeded with quarantine); 13 is an alarm of `postq drift`, 130 is Ctrl-C.
`docs/exit_codes.md` lists them all.
"""

from typing import ClassVar


class PostqError(Exception):
    """Base of all errors meant for the user: `message` says what is wrong, `hint` what to do."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class BadInput(PostqError):
    """What the user gave cannot be used as it is."""

    exit_code = 3


class CorpusUnreadable(BadInput):
    """A corpus file is empty, binary, truncated, or not in the stated form."""


class LabelSetMismatch(BadInput):
    """The labels asked for and the labels at hand do not fit each other."""


class NotTrainable(BadInput):
    """The corpus has no labels, or too few documents, to train or evaluate on."""


class BundleUnusable(BadInput):
    """A bundle folder lacks files, or its parts do not fit each other."""


class LossNotFinite(BadInput):
    """The loss or its gradient is not a number, and leaving out documents did not mend it."""


class NotFound(PostqError):
    """No job, corpus, bundle, alias, schedule or worker goes by that name."""

    exit_code = 4


class Conflict(PostqError):
    """The thing exists, but its present state forbids what was asked."""

    exit_code = 5


class Environment(PostqError):
    """The machine or a service is not as postq needs it."""

    exit_code = 6


class SettingsInvalid(Environment):
    """A setting has a wrong value, or a name postq does not know."""


class DatabaseUnavailable(Environment):
    """The database cannot be reached, or refuses the login."""


class StorageUnavailable(Environment):
    """A disk is full or read-only, or a folder may not be written."""


class ExtraMissing(Environment):
    """An optional part of postq (an extra) is not installed."""


class DeviceUnavailable(Environment):
    """The device asked for is not on this machine."""


class DeviceOccupied(Environment):
    """The model alone does not fit into what is left of the device's memory."""


class DeviceMemoryExhausted(Environment):
    """One document alone does not fit into the device's memory."""


class RankLost(Environment):
    """One of the processes that train together died without a word; `returncode` is as a shell sees it."""

    def __init__(self, message: str, *, hint: str, returncode: int = 1) -> None:
        super().__init__(message, hint=hint)
        self.returncode = returncode


class TokeniserLost(Environment):
    """One of the processes that tokenise ahead of a device died."""


class SchemaMismatch(PostqError):
    """The database schema and this code are of different versions."""

    exit_code = 7


class IntegrityError(PostqError):
    """Stored bytes, or the honesty of a number, cannot be vouched for."""

    exit_code = 8


class DigestMismatch(IntegrityError):
    """A stored file is not the one its manifest was written for."""


class LeakRefused(IntegrityError):
    """The evaluation would touch documents the bundle was trained or tuned on."""
