"""`postq doctor`, `db` and `prune`: an installation, and keeping it in order."""
