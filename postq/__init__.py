"""postq: durable batch jobs for multi-label classification of long legal documents."""

__version__ = "0.1.0"
