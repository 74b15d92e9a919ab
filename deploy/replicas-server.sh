#!/usr/bin/env bash
# Runs one PostgreSQL server of compose.replicas.yaml, in PostgreSQL's image.
#
#   replicas-server.sh postgres OPTION...   starts the server. A standby without data first copies its source
#   replicas-server.sh copy                 deletes the data of this server, and copies its source
#
# SERVER is the name of this server, and SOURCE that of the server that it copies and follows. SOURCE_IS is `primary` if
# it may only copy a primary, or `any`. FIRST is set for the server that makes the database.
set -euo pipefail

main() {
    write_password_file
    case $1 in
        copy) copy ;;
        *) start "$@" ;;
    esac
}

start() {
    if [ -s "$PGDATA/PG_VERSION" ]; then
        if [ ! -e "$PGDATA/standby.signal" ] && answers "$SOURCE" primary; then
            fail "$SOURCE is the primary now, so this old primary does not start. Make it a standby with" \
                "\`docker compose run --rm $SERVER copy\`."
        fi
    elif [ -n "${FIRST:-}" ]; then
        if answers "$SOURCE" any; then
            fail "This server has no data, and $SOURCE has. Copy it with \`docker compose run --rm $SERVER copy\`."
        fi
    else
        copy
    fi
    # Also the name under which a standby connects, for synchronous_standby_names.
    exec docker-entrypoint.sh "$@" "--cluster_name=$SERVER"
}

copy() {
    local new=$PGDATA.new
    require_stopped
    until as_postgres rm -rf "$new" && as_postgres pg_basebackup --dbname="$(connection "$SOURCE" "$SOURCE_IS")" \
        --pgdata="$new" --checkpoint=fast --write-recovery-conf; do
        echo "Waiting for $SOURCE." >&2
        sleep 1
        require_stopped
    done
    # A copy has the settings of its source. After its promotion, it must not wait for a standby of its own.
    echo "synchronous_standby_names = ''" | as_postgres tee -a "$new/postgresql.auto.conf" >/dev/null
    require_stopped
    as_postgres rm -rf "$PGDATA"
    as_postgres mv "$new" "$PGDATA"
}

require_stopped() {
    if answers "$SERVER" any; then
        fail "This server runs. Stop it first with \`docker compose stop $SERVER\`."
    fi
}

# The servers connect to one another as the first user, whose password is a secret that only root may read.
write_password_file() {
    (umask 077 && echo "*:*:*:$POSTGRES_USER:$(cat "$POSTGRES_PASSWORD_FILE")" | as_postgres tee "$PGPASSFILE" >/dev/null)
}

answers() {
    psql --no-psqlrc --no-password --dbname="$(connection "$1" "$2") dbname=$POSTGRES_DB" -c 'SELECT 1' >/dev/null 2>&1
}

connection() {
    echo "host=$1 user=$POSTGRES_USER connect_timeout=2 target_session_attrs=$2"
}

as_postgres() {
    if [ "$(id -u)" = 0 ]; then gosu postgres "$@"; else "$@"; fi
}

fail() {
    echo "$*" >&2
    exit 1
}

main "$@"
