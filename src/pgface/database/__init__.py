"""Connects to PostgreSQL, runs the embedded server, and holds the SQL."""
