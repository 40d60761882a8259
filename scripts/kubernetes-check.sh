#!/usr/bin/env bash
# Checks deploy/kubernetes without a Kubernetes: kustomize builds each overlay, and each object is validated strictly against the
# schemas of several versions, and against the other objects and the repository (scripts/lib/kubernetes.py).
#
#   scripts/kubernetes-check.sh
#
# It uses `kubectl kustomize`, kustomize itself, or Go, which builds kustomize once. The schemas are those of the Python package
# kubernetes-validate, which it installs once into a virtual environment. Both are kept in KAFKA_CRON_CACHE (default
# ~/.cache/kafka-cron). Where one of them cannot be had it says so, checks nothing, and ends with 0.
#
# Exit codes: 0 all is well, or it was skipped; 1 something is wrong.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

kustomize_version=v5.7.1 validate_version=1.37.0
cache=${KAFKA_CRON_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/kafka-cron}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
skip() { echo "kubernetes: skipped, $*"; exit 0; }
wrong() { echo "kubernetes: $*" >&2; exit 1; }

if kubectl kustomize --help >/dev/null 2>&1; then
    kustomize=(kubectl kustomize)
elif command -v kustomize >/dev/null; then
    kustomize=(kustomize build)
elif [[ -x $cache/kustomize-$kustomize_version ]]; then
    kustomize=("$cache/kustomize-$kustomize_version" build)
elif command -v go >/dev/null; then
    mkdir -p "$cache"
    GOBIN=$work timeout 300 go install "sigs.k8s.io/kustomize/kustomize/v5@$kustomize_version" >"$work/said" 2>&1 ||
        skip "kustomize cannot be built: $(tail -n 1 "$work/said")"
    mv "$work/kustomize" "$cache/kustomize-$kustomize_version"
    kustomize=("$cache/kustomize-$kustomize_version" build)
else
    skip "there is neither kubectl nor kustomize nor Go"
fi

command -v python3 >/dev/null || skip "there is no python3"
venv=$cache/kubernetes-validate-$validate_version
if ! "$venv/bin/python" -c 'import kubernetes_validate' 2>/dev/null; then
    rm -rf "$venv"
    mkdir -p "$cache"
    { python3 -m venv "$venv" && timeout 120 "$venv/bin/pip" --disable-pip-version-check --quiet install "kubernetes-validate==$validate_version"; } >"$work/said" 2>&1 ||
        skip "the Python package kubernetes-validate cannot be had: $(tail -n 1 "$work/said")"
fi

# The components that no overlay has, on top of one.
here=$(realpath --relative-to "$(realpath "$work")/more" .)
mkdir "$work/more"
cat >"$work/more/kustomization.yaml" <<MORE
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: ["$here/deploy/kubernetes/overlays/minikube"]
components: ["$here/deploy/kubernetes/components/keda", "$here/deploy/kubernetes/components/near-data"]
MORE

built=()
for overlay in deploy/kubernetes/overlays/*/ "$work/more"; do
    name=$(basename "$overlay")
    "${kustomize[@]}" "$overlay" >"$work/$name.yaml" 2>"$work/said" || { cat "$work/said" >&2; wrong "$overlay cannot be built"; }
    built+=("$name=$work/$name.yaml")
done
"$venv/bin/python" scripts/lib/kubernetes.py "${built[@]}"

# The rules for the operator are written from those of conf/.
operator=deploy/kubernetes/components/prometheus-operator
"$operator/rules.sh" | cmp - "$operator/rules.yaml" || wrong "$operator/rules.yaml is not what rules.sh writes"
