"""Learning: labels, models, thresholds, metrics and bundles. Knows no database, queue or terminal."""
