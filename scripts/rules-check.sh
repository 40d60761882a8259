#!/usr/bin/env bash
# The rules of conf/prometheus/rules: whether Prometheus takes them, and whether each alert fires when it should, is silent
# in the nearest harmless case, and ends (tests/alerts/).
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
promtool test rules tests/alerts/*.yml
