"""The worker: one process per device that claims shards, runs them in a child and commits what they bring."""
