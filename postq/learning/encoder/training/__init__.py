"""Fine-tuning: a training made ready, its course alone or in several processes, and what comes out."""
