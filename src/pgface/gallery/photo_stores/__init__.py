"""Where the face crops of a gallery are stored: a folder, PostgreSQL, or an S3-compatible store."""
