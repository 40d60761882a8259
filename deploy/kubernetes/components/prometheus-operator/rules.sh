#!/usr/bin/env bash
# Writes conf/prometheus/rules as PrometheusRule objects:
#
#   deploy/kubernetes/components/prometheus-operator/rules.sh >deploy/kubernetes/components/prometheus-operator/rules.yaml
#
# kustomize cannot put a file into such an object, so rules.yaml is in the repository; a test compares the two. The address
# of the playbooks is filled in, because the operator's Prometheus has no external label of that name.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../../../conf/prometheus"
base=$(sed -n 's/^ *runbook_base: //p' prometheus.yml)
echo "# Written by rules.sh from conf/prometheus/rules. Do not edit."
for file in rules/*.yml; do
    name=${file##*/}
    printf -- '---\napiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: kafka-cron-%s\nspec:\n' "${name%.yml}"
    sed -e '/^#/d' -e 's/^\(.\)/  \1/' -e "s#{{ \$externalLabels.runbook_base }}#$base#" "$file"
done
