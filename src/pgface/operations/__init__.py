"""What an operator runs beside the service: backup, health checks, migration, transfer, benchmarks."""
