#!/usr/bin/env bash
# The one test command: formatting, lints, then every test. Prints the seconds of each stage and ends with cargo's
# own closing lines.
set -euo pipefail
cd "$(dirname "$0")/.."

stage() {
  local name=$1 began=$SECONDS
  shift
  echo "== $name"
  "$@"
  echo "== $name: $((SECONDS - began)) s"
}

command -v cargo >/dev/null || {
  echo "cargo is missing: install Rust 1.95 with rustup, then run this again" >&2
  exit 4
}
stage format cargo fmt --check
stage lints cargo clippy --locked --quiet --all-targets -- -D warnings
stage build cargo build --locked --all-targets
echo "== tests"
cargo test --locked
