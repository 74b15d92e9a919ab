"""The embedded PostgreSQL: a server in the data folder that pgface starts and stops."""
