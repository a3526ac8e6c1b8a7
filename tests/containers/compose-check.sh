#!/usr/bin/env bash
# Starts docker-compose.yml as a project of its own, sends events through Kafka and receives their
# notifications over wss through the proxy, while one service after another fails. Prints a row per
# step; fails if a notification was lost or delivered twice, or if anything is left behind.
# SERVICES="kafka redis ..." starts only these; `make compose-check IMAGES=` builds no images.
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! docker version >/dev/null 2>&1 || ! docker compose version >/dev/null 2>&1; then
    echo "compose-check: not run, as no Docker engine with Compose answers"
    exit 0
fi

project=huleedu-notifications-check
JWT_SECRET_KEY=$(od -An -tx1 -N32 /dev/urandom | tr -d ' \n')
export JWT_SECRET_KEY
folder=$(mktemp -d)
failed=0

compose() {
    docker compose --project-name "$project" --file docker-compose.yml \
        --file tests/containers/compose.yml --profile full "$@"
}

clean_up() {
    docker rm --force "$project-load" >/dev/null 2>&1 || true
    compose down --volumes --remove-orphans >"$folder/down" 2>&1 || cat "$folder/down" >&2
    rm -rf "$folder"
}
trap clean_up EXIT

# Sends 100 events per second for a minute, to 20 users with a connection each.
load() {
    compose run --name "$project-load" --rm --no-TTY --no-deps load --row "$1" \
        --gateway wss://localhost:8443/ws \
        --kafka kafka:19092 --kafka-property metadata.recovery.strategy=none \
        --sockets 20 --rate 100 --seconds 60 --warm-up 0 \
        --reconnect --idle-limit 60 --max-send-delay 1000
}

# step <name> <fault...>: runs a fault while events are sent and received.
step() {
    local name=$1 row="$folder/row" log="$folder/log" problem=
    shift
    : >"$log"
    load "$name" >"$row" 2>>"$log" &
    local load=$!
    until grep -q '[1-9][0-9]* received' "$log" || ! kill -0 "$load" 2>/dev/null; do sleep 0.2; done
    "$@" >>"$log" 2>&1 || problem="the fault could not be made"
    wait "$load" || problem+=" the load tester failed"
    cat "$row"
    if [ -n "$problem" ]; then
        failed=1
        { cat "$log" && echo "$name: $problem"; } >&2
    fi
}

stop_redis() {
    compose stop redis && sleep 10 && compose start redis
}

kill_and_start() {
    compose kill "$1" && compose start "$1"
}

make --no-print-directory images >&2
# shellcheck disable=SC2086 # a list of services
compose up --no-build --detach --wait ${SERVICES-}
echo "| step | events sent | received | missing | twice | longest silence |"
echo "|---|---|---|---|---|---|"
step "no fault" true
step "Redis stopped for 10 s" stop_redis
step "worker killed" kill_and_start ingest-worker
step "worker restarted" compose restart ingest-worker
step "broker killed" kill_and_start kafka
step "broker restarted" compose restart kafka
step "gateway killed" kill_and_start ws-gateway
step "gateway restarted" compose restart ws-gateway

trap - EXIT
clean_up
of_project=(--quiet --filter "label=com.docker.compose.project=$project")
left=$(
    docker container ls --all "${of_project[@]}"
    docker volume ls "${of_project[@]}"
    docker network ls "${of_project[@]}"
)
if [ -n "$left" ]; then
    echo "compose-check: left behind: $left" >&2
    failed=1
fi
exit "$failed"
