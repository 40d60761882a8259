# The test of the package, for scripts/package.sh. Sourced, from the repository's root, after package.sh.
# shellcheck shell=bash
# shellcheck disable=SC2016 # what the shell inside expands is its own

says() { printf '== %s\n' "$*"; }
fails() { printf 'package: FAILED: %s\n' "$*" >&2; exit 1; }

# bare_debian DIR: a small Debian with systemd and a kernel, from the mirror that apt uses here. Two minutes.
bare_debian() {
    local mirror
    [[ ! -d $1 ]] || return 0
    # A host has one of these files or both; sed fails for the one that is missing.
    mirror=$({ sed -n 's/^URIs: *//p; s/^deb \(\[.*\] \)\?\([^ ]*\) .*/\2/p' /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null || true; } | head -n 1)
    [[ -n $mirror ]] || die 4 "apt names no mirror of Debian here"
    rm -rf "$1.new"
    debootstrap --variant=minbase \
        --include=systemd,systemd-sysv,dbus,procps,linux-image-cloud-amd64,initramfs-tools,man-db,bash-completion \
        "${KAFKA_CRON_DEBIAN:-bookworm}" "$1.new" "$mirror" >"$1.log" 2>&1 || { tail -n 5 "$1.log" >&2; die 4 "debootstrap failed"; }
    mv "$1.new" "$1"
}

# What there is, without what dpkg and the system themselves note down.
there() { (cd "$1" && find . -xdev | grep -vE '^\./(proc|sys|dev|tmp|run|root/kafka-cron|var/(lib/(dpkg|systemd)|log|cache))(/|$)' | sort); }

package_test() {
    local vm=$1 work version built deb newer bare
    version=$(crate_version)
    # Longer than the name of a socket may be where TMPDIR is deep.
    work=$(mktemp -d)
    trap 'leave' EXIT
    test_work=$work
    built=$(programs)
    deb=$(deb "$built" "$version" "$work")
    newer=$(deb "$built" "$version+1" "$work/newer")
    says "the same sources give the same bytes"
    [[ $(deb "$built" "$version" "$work/again" | xargs sha256sum | cut -d ' ' -f 1) == $(sha256sum "$deb" | cut -d ' ' -f 1) ]] ||
        fails "two builds of the package differ"

    bare=${KAFKA_CRON_RUN_DIR:-.run}
    mkdir -p "$bare"
    bare=$(cd "$bare" && pwd)/debian-${KAFKA_CRON_DEBIAN:-bookworm}
    bare_debian "$bare"
    cp -a "$bare" "$work/root"
    mount -t proc proc "$work/root/proc"
    mount -t devtmpfs dev "$work/root/dev" 2>/dev/null || mount --bind /dev "$work/root/dev"
    mkdir -p "$work/root/root/kafka-cron"
    cp "$deb" "$work/root/root/kafka-cron/first.deb"
    cp "$newer" "$work/root/root/kafka-cron/newer.deb"
    in_chroot "$work/root" "$version"
    umount "$work/root/proc" "$work/root/dev"

    if [[ $vm == no ]]; then
        echo "== virtual machine: skipped"
    elif ! has qemu-system-x86_64 || ! has mke2fs || ! has java; then
        echo "== virtual machine: skipped, there is no qemu-system-x86_64, no mke2fs or no java"
    else
        in_vm "$work"
    fi
    echo "== the package does what it should"
}

leave() {
    [[ -z ${vm_pid:-} ]] || kill "$vm_pid" 2>/dev/null || true
    [[ -z ${test_work:-} ]] || {
        umount "$test_work/root/proc" "$test_work/root/dev" 2>/dev/null || true
        scripts/kafka-broker.sh stop --now --data "$test_work/broker" >/dev/null 2>&1 || true
        ! mountpoint -q "$test_work/root/dev" || { echo "$test_work/root/dev is still mounted" >&2; return; }
        rm -rf "$test_work"
    }
}

