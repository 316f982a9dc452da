#!/usr/bin/env bash
# Run a command with JINGDI_TEST_DATABASE_URL naming a PostgreSQL of its own: on loopback, in a temporary folder, gone
# afterwards. PostgreSQL 15 is installed if it is not there. Where that cannot be, says so and runs nothing.
#
#     tests/postgres.sh .venv/bin/pytest tests/test_database.py
set -euo pipefail

skip() {
    echo "PostgreSQL was SKIPPED: $1" >&2
    exit 0
}

# Debian keeps initdb out of PATH.
find_bin() {
    local found
    for found in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV) "$(dirname "$(command -v initdb || echo /)")"; do
        if [ -x "$found/initdb" ]; then
            echo "$found"
            return
        fi
    done
}

bin=$(find_bin)
if [ -z "$bin" ]; then
    command -v apt-get >/dev/null || skip "it is not installed and there is no apt-get to install it with"
    as_root=""
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || skip "it is not installed and this user may not install it"
        as_root="sudo -n"
    fi
    { $as_root apt-get update -q && $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
        --no-install-recommends postgresql-15; } >&2 || skip "apt-get could not install postgresql-15"
    bin=$(find_bin)
    [ -n "$bin" ] || skip "postgresql-15 is installed but has no initdb"
fi

folder=$(mktemp -d)
as_user=() # the server refuses to run as root
if [ "$(id -u)" = 0 ]; then
    chown postgres "$folder"
    as_user=(runuser -u postgres --)
fi
pg() { (cd "$folder" && "${as_user[@]}" "$@"); }
finish() {
    pg "$bin/pg_ctl" -D data -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$folder"
}
trap finish EXIT
trap 'exit 143' HUP INT TERM

# Loopback only, and with a password. Tests kill clients and never the server, so nothing need be synced to the disk.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
password=$(python3 -c 'import secrets; print(secrets.token_hex(16))')
if ! {
    pg sh -c 'umask 077; cat > password' <<<"$password"
    pg "$bin/initdb" -D data -U jingdi -A scram-sha-256 --pwfile=password -E UTF8 --locale=C.UTF-8
    pg "$bin/pg_ctl" -D data -l log -w -o "-h 127.0.0.1 -p $port -k $folder -c fsync=off" start
} >"$folder/setup" 2>&1; then
    cat "$folder/setup" "$folder/log" >&2
    exit 1
fi
"$bin/postgres" --version
JINGDI_TEST_DATABASE_URL="postgresql+psycopg://jingdi:$password@127.0.0.1:$port/postgres" "$@"
