"""The work of jobs, and the worker that does it."""