# Without systemd: what files, users and rights there are after each step.
in_chroot() {
    local root=$1 version=$2 left
    here() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive "$@"; }
    there "$root" >"$root/../before"

    says "install"
    here dpkg -i /root/kafka-cron/first.deb >"$root/../install.log" 2>&1 || { cat "$root/../install.log" >&2; fails "dpkg -i"; }
    [[ $(here stat -c '%U:%G %a' /etc/kafka-cron/jobs.cron) == 'root:kafka-cron 640' ]] || fails "the rights of jobs.cron"
    [[ $(here getent passwd kafka-cron-jobs | cut -d : -f 6) == /var/lib/kafka-cron ]] || fails "the home of kafka-cron-jobs"
    here getent passwd kafka-cron >/dev/null || fails "there is no user kafka-cron"
    [[ $(here stat -c '%U:%G %a' /var/lib/kafka-cron) == 'kafka-cron-jobs:kafka-cron-jobs 750' ]] || fails "the rights of /var/lib/kafka-cron"
    ! compgen -G "$root/etc/systemd/system/*.wants/kafka-cron*" >/dev/null || fails "a unit is enabled"

    says "use"
    [[ $(here cronctl --version | head -n 1) == "cronctl ${version}" ]] || fails "cronctl --version"
    here cronctl check /etc/kafka-cron/jobs.cron | grep -q ', 0 jobs,' || fails "the job file has jobs, or mistakes"
    [[ $(here cronctl next '30 1 * * *' --tz Europe/London --after 2026-03-28T00:00:00Z | head -n 1) == 2026-03-28T01:30:00Z* ]] ||
        fails "cronctl next"
    here kafka-cron-consumer --help >/dev/null || fails "kafka-cron-consumer --help"
    here kafka-cron-producer --help >/dev/null || fails "kafka-cron-producer --help"
    local page
    for page in 8/kafka-cron-producer 8/kafka-cron-consumer 1/cronctl 1/cronctl-runs 1/cronctl-dead-replay; do
        here man --warnings "${page%/*}" "${page#*/}" >"$root/../page" 2>"$root/../warnings" || fails "man $page"
        grep -q 'kafka\|Kafka' "$root/../page" || fails "the page $page says nothing"
        [[ ! -s $root/../warnings ]] || { cat "$root/../warnings" >&2; fails "man warns about $page"; }
        [[ $page == 1/cronctl ]] || grep -q KAFKA_BROKERS "$root/../page" || fails "the page $page names no variable of the environment"
    done
    here bash -c 'source /usr/share/bash-completion/completions/cronctl && COMP_WORDS=(cronctl de) COMP_CWORD=1 && _cronctl cronctl de cronctl && [[ ${COMPREPLY[*]} == dead ]]' ||
        fails "bash completes no word of cronctl"

    says "upgrade: what the administrator changed stays"
    echo '# mine' >>"$root/etc/kafka-cron/jobs.cron"
    here chmod 600 /etc/kafka-cron/jobs.cron
    here dpkg -i /root/kafka-cron/newer.deb >"$root/../upgrade.log" 2>&1 || { cat "$root/../upgrade.log" >&2; fails "the upgrade"; }
    grep -q '# mine' "$root/etc/kafka-cron/jobs.cron" || fails "the job file was replaced"
    [[ $(here stat -c '%U:%G %a' /etc/kafka-cron/jobs.cron) == 'root:kafka-cron 600' ]] || fails "the rights were set again"

    says "remove: the settings stay"
    here dpkg -r kafka-cron >"$root/../remove.log" 2>&1 || { cat "$root/../remove.log" >&2; fails "dpkg -r"; }
    [[ -e $root/etc/kafka-cron/jobs.cron && ! -e $root/usr/bin/cronctl ]] || fails "what stays after a removal"

    says "purge: nothing stays"
    here dpkg -P kafka-cron >"$root/../purge.log" 2>&1 || { cat "$root/../purge.log" >&2; fails "dpkg -P"; }
    left=$(there "$root" | diff "$root/../before" - || true)
    [[ -z $left ]] || { echo "$left" >&2; fails "the purge leaves this"; }
    ! here getent passwd kafka-cron-jobs >/dev/null || fails "the purge leaves a user"

    says "purge with data and files of the administrator: they and the owner of the data stay"
    here dpkg -i /root/kafka-cron/first.deb >/dev/null 2>&1
    here install -D /dev/null /etc/systemd/system/kafka-cron-consumer@cluster-a.service.d/drain.conf
    here touch /etc/kafka-cron/consumer-cluster-a.env
    here install -d -o kafka-cron-jobs /var/lib/kafka-cron
    here touch /var/lib/kafka-cron/report
    here dpkg -P kafka-cron >"$root/../purge.log" 2>&1
    for left in /etc/kafka-cron/consumer-cluster-a.env /etc/systemd/system/kafka-cron-consumer@cluster-a.service.d; do
        [[ -e $root$left ]] || fails "$left is gone"
        grep -qF "kafka-cron: $left is not the package's and stays" "$root/../purge.log" || fails "the purge does not say that $left stays"
    done
    here rm -r /etc/kafka-cron /etc/systemd/system/kafka-cron-consumer@cluster-a.service.d
    [[ -e $root/var/lib/kafka-cron/report ]] || fails "data is gone"
    here getent passwd kafka-cron-jobs >/dev/null || fails "the owner of the data is gone"
    here rm -r /var/lib/kafka-cron
    here deluser --quiet --system kafka-cron-jobs
}

