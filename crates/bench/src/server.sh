# Keeps a Postgres server for as long as its own input is open, and removes it then: whoever asked for it may die in any
# way. Arguments: the folder of the server's programs, the folder to work in, the port.
set -eu
trap '' INT TERM HUP
bin=$1 folder=$2 port=$3
cd "$folder"
"$bin/initdb" --pgdata data --username headcount --pwfile password --auth-host password --auth-local trust \
    --encoding UTF8 --no-locale --no-sync </dev/null >log 2>&1 || { tail -n 3 log; exit 1; }
"$bin/pg_ctl" --pgdata data --log log --wait --timeout 60 --silent \
    --options "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c shared_preload_libraries=" \
    start </dev/null >/dev/null 2>&1 || { tail -n 3 log; exit 1; }
echo ready
cat >/dev/null
"$bin/pg_ctl" --pgdata data --wait --silent --mode immediate stop </dev/null >/dev/null 2>&1 || true
rm -rf data log password
