#!/usr/bin/env bash
# Runs everything on a minikube of this machine, in the namespace kafka-cron: Kafka, two producers with conf/jobs.cron, the
# consumers of two clusters, and the monitoring.
#
#   scripts/minikube.sh up          starts minikube if it does not run, builds the images in it, applies
#                                   deploy/kubernetes/overlays/minikube, and waits until all of it is ready
#   scripts/minikube.sh status      shows pods, the latest events and the latest runs
#   scripts/minikube.sh down        removes it; Kafka's volume stays, and a later `up` goes on where this one ended
#   scripts/minikube.sh down --volumes      forgets that, too. minikube itself goes on in both cases
#
# A second `up` after a change builds the images anew, and restarts the pods that use them one after the other.
# docs/KUBERNETES.md says how to look at it and how to change it.
#
# Needs minikube (with any driver, 2 processors and 4 GB) and kubectl. A minikube that this script starts gets
# --cpus 2 --memory 4g, and Calico, which enforces network policies. MINIKUBE_PROFILE: another minikube than `minikube`.
#
# Exit codes: 0 done; 1 something does not get ready, and the pods and events are shown; 2 usage; 4 something is missing here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() { code=$1; shift; printf 'minikube: %s\n' "$*" >&2; exit "$code"; }
usage() { sed -n '5,10s/^# *//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
say() { printf '[%4d s] %s\n' "$SECONDS" "$*"; }
quiet() {
    local said
    said=$(mktemp)
    "$@" >"$said" 2>&1 || { cat "$said" >&2; rm -f "$said"; return 1; }
    rm -f "$said"
}

overlay=deploy/kubernetes/overlays/minikube
profile=${MINIKUBE_PROFILE:-minikube}
# Services of the cluster that use the images built here.
built=(kafka-cron kafka-cron-kafka kafka-cron-watchdog)
k() { kubectl --context "$profile" --namespace kafka-cron "$@"; }
m() { minikube --profile "$profile" "$@"; }
runs() { m status >/dev/null 2>&1; }
objects=deployment,statefulset,service,configmap,serviceaccount,role,rolebinding,poddisruptionbudget,networkpolicy

tools() {
    command -v minikube >/dev/null || die 4 "minikube is missing; https://minikube.sigs.k8s.io/docs/start says how to install it"
    command -v kubectl >/dev/null || die 4 "kubectl is missing; https://kubernetes.io/docs/tasks/tools says how to install it"
}

up() {
    local version name again=''
    if ! runs; then
        say "minikube does not run; starting it"
        m start --cpus 2 --memory 4g --cni calico || die 1 "minikube does not start; its own message stands above"
    fi
    # The number of a pod in its StatefulSet as a label, which gives the broker its id.
    version=$(kubectl --context "$profile" get nodes -o 'jsonpath={.items[0].status.nodeInfo.kubeletVersion}') ||
        die 1 "kubectl cannot reach the Kubernetes of the context $profile"
    [[ $(printf 'v1.28\n%s\n' "$version" | sort -V | head -n 1) == v1.28 ]] ||
        die 4 "this minikube has Kubernetes $version; 1.28 or newer is needed: minikube start --kubernetes-version stable"
    for name in "${built[@]}"; do
        say "building $name"
        case $name in
            kafka-cron) quiet m image build -t "$name" . || die 1 "$name was not built" ;;
            *) quiet m image build -t "$name" "conf/${name#kafka-cron-}" || die 1 "$name was not built" ;;
        esac
        m image ls | grep -qE "(^|/)$name:latest" || die 1 "minikube built $name but does not list it"
    done
    if k get deployment producer >/dev/null 2>&1; then again=yes; fi
    say "applying $overlay"
    quiet kubectl --context "$profile" apply -k "$overlay" || die 1 "Kubernetes refused it"
    # The images have the same names as before, so only a restart takes the new ones.
    if [[ -n $again ]]; then
        quiet k rollout restart deployment/producer deployment/watchdog || die 1 "Kubernetes does not restart the Deployments"
        quiet k rollout restart statefulset || die 1 "Kubernetes does not restart the StatefulSets"
    fi
    for name in $(k get statefulset,deployment -o name); do
        if ! quiet k rollout status "$name" --timeout 600s; then
            k get pods >&2
            k get events --field-selector type=Warning --sort-by .lastTimestamp 2>/dev/null | tail -n 15 >&2
            die 1 "$name does not get ready; the pods and their events stand above"
        fi
        say "    ${name#*/} is ready"
    done
    cat <<'DONE'
What became of each run:   kubectl -n kafka-cron exec deploy/producer -- cronctl runs --since 5m
The log of one topic:      kubectl -n kafka-cron logs -l kafka-cron/topic=cluster-a --prefix -f
Grafana, Prometheus:       kubectl -n kafka-cron port-forward svc/grafana 3000     svc/prometheus 9090
The mails:                 kubectl -n kafka-cron port-forward svc/mailpit 8025
DONE
}

status() {
    runs || die 1 "minikube does not run; scripts/minikube.sh up starts it"
    k get pods -o wide
    echo
    k get events --sort-by .lastTimestamp | tail -n 10
    echo
    k exec deploy/producer -- cronctl runs --since 2m
}

down() {
    runs || die 1 "minikube does not run, so there is nothing to remove"
    if [[ ${1:-} == --volumes ]]; then
        quiet kubectl --context "$profile" delete namespace kafka-cron --ignore-not-found || die 1 "the namespace was not removed"
        say "all of it is gone"
    else
        quiet k delete "$objects" -l app.kubernetes.io/name=kafka-cron || die 1 "not all of it was removed"
        quiet k wait --for delete pod -l app.kubernetes.io/name=kafka-cron --timeout 120s || die 1 "pods are still there"
        say "removed; Kafka's volume is still there"
    fi
}

case "$*" in
    up) tools; up ;;
    status) tools; status ;;
    down | "down --volumes") tools; down "${2:-}" ;;
    *) usage ;;
esac
