# What scripts/package.sh makes. Sourced, from the repository's root, after needs.sh.
# shellcheck shell=bash

crate_version() { sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1; }

# Where the programs are, stripped: a debugger is not part of the package, and a panic still names its file and line.
programs() {
    [[ -z ${KAFKA_CRON_BIN_DIR:-} ]] || { (cd "$KAFKA_CRON_BIN_DIR" && pwd); return; }
    CARGO_PROFILE_RELEASE_DEBUG=false CARGO_PROFILE_RELEASE_STRIP=symbols cargo build --quiet --release --locked --bins >&2
    (cd "${CARGO_TARGET_DIR:-target}/release" && pwd)
}

# copy MODE FROM... TO: as dpkg-deb wants it, whoever builds.
copy() { install -D -m "$1" "${@:2}"; }

# The file list of everything that is shipped but not compiled: from, to, mode. `tests/packages.rs` reads it, too.
shipped() {
    cat <<'LIST'
deploy/systemd/kafka-cron-producer.service       lib/systemd/system/kafka-cron-producer.service   644
deploy/systemd/kafka-cron-consumer@.service      lib/systemd/system/kafka-cron-consumer@.service  644
deploy/systemd/conf/kafka.env                    etc/kafka-cron/kafka.env                         644
deploy/systemd/conf/producer.env                 etc/kafka-cron/producer.env                      644
deploy/systemd/conf/consumer.env                 etc/kafka-cron/consumer.env                      644
deploy/systemd/conf/jobs.cron                    etc/kafka-cron/jobs.cron                         640
deploy/systemd/examples/user.conf                usr/share/doc/kafka-cron/examples/user.conf              644
deploy/systemd/examples/drain.conf               usr/share/doc/kafka-cron/examples/drain.conf             644
deploy/systemd/examples/instance-id.conf         usr/share/doc/kafka-cron/examples/instance-id.conf       644
deploy/systemd/examples/secret.conf              usr/share/doc/kafka-cron/examples/secret.conf            644
deploy/systemd/examples/sudo.conf                usr/share/doc/kafka-cron/examples/sudo.conf              644
deploy/systemd/examples/more-rights.conf         usr/share/doc/kafka-cron/examples/more-rights.conf       644
deploy/debian/copyright                          usr/share/doc/kafka-cron/copyright               644
README.md                                        usr/share/doc/kafka-cron/README.md               644
LIST
}

