"""Rules between labels: mined from training documents, judged on tuning scores, kept only where they help."""
