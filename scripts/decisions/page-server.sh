#!/usr/bin/env bash
# Measures the table of docs/decisions/2026-11-29-page-server.md: what tiny_http's own server and the programs' server
# cost while clients misbehave. Builds a throw-away cargo project in a temporary directory, which depends on both.
#
#   scripts/decisions/page-server.sh         (takes a minute, most of it building)
#
# Needs cargo and its registry. Exit codes: 0 printed, 4 something is missing.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
command -v cargo >/dev/null || { echo "page-server: cargo is missing" >&2; exit 4; }
work=$(mktemp -d "${TMPDIR:-/tmp}/page-server.XXXXXX")
trap 'rm -rf -- "$work"' EXIT

mkdir "$work/src"
cp "$root/rust-toolchain.toml" "$work/"
cat >"$work/Cargo.toml" <<TOML
[package]
name = "probe"
version = "0.0.0"
edition = "2024"

[workspace]

[dependencies]
kafka-cron = { path = "$root" }
tiny_http = { version = "=0.12.0", default-features = false }
TOML
cp "$root/scripts/decisions/page-server.rs" "$work/src/main.rs"
target=${CARGO_TARGET_DIR:-$work/target}
(cd "$work" && cargo build --quiet --target-dir "$target")
echo "Measured on $(nproc) cores, $(rustc --version | cut -d' ' -f1,2)."
"$target/debug/probe"
