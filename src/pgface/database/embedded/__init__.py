"""The embedded PostgreSQL: a server of its own in the data folder."""
