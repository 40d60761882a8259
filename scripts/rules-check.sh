#!/usr/bin/env bash
# Checks the rules of conf/prometheus/rules: whether Prometheus accepts them, and whether each alert fires when it should, is
# silent in the nearest harmless case, and ends (tests/alerts/). Also checks that the queries of the playbooks are valid.
#
#   scripts/rules-check.sh
#
# Exit codes: 0 they are right; 1 they are not; 4 promtool is missing here and cannot be installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib/needs.sh
source scripts/lib/needs.sh

need promtool
promtool check rules --lint=all --lint-fatal conf/prometheus/rules/*.yml

# Each line of a block of queries becomes a rule.
queries=$(mktemp --suffix .yml)
trap 'rm -f "$queries"' EXIT
{
    echo 'groups: [{ name: playbooks, rules: ['
    awk -v quote="'" '
        /^```/ { inside = ($0 == "```promql"); next }
        inside { gsub(quote, quote quote); print "{ record: playbook, expr: " quote $0 quote " }," }
    ' docs/playbooks/*.md
    echo ']}]'
} >"$queries"
promtool check rules --lint=none "$queries"
promtool test rules tests/alerts/*.yml
