"""Connects to PostgreSQL, runs the embedded server, and contains the SQL."""
