"""The vector indexes: the specification's for SQL that orders by distance, and the one of identification."""
