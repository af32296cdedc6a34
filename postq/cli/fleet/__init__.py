"""`postq up`: the workers of this machine kept running, and what it says meanwhile."""