# deb BUILT VERSION OUT
deb() {
    local built=$1 version=$2 out=$3 root arch from to mode page
    arch=$(dpkg --print-architecture)
    SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
    export SOURCE_DATE_EPOCH
    root=$(mktemp -d)
    # shellcheck disable=SC2064 # the directory of now
    trap "rm -rf '$root'" EXIT
    chmod 755 "$root"

    copy 755 "$built/producer" "$root/usr/sbin/kafka-cron-producer"
    copy 755 "$built/consumer" "$root/usr/sbin/kafka-cron-consumer"
    copy 755 "$built/cronctl" "$root/usr/bin/cronctl"
    strip --strip-all "$root"/usr/*bin/*
    shipped | while read -r from to mode; do copy "$mode" "$from" "$root/$to"; done
    copy 644 -t "$root/usr/share/doc/kafka-cron/examples/prometheus" conf/prometheus/rules/*.yml
    (cd docs && find . -name '*.md' -exec install -D -m 644 {} "$root/usr/share/doc/kafka-cron/docs/{}" \;)
    cargo run --quiet --locked --example command-line -- "$root/usr/share"
    find "$root/usr/share/man" -type f -exec gzip -9n {} +
    changelog "$version" | gzip -9nc >"$root/usr/share/doc/kafka-cron/changelog.gz"
    copy 644 CHANGELOG.md "$root/usr/share/doc/kafka-cron/CHANGELOG.md"
    sbom >"$root/usr/share/doc/kafka-cron/sbom.cdx.json"
    find "$root/usr/share" -type f -exec chmod 644 {} +

    mkdir "$root/DEBIAN"
    for page in postinst prerm postrm; do copy 755 "deploy/debian/$page" "$root/DEBIAN/$page"; done
    shipped | sed -n 's|^.* \(etc/[^ ]*\) .*|/\1|p' >"$root/DEBIAN/conffiles"
    (cd "$root" && find usr lib -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
    control "$version" "$arch" "$(libraries "$root")" "$(du -sk --exclude=DEBIAN "$root" | cut -f 1)" >"$root/DEBIAN/control"
    find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
    find "$root" -type d -exec chmod 755 {} +

    mkdir -p "$out"
    dpkg-deb --root-owner-group -Zxz --build "$root" "$out/kafka-cron_${version}_$arch.deb" >&2
    rm -rf "$root"
    trap - EXIT
    if has lintian; then
        lintian --fail-on error,warning --tag-display-limit 0 --suppress-tags "$(tolerated)" "$out/kafka-cron_${version}_$arch.deb" >&2
    else
        echo "lintian is not installed: it has not looked at the package" >&2
    fi
    echo "$out/kafka-cron_${version}_$arch.deb"
}

# What lintian may find, and why.
tolerated() {
    # The version is ours, and there is no bug of Debian's that asked for the package.
    local tags=initial-upload-closes-no-bugs
    # Debian's helper would stop no instance of a unit that it has not enabled.
    tags+=,maintainer-script-calls-systemctl
    # Commands may hold what not everybody should read.
    tags+=,non-standard-file-perm
    # The programs' TLS and Kafka client are compiled in, by the crates that sbom.cdx.json names.
    tags+=,embedded-library
    echo "$tags"
}

# The oldest C library that the programs run on, by the versions of the symbols that they ask for.
libraries() {
    local newest
    newest=$(objdump -T "$1"/usr/*bin/* | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)
    echo "libc6 (>= ${newest#GLIBC_}), libgcc-s1 (>= 3.0)"
}

maintainer() { echo "${DEBFULLNAME:-the authors of kafka-cron} <${DEBEMAIL:-kafka-cron@users.noreply.invalid}>"; }

# In Debian's form; what changed is told by the project's own.
changelog() {
    printf 'kafka-cron (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md beside this file.\n\n -- %s  %s\n' \
        "$1" "$(maintainer)" "$(date --utc --rfc-email --date="@$SOURCE_DATE_EPOCH")"
}

control() {
    cat <<CONTROL
Package: kafka-cron
Version: $1
Architecture: $2
Maintainer: $(maintainer)
Installed-Size: $4
Depends: $3, adduser
Recommends: systemd
Suggests: prometheus, prometheus-alertmanager
Section: admin
Priority: optional
Description: cron for many machines, on Apache Kafka
 A producer reads a crontab-like file and writes a message to a Kafka topic each
 time a job is due. Consumers on any number of hosts take the messages and run
 the commands: each once, with retries, a dead-letter topic, and a record of
 what became of every run.
 .
 The package brings the programs, units of systemd that are neither enabled nor
 started, manual pages, completions, and a job file without jobs.
CONTROL
}

# Which crates are in the programs.
sbom() {
    cargo metadata --locked --format-version 1 --filter-platform "$(rustc -vV | sed -n 's/^host: //p')" |
        python3 scripts/lib/sbom.py Cargo.lock
}

# The units: whether systemd understands every line, and how much of the host each may touch. systemd-analyze looks for the
# programs, so it sees a root in which they are.
check_units() {
    local root unit exposure most
    root=$(mktemp -d)
    # shellcheck disable=SC2064 # the directory of now
    trap "rm -rf '$root'" EXIT
    mkdir -p "$root/etc/systemd/system" "$root/usr/sbin" "$root/usr/lib/systemd"
    cp deploy/systemd/*.service "$root/etc/systemd/system"
    for unit in producer consumer; do copy 755 /dev/null "$root/usr/sbin/kafka-cron-$unit"; done
    # What our units name of systemd's own, and the programs of a booted host.
    cp -r /lib/systemd/system "$root/usr/lib/systemd/system"
    [[ -e $root/lib ]] || ln -s usr/lib "$root/lib"
    systemd-analyze verify --man=no --root="$root" kafka-cron-producer.service kafka-cron-consumer@cluster-a.service 2>&1 |
        tee "$root/said" >&2 || true
    ! grep -q kafka-cron "$root/said" || return 1
    for unit in producer:15 consumer@:25; do
        most=${unit#*:} unit=kafka-cron-${unit%:*}.service
        exposure=$(systemd-analyze security --offline=true --no-pager "deploy/systemd/$unit" | sed -n 's/.*Overall exposure level.*: \([0-9]*\)\.\([0-9]\).*/\1\2/p')
        echo "$unit: exposure ${exposure:0:-1}.${exposure: -1}, at most ${most:0:-1}.${most: -1}"
        ((10#$exposure <= most)) || return 1
    done
    rm -rf "$root"
    trap - EXIT
}
