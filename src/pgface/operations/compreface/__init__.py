"""Migrates an installation of CompreFace (its PostgreSQL, or a dump of it) into galleries."""
