"""Frozen data that crosses layers: job specs, recipes, documents, scores and the runner's messages."""
