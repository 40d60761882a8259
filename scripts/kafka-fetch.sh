#!/usr/bin/env bash
# Downloads Apache Kafka, as Maven artifacts, into .run/kafka/VERSION/libs. The script never leaves an incomplete directory: it
# collects the jars beside it and renames the directory at the end, so several callers may run at once.
#
#   scripts/kafka-fetch.sh [VERSION]         (default: $KAFKA_CRON_KAFKA or 4.3.1; prints the libs directory)
#   scripts/kafka-fetch.sh --mirror [VERSION]
#                                            (MirrorMaker 2, in .run/kafka/VERSION/mirror; prints that directory)
#   scripts/kafka-fetch.sh --jmx-exporter    (the Java agent that serves a broker's metrics; prints the path of its jar)
#
# Needs: java (17 or newer), mvn. Exit codes: 0 done, 2 usage, 3 the download failed, 4 something is missing here.
set -euo pipefail

die() { code=$1; shift; printf 'kafka-fetch: %s\n' "$*" >&2; exit "$code"; }

agent_version=1.0.1 # as in conf/kafka/Dockerfile
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
home=${KAFKA_CRON_RUN_DIR:-$root/.run}/kafka

tools() {
    local tool
    for tool in java mvn; do
        command -v "$tool" >/dev/null || die 4 "$tool is missing (on Debian: openjdk-17-jre-headless, maven)"
    done
    mkdir -p "$home"
}

if [[ $# -eq 1 && $1 == --jmx-exporter ]]; then
    jar=$home/jmx_prometheus_javaagent-$agent_version.jar
    if [[ -f $jar ]]; then echo "$jar"; exit 0; fi
    tools
    work=$(mktemp -d "$home/.fetch-jmx-exporter.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    if ! mvn -B -q dependency:copy -Dartifact="io.prometheus.jmx:jmx_prometheus_javaagent:$agent_version" \
        -DoutputDirectory="$work" >"$work/mvn.log" 2>&1; then
        tail -n 20 "$work/mvn.log" >&2
        die 3 "mvn could not fetch the JMX exporter $agent_version (its last lines stand above)"
    fi
    mv "$work/$(basename "$jar")" "$jar" || die 3 "mvn left no $(basename "$jar")"
    echo "$jar"
    exit 0
fi

# What is fetched: the directory's name, the jar without which it is not complete, and the artifacts.
what=libs jar=kafka_2.13 artifacts=(kafka_2.13 kafka-tools)
if [[ ${1:-} == --mirror ]]; then
    what=mirror jar=connect-mirror artifacts=(connect-mirror)
    shift
fi
[[ $# -gt 0 || -z ${KAFKA_CRON_KAFKA:-} ]] || set -- "$KAFKA_CRON_KAFKA"
version=${1:-4.3.1}
[[ $# -le 1 && $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] ||
    die 2 "usage: scripts/kafka-fetch.sh [[--mirror] VERSION | --jmx-exporter], e.g. 4.3.1"
libs=$home/$version/$what
if [[ -d $libs ]]; then echo "$libs"; exit 0; fi
tools
work=$(mktemp -d "$home/.fetch-$version.XXXXXX")
trap 'rm -rf "$work"' EXIT

# slf4j-simple writes warnings to stderr, so that a broker that does not start says why; kafka-tools holds the
# console programs of the interoperability tests.
{
    cat <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>kafka-$what</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
POM
    for artifact in "${artifacts[@]}"; do
        echo "    <dependency><groupId>org.apache.kafka</groupId><artifactId>$artifact</artifactId><version>$version</version></dependency>"
    done
    cat <<POM
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
POM
} >"$work/pom.xml"

if ! mvn -B -q -f "$work/pom.xml" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$work/$version/libs" >"$work/mvn.log" 2>&1; then
    tail -n 20 "$work/mvn.log" >&2
    die 3 "mvn could not fetch $jar $version (its last lines stand above)"
fi
[[ -n $(find "$work/$version/libs" -name "$jar-$version.jar" 2>/dev/null) ]] || die 3 "mvn left no $jar-$version.jar"

# If another caller was faster, its copy is as good as ours.
mkdir -p "$home/$version"
mv -T "$work/$version/libs" "$libs" 2>/dev/null || [[ -d $libs ]] || die 4 "cannot rename into $libs"
echo "$libs"
