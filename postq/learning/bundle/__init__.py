"""A trained model on disk: a folder in the Hub's layout, written whole or not at all, checked when opened."""

from postq.learning.bundle.bundle import Bundle, fingerprint
from postq.learning.bundle.mending import mend, mend_all
from postq.learning.bundle.opening import open_bundle
from postq.learning.bundle.writing import copy_bundle, write_bundle

__all__ = ["Bundle", "copy_bundle", "fingerprint", "mend", "mend_all", "open_bundle", "write_bundle"]
