# What the programs for private servers share: who owns a server, where it lives, on which port.
#
# Sourced by the programs `private-…`. Neither Postgres nor PgBouncer runs as root, so root starts them as `postgres`,
# or as `nobody`.

# Sets `owner`.
pick_owner() {
    owner=$(id -un)
    if [ "$(id -u)" = 0 ]; then
        owner=nobody
        if id postgres >/dev/null 2>&1; then owner=postgres; fi
    fi
}

# Runs a command as the server's owner.
as_owner() {
    if [ "$owner" = "$(id -un)" ]; then
        "$@"
    elif type -P setpriv >/dev/null; then
        setpriv --reuid "$owner" --regid "$(id -g "$owner")" --clear-groups -- "$@"
    else
        runuser -u "$owner" -- "$@"
    fi
}

# Makes a folder for the owner alone, and sets `folder`.
make_folder() {
    local parent
    # The folder for temporary files may be closed to the server's owner.
    for parent in "${TMPDIR:-/tmp}" /tmp; do
        if as_owner test -x "$parent"; then break; fi
    done
    folder=$(mktemp -d "$parent/headcount-$1.XXXXXX")
}

# Gives files to the server's owner.
give() {
    if [ "$owner" != "$(id -un)" ]; then chown "$owner" "$@"; fi
}

# Sets `port` to a free one, below the range from which the kernel gives ports to outgoing connections, so that a server
# that was stopped finds its port free when it starts again.
pick_port() {
    local tries
    for tries in {1..50}; do
        port=$((15000 + RANDOM % 15000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then return; fi
    done
}
