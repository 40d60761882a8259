#!/usr/bin/env bash
# Packages for Debian and its kin: the programs, systemd units, manual pages, completions, documentation.
#
#   scripts/package.sh deb  [--out DIR] [--version VERSION]
#   scripts/package.sh sbom [FILE]
#   scripts/package.sh check
#   scripts/package.sh test [--no-vm]
#
# deb: builds the programs and writes DIR/kafka-cron_VERSION_ARCH.deb (DIR is target/package by default, VERSION the one of
# Cargo.toml). The same sources give the same bytes. lintian looks at it if it is installed.
# sbom: which crates the programs contain, with versions, licenses and checksums, as CycloneDX JSON.
# check: the units, by systemd-analyze; needs no root.
# test: builds the package and a newer one, installs, upgrades, removes and purges them on a bare Debian (debootstrap, a
# chroot), then once more in a virtual machine (qemu) where systemd runs the units against a real broker. As root. The bare
# Debian stays in KAFKA_CRON_RUN_DIR (default .run) for the next time. --no-vm: without the second part.
#
# Environment: KAFKA_CRON_BIN_DIR (take the programs of this directory, build only the pages); SOURCE_DATE_EPOCH (the date of
# all files; by default that of the last commit); DEBFULLNAME and DEBEMAIL (the maintainer); KAFKA_CRON_DEBIAN (the release
# for the test, default bookworm).
#
# Exit codes: 0 done; 1 a check found something; 2 usage; 4 something is missing here; otherwise that of what failed.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib/needs.sh
source scripts/lib/needs.sh
# shellcheck source=scripts/lib/process.sh
source scripts/lib/process.sh
# shellcheck source=scripts/lib/package.sh
source scripts/lib/package.sh

die() { code=$1; shift; printf 'package: %s\n' "$*" >&2; exit "$code"; }
usage() { sed -n '4,7s/^# *//p' "${BASH_SOURCE[0]}" >&2; exit 2; }

[[ $# -ge 1 ]] || usage
command=$1; shift
out=${CARGO_TARGET_DIR:-target}/package version='' vm=yes file=''
while [[ $# -gt 0 ]]; do
    case $command:$1 in
        deb:--out | deb:--version)
            [[ -n ${2:-} ]] || die 2 "$1 needs a value"
            if [[ $1 == --out ]]; then out=$2; else version=$2; fi
            shift 2 ;;
        test:--no-vm) vm=no; shift ;;
        sbom:*)
            [[ -z $file && $1 != -* ]] || usage
            file=$1; shift ;;
        *) usage ;;
    esac
done

case $command in
    deb)
        need cargo cc dpkg-deb gzip
        version=${version:-$(crate_version)}
        [[ $version =~ ^[0-9][A-Za-z0-9.+~-]*$ ]] || die 2 "--version $version: a Debian version begins with a digit, as in 0.1.0+1"
        built=$(programs)
        deb "$built" "$version" "$out" ;;
    sbom)
        need cargo python3
        if [[ -n $file ]]; then sbom >"$file"; else sbom; fi ;;
    check)
        need systemd-analyze
        check_units ;;
    test)
        [[ $(id -u) -eq 0 ]] || die 4 "the test needs root: for a chroot, and to make a bare Debian"
        need cargo cc dpkg-deb gzip debootstrap
        # shellcheck source=scripts/lib/package-test.sh
        source scripts/lib/package-test.sh
        package_test "$vm" ;;
    *) usage ;;
esac
