#!/usr/bin/env bash
# Applies the dev overlay to the cluster of the current kubectl context, sends events and receives
# their notifications from a pod, while services are rolled, scaled, drained and killed. Prints a
# row per step; fails if a notification was lost or delivered twice. The nodes need the images
# huleedu/*:dev of `make images`; they are loaded if the cluster is one of kind.
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! kubectl version >/dev/null 2>&1; then
    echo "cluster-check: not run, as the current kubectl context has no cluster that answers"
    exit 0
fi
namespaces=(huleedu-notifications huleedu gateway)
for namespace in "${namespaces[@]}"; do
    if kubectl get namespace "$namespace" >/dev/null 2>&1; then
        echo "cluster-check: the namespace $namespace exists, and would be deleted at the end" >&2
        exit 1
    fi
done

folder=$(mktemp -d)
failed=0
drained=

clean_up() {
    [ -z "$drained" ] || kubectl uncordon "$drained" >/dev/null
    kubectl delete --ignore-not-found --filename tests/containers/cluster.yaml >/dev/null
    kubectl delete --ignore-not-found --kustomize k8s/overlays/dev >/dev/null
    rm -rf "$folder"
}
trap clean_up EXIT

# In the namespace of the Gateway, whose pods alone may connect to gateways, beside Kafka.
affinity='{"spec": {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
    {"topologyKey": "kubernetes.io/hostname", "namespaces": ["huleedu"],
     "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "kafka"}}}]}}}}'

# Sends 100 events per second for $seconds seconds, to 20 users with a connection each.
start_load() {
    kubectl run load --namespace gateway --image huleedu/load:dev --restart Never \
        --image-pull-policy IfNotPresent --overrides "$affinity" \
        --env JWT_SECRET_KEY=development-only-not-a-secret -- \
        --row "$1" --gateway ws://ws-gateway.huleedu-notifications.svc/ws \
        --audience huleedu-platform --issuer huleedu-identity-service \
        --kafka kafka.huleedu.svc:9092 --kafka-property metadata.recovery.strategy=none \
        --sockets 20 --rate 100 --seconds "$seconds" --warm-up 0 \
        --reconnect --idle-limit 60 --max-send-delay 1000
}

log_of_load() {
    kubectl logs --namespace gateway load
}

phase_of_load() {
    kubectl get pod load --namespace gateway --output 'jsonpath={.status.phase}'
}

has_ended() {
    [[ $(phase_of_load) =~ Succeeded|Failed ]]
}

# step <seconds> <name> <change...>: makes a change while events are sent for that long.
step() {
    local seconds=$1 name=$2 problem=
    shift 2
    start_load "$name" >"$folder/log" 2>&1
    until log_of_load 2>/dev/null | grep -q '[1-9][0-9]* received' || has_ended; do sleep 1; done
    "$@" >>"$folder/log" 2>&1 || problem="the change failed"
    until has_ended; do sleep 1; done
    [ "$(phase_of_load)" = Succeeded ] || problem+=" the load tester failed"
    log_of_load | grep '^| ' || problem+=" without a result"
    if [ -n "$problem" ]; then
        failed=1
        { cat "$folder/log" && log_of_load && echo "$name: $problem"; } >&2
    fi
    kubectl delete pod load --namespace gateway >/dev/null
}

ours() {
    kubectl --namespace huleedu-notifications "$@"
}

roll() {
    ours rollout restart "$1" &&
        ours rollout status "$1" --timeout 3m
}

scale() {
    ours scale deployment/ws-gateway --replicas "$1" &&
        ours rollout status deployment/ws-gateway --timeout 3m
}

# Scales down and waits until the other pods are gone.
scale_down() {
    ours scale deployment/ws-gateway --replicas "$1" || return
    until [ "$(ours get pods --selector app.kubernetes.io/name=ws-gateway --output name |
        wc -l)" = "$1" ]; do sleep 1; done
}

kill_pods() {
    ours delete pods --selector "app.kubernetes.io/name=$1" --grace-period 0 --force &&
        sleep 1 &&
        ours rollout status "$2" --timeout 3m
}

drain() {
    drained=$1
    kubectl drain "$1" --ignore-daemonsets --timeout 3m \
        --pod-selector app.kubernetes.io/part-of=huleedu-notifications || return
    kubectl uncordon "$1"
    drained=
    ours rollout status deployment/ws-gateway --timeout 3m &&
        ours rollout status statefulset/ingest-worker --timeout 3m
}

# A node with pods of the services and without Kafka.
node_to_drain() {
    local kafka
    kafka=$(kubectl get pod kafka --namespace huleedu --output 'jsonpath={.spec.nodeName}')
    ours get pods --output 'jsonpath={range .items[*]}{.spec.nodeName}{"\n"}{end}' |
        grep --invert-match --line-regexp "$kafka" | sort --unique | head -1 || true
}

context=$(kubectl config current-context)
if [[ $context = kind-* ]]; then
    kind load docker-image --name "${context#kind-}" \
        huleedu/ingest-worker:dev huleedu/ws-gateway:dev huleedu/load:dev
fi
{
    kubectl apply --filename tests/containers/cluster.yaml
    kubectl wait pod --all --namespace huleedu --for condition=Ready --timeout 5m
    # Without the CustomResourceDefinitions of KEDA and Gateway API, which dev does not use.
    kubectl apply --kustomize k8s/overlays/dev
    ours rollout status statefulset/ingest-worker --timeout 5m
    ours rollout status deployment/ws-gateway --timeout 5m
} >&2

echo "| step | events sent | received | missing | twice | longest silence |"
echo "|---|---|---|---|---|---|"
step 20 "no change" true
step 60 "worker rolled" roll statefulset/ingest-worker
step 90 "gateway rolled" roll deployment/ws-gateway
step 90 "gateways scaled from 1 to 3" scale 3
node=$(node_to_drain)
[ -z "$node" ] || step 120 "a node drained" drain "$node"
step 90 "gateways scaled from 3 to 1" scale_down 1
step 60 "worker killed" kill_pods ingest-worker statefulset/ingest-worker
step 60 "gateway killed" kill_pods ws-gateway deployment/ws-gateway
exit "$failed"
