"""Face recognition in your PostgreSQL."""
