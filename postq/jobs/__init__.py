"""The durable engine: states, submitting, claims, leases, fenced commits, retries, maintenance, queries."""
