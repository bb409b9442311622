"""Benchmarks that users run too: `pgpo-async bench ...` prints a table and writes its figures as JSON."""
