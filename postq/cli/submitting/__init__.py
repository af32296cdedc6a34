"""`postq submit-train`, `submit-eval`, `classify-corpus` and `schedule`: jobs and where they may run."""
