"""Corpora: reading sources, setting records aside, snapshots, near-duplicates, splits, synthetic opinions."""
