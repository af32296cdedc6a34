"""Decision thresholds: exact, micro-optimal, bagged and shrunk, with provenance and honest estimates."""
