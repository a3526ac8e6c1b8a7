#!/usr/bin/env bash
# Runs a command of a service with the Redis user of operators, whose `redis-url` the Secret
# `operator` has, in a pod that is deleted afterwards:
#   k8s/as-operator.sh ws-gateway connections --user teacher-42
# Image and all other settings are those of the running service. NAMESPACE=name if it is another.
set -euo pipefail

case ${1-} in
    ingest-worker) workload=statefulset/ingest-worker ;;
    ws-gateway) workload=deployment/ws-gateway ;;
    *)
        echo "usage: k8s/as-operator.sh ingest-worker|ws-gateway COMMAND..." >&2
        exit 2
        ;;
esac
service=$1
shift
pod="operator-$(date +%s)-$$"

ours() {
    kubectl --namespace "${NAMESPACE:-huleedu-notifications}" "$@"
}

# The pod of a service without what only the service needs: the command opens no port, so probes
# would end it, and Prometheus would scrape the port `admin`.
changes='{"spec": {"template": {"spec": {
    "restartPolicy": "Never", "priorityClassName": null, "topologySpreadConstraints": null,
    "containers": [{
        "name": "'$service'", "ports": null, "lifecycle": null,
        "startupProbe": null, "livenessProbe": null, "readinessProbe": null,
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
        "env": [{"name": "REDIS_URL", "valueFrom": {"secretKeyRef": {"name": "operator"}}}]
    }]
}}}}'
# `kubectl run` merges containers of the same name.
rename='[{"op": "replace", "path": "/spec/template/spec/containers/0/name", "value": "'$pod'"}]'
spec=$(ours get "$workload" --output json |
    kubectl patch --local --filename - --type strategic --patch "$changes" --output json |
    kubectl patch --local --filename - --type json --patch "$rename" \
        --output 'jsonpath={.spec.template.spec}')

# The network policies admit these labels to Redis and Kafka; no Service or workload selects them.
labels=app.kubernetes.io/name=operator,app.kubernetes.io/part-of=huleedu-notifications
ours run "$pod" --image "$service" --labels "$labels" --restart Never --rm --stdin --quiet \
    --override-type strategic --overrides "{\"apiVersion\": \"v1\", \"spec\": $spec}" -- "$@"
