"""`postq report`, `compare` and `drift`: what was learned, judged from stored facts."""
