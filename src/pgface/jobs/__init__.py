"""Long work in the background: what a job is, its uploads, and its place in the queue.

`pgface.operations.jobs` does the work.
"""
