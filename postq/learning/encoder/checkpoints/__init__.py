"""Checkpoints: a training saved so that it can go on as if nothing had happened."""
