# Keeps a PgBouncer for as long as its own input is open, and removes it then. Arguments: the program, the folder to work
# in, the port, and the server's port.
set -eu
trap '' INT TERM HUP
program=$1 folder=$2 port=$3 server=$4
cd "$folder"
cat >settings <<EOF
[databases]
* = host=127.0.0.1 port=$server
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
auth_type = md5
auth_file = $folder/password
logfile = $folder/log
pidfile = $folder/pid
pool_mode = transaction
EOF
"$program" -q -d settings </dev/null >/dev/null 2>&1 || { tail -n 3 log; exit 1; }
tries=0
while ! [ -s pid ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt 200 ]; then tail -n 3 log; exit 1; fi
    sleep 0.05
done
echo ready
cat >/dev/null
kill -KILL "$(cat pid)" 2>/dev/null || true
rm -f settings log pid password
