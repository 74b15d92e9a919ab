#!/usr/bin/env bash
# Prepares the first primary of compose.replicas.yaml for its standbys. PostgreSQL's image runs it once.
set -euo pipefail

echo "host replication $POSTGRES_USER samenet scram-sha-256" >>"$PGDATA/pg_hba.conf"
# From the next start on, each commit waits until the standby shows it.
psql --no-psqlrc -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" <<END
ALTER SYSTEM SET synchronous_standby_names = '"$SYNCHRONOUS"';
ALTER SYSTEM SET synchronous_commit = 'remote_apply';
END