# With systemd, in a virtual machine with a kernel of its own. The broker is outside. The machine is emulated, and not run by KVM, which
# is missing or broken where this host is a virtual machine itself.
in_vm() {
    local work=$1 port root=$1/root image=$1/disk.img kernel initrd limit
    says "virtual machine"
    for _ in 1 2 3; do
        port=${KAFKA_CRON_PACKAGE_PORT:-$((20000 + RANDOM % 12000))}
        if answers "$port" || answers $((port + 1)); then continue; fi
        break
    done
    scripts/kafka-broker.sh start --data "$work/broker" --temporary --parent $$ --heap 384m --port "$port" --controller-port $((port + 1)) >&2
    install -m 755 scripts/lib/package-guest.sh "$root/root/kafka-cron/guest.sh"
    cat >"$root/etc/systemd/system/package-test.service" <<UNIT
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/root/kafka-cron/guest.sh $port
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS1
ExecStopPost=/usr/bin/systemctl --force --force poweroff
[Install]
WantedBy=multi-user.target
UNIT
    mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
    ln -s ../package-test.service "$root/etc/systemd/system/multi-user.target.wants/package-test.service"
    # debootstrap leaves none.
    echo '127.0.0.1 localhost' >"$root/etc/hosts"
    printf '[Match]\nName=e*\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n' >"$root/etc/systemd/network/all.network"
    ln -sf /lib/systemd/system/systemd-networkd.service "$root/etc/systemd/system/multi-user.target.wants/"
    kernel=$(compgen -G "$root/boot/vmlinuz-*" | head -n 1)
    initrd=$(compgen -G "$root/boot/initrd.img-*" | head -n 1)
    truncate -s 3G "$image"
    mke2fs -q -t ext4 -d "$root" "$image"
    qemu-system-x86_64 -machine q35,accel=tcg -cpu max -smp 2 -m 1024 -display none -monitor none -no-reboot \
        -kernel "$kernel" -initrd "$initrd" -append 'root=/dev/vda rw console=ttyS0 systemd.unit=multi-user.target' \
        -drive "file=$image,format=raw,if=virtio,cache=unsafe" \
        -netdev user,id=net,restrict=no -device virtio-net-pci,netdev=net \
        -serial "file:$work/console" -serial "file:$work/said" &
    vm_pid=$!
    limit=$((SECONDS + 900))
    while kill -0 "$vm_pid" 2>/dev/null && ((SECONDS < limit)); do sleep 1; done
    tr -d '\r' <"$work/said"
    ! kill -0 "$vm_pid" 2>/dev/null || { tail -n 20 "$work/console" >&2; fails "the virtual machine does not end"; }
    vm_pid=''
    grep -q '^guest: all is well' "$work/said" || { tail -n 20 "$work/console" >&2; fails "in the virtual machine"; }
}
