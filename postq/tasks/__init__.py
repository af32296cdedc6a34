"""What each kind of job does: `run` in the runner (ML, no database), `store` in the supervisor."""
