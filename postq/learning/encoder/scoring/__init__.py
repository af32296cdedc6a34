"""Bulk scoring with an encoder bundle, and the space its scores lie in."""
