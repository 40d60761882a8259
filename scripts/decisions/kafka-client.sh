#!/usr/bin/env bash
# Measures the rows that decided docs/decisions/2026-11-24-kafka-client.md: three blocking clients, each against a
# Kafka 3.9.2 and a 4.3.1 of its own on this machine. Builds a throw-away cargo project in a temporary directory,
# which depends on the candidates and on this crate by path, and prints one table row a probe.
#
#   scripts/decisions/kafka-client.sh        (takes a few minutes, most of it building)
#
# Needs cargo, its registry, and what scripts/kafka-broker.sh needs. Exit codes: 0 printed, 4 something is missing.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
for tool in cargo java; do
    command -v "$tool" >/dev/null || { echo "kafka-client: $tool is missing" >&2; exit 4; }
done
work=$(mktemp -d "${TMPDIR:-/tmp}/kafka-client.XXXXXX")
trap 'for data in "$work"/kafka-*/; do "$root/scripts/kafka-broker.sh" stop --now --data "$data" >/dev/null 2>&1 || :; done
      rm -rf -- "$work"' EXIT

mkdir "$work/src"
cp "$root/rust-toolchain.toml" "$work/"
cat >"$work/Cargo.toml" <<TOML
[package]
name = "probe"
version = "0.0.0"
edition = "2024"

[workspace]

[dependencies]
bytes = "1"
kafka = { version = "=0.10.0", default-features = false, features = ["snappy", "gzip"] }
rustfs-kafka = { version = "=1.4.1", default-features = false, features = ["snappy", "gzip"] }
kafka-cron = { path = "$root" }
TOML
cp "$root/scripts/decisions/kafka-client.rs" "$work/src/main.rs"
target=${CARGO_TARGET_DIR:-$work/target}
(cd "$work" && cargo build --quiet --target-dir "$target")

free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)) && (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
    echo "$port"
}

crates() { (cd "$work" && cargo tree --quiet -p "$1" -e normal --prefix none --no-dedupe | sort -u | wc -l); }
echo "Measured on $(nproc) cores, $(rustc --version | cut -d' ' -f1,2)."
echo "Crates without TLS: kafka $(crates kafka), rustfs-kafka $(crates rustfs-kafka), kafka-protocol for ours $(crates kafka-protocol)."
for version in 3.9.2 4.3.1; do
    port=$(free_port)
    "$root/scripts/kafka-broker.sh" start --version "$version" --data "$work/kafka-$version" --port "$port" \
        --controller-port "$(free_port)" --parent $$ --temporary >/dev/null
    printf '\n| Kafka %s | kafka 0.10.0 | rustfs-kafka 1.4.1 | ours |\n| --- | --- | --- | --- |\n' "$version"
    "$target/debug/probe" "localhost:$port"
    "$root/scripts/kafka-broker.sh" stop --now --data "$work/kafka-$version" >/dev/null
done
