"""APIs of other services, for the clients that people already have."""
