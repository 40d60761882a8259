#!/bin/bash
# The part of the package's test that runs inside the virtual machine (see package-test.sh): the units, by a real systemd.
#
#   guest.sh PORT    the broker's port on the machine outside
# shellcheck disable=SC2016 # what jobs expand is theirs
set -uo pipefail
port=$1
home=/var/lib/kafka-cron
debs=/root/kafka-cron
export KAFKA_BROKERS=localhost:$port SYSTEMD_PAGER='' DEBIAN_FRONTEND=noninteractive
consumer=kafka-cron-consumer@cluster-a.service

says() { printf 'guest: %s\n' "$*"; }
fails() {
    says "FAILED: $*"
    journalctl -b -o cat | grep -E 'kafka-cron|INFO|WARN|ERROR' | grep -vE 'tick|Consumed' | tail -n 40
    cronctl runs --since 30m | grep -v ' tick '
    exit 1
}
# within SECONDS WHAT COMMAND...: until the command succeeds. The machine is emulated, so it may take three times as long.
within() {
    local until=$((SECONDS + 3 * $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < until)) || fails "$what"
        sleep 0.3
    done
}
pid_of() { systemctl show --value -p MainPID "$1"; }
# once NAME OPTIONS COMMAND: a job that is due once, when the producer has read it.
once() {
    local at
    at=$(date -u -d '+8 seconds' +%FT%TZ)
    printf '%s cluster-a [name=%s from=%s until=%s %s] %s\n' '* * * * * *' "$1" "$at" "$(date -u -d "$at + 1 second" +%FT%TZ)" "$2" "$3" \
        >>/etc/kafka-cron/jobs.cron
}
outcome() { cronctl runs --job "$1" --since 30m | grep -q "$2"; }
ready() { [[ $(systemctl is-active "$1") == active ]] && journalctl -b -u "$1" | grep -q "$2"; }

# The broker calls itself localhost.
systemd-run --quiet --unit=kafka-proxy systemd-socket-activate -l "127.0.0.1:$port" /lib/systemd/systemd-socket-proxyd "10.0.2.2:$port"
within 30 "the broker cannot be reached" bash -c "exec 3<>/dev/tcp/127.0.0.1/$port"

says "$(systemctl --version | head -n 1), Linux $(uname -r), control groups: $(stat -fc %T /sys/fs/cgroup)"
dpkg -i $debs/first.deb >/tmp/install 2>&1 || { cat /tmp/install; fails "dpkg -i"; }
systemctl is-active --quiet 'kafka-cron-*' && fails "an installation starts something"
systemd-analyze verify kafka-cron-producer.service kafka-cron-consumer@cluster-a.service >/tmp/verify 2>&1
! grep kafka-cron /tmp/verify || fails "systemd-analyze verify"
says "installed; nothing runs"

sed -i "s/^KAFKA_BROKERS=.*/KAFKA_BROKERS=$KAFKA_BROKERS/" /etc/kafka-cron/kafka.env
echo '@every 2s cluster-a [name=tick] echo "$HOME $(id -un)" >>$HOME/ticks' >>/etc/kafka-cron/jobs.cron
systemctl enable --now kafka-cron-producer $consumer kafka-cron-consumer@cluster-a-retry 2>/dev/null
within 60 "no job ran" test -s $home/ticks
[[ $(head -n 1 $home/ticks) == "$home kafka-cron-jobs" ]] || fails "the job ran as someone else: $(head -n 1 $home/ticks)"
[[ $(ps -o user= -p "$(pid_of kafka-cron-producer)") == kafka-c* ]] || fails "the producer's user"
says "jobs run, as kafka-cron-jobs"

journalctl -b -u $consumer | grep -q 'jobs get control groups in /sys/fs/cgroup/system.slice/' || fails "no control group was given"
once hungry memory=64m 'tail /dev/zero'
once many pids=10 'for i in $(seq 30); do sleep 1 & done; wait'
within 30 "the limit of memory" outcome hungry "memory limit"
within 30 "the limit of processes" outcome many "refused a process"
ready $consumer . || fails "a job without memory ended its consumer"
[[ $(systemctl show --value -p NRestarts $consumer) == 0 ]] || fails "a job without memory restarted its consumer"
says "memory= and pids= are enforced, and the consumer lives on"

once slow '' 'echo began >>$HOME/slow; sleep 12; echo finished >>$HOME/slow'
once stray '' 'setsid sleep 4242 >/dev/null 2>&1 & sleep 1'
within 30 "slow does not begin" grep -q began $home/slow
within 30 "stray does not begin" pgrep -f 'sleep 4242'
began=$SECONDS
systemctl stop $consumer
[[ $(tail -n 1 $home/slow) == finished ]] || fails "a stop ended a running job"
((SECONDS - began >= 5)) || fails "the stop waited only $((SECONDS - began)) s"
pgrep -f 'sleep 4242' && fails "a stop leaves what a job started with setsid"
[[ $(systemctl show --value -p Result $consumer) == success ]] || fails "the stop: $(systemctl show --value -p Result $consumer)"
says "a stop lets the running job finish ($((SECONDS - began)) s), and leaves nothing of the others"
systemctl start $consumer
within 30 "slow has no good end" outcome slow succeeded

once upgraded '' 'echo began >>$HOME/upgraded; sleep 10; echo finished >>$HOME/upgraded'
within 30 "upgraded does not begin" grep -q began $home/upgraded
before=$(pid_of $consumer)
dpkg -i $debs/newer.deb >/tmp/upgrade 2>&1 || { cat /tmp/upgrade; fails "the upgrade"; }
[[ $(pid_of $consumer) == "$before" ]] || fails "the upgrade restarted the consumer"
grep -q "these units still run version.*$consumer" /tmp/upgrade || { cat /tmp/upgrade; fails "the upgrade does not say what still runs"; }
within 30 "the upgrade ended a running job" grep -q finished $home/upgraded
systemctl restart $consumer kafka-cron-consumer@cluster-a-retry kafka-cron-producer
says "an upgrade ends no job and restarts nothing; it says: $(grep -o 'systemctl restart.*' /tmp/upgrade)"

once killed retries=1 'echo began >>$HOME/killed; exec sleep 4343'
within 60 "killed does not begin" grep -q began $home/killed
before=$(pid_of $consumer)
kill -KILL "$before"
within 10 "a job outlives its consumer" bash -c '! pgrep -f "^sleep 4343"'
within 20 "the consumer does not come back" bash -c "[[ \$(systemctl show --value -p MainPID $consumer) != [0$before] ]] && systemctl is-active --quiet $consumer"
says "kill -9 of the consumer ends its job, and systemd starts the consumer again"

install -D -m 644 /usr/share/doc/kafka-cron/examples/user.conf /etc/systemd/system/$consumer.d/user.conf
install -D -m 644 /usr/share/doc/kafka-cron/examples/instance-id.conf /etc/systemd/system/kafka-cron-consumer@.service.d/instance-id.conf
install -D -m 644 /usr/share/doc/kafka-cron/examples/secret.conf /etc/systemd/system/$consumer.d/secret.conf
echo s3cret >/etc/kafka-cron/backup-token
chmod 600 /etc/kafka-cron/backup-token
systemctl daemon-reload
systemctl restart $consumer
once other 'user=nobody memory=64m' 'id -un; sleep 1'
once secret '' "cat /run/credentials/$consumer/backup-token"
once ended 'user=nobody timeout=2s grace=1s' 'setsid sleep 4444 & exec sleep 4444'
within 60 "a job for another user" outcome other succeeded
cronctl run "$(cronctl runs --job other --since 30m | grep -oE '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}')" | grep -q nobody || fails "user=nobody"
within 30 "a job with a secret" outcome secret succeeded
within 30 "the timeout of another user's job" outcome ended "timed out"
within 10 "another user's job is not ended" bash -c '! pgrep -f "^sleep 4444"'
journalctl -b -u $consumer | grep -q "$(hostname)-" || fails "the instance id is not the host's name"
says "the examples user.conf, secret.conf and instance-id.conf work"

systemctl stop kafka-cron-producer
cp /etc/kafka-cron/jobs.cron /tmp/jobs.cron
echo '99 * * * * cluster-a x' >>/etc/kafka-cron/jobs.cron
systemctl start kafka-cron-producer
sleep 5
[[ $(systemctl show --value -p ActiveState -p ExecMainStatus -p NRestarts kafka-cron-producer | sort | tr '\n' ' ') == *'0 2 failed '* ]] ||
    fails "a wrong job file: $(systemctl show -p ActiveState -p ExecMainStatus -p NRestarts kafka-cron-producer | tr '\n' ' ')"
cat /tmp/jobs.cron >/etc/kafka-cron/jobs.cron
systemctl start kafka-cron-producer
says "a producer with a wrong job file fails once, with 2"

once last user=kafka-cron-jobs 'echo began >>$HOME/last; sleep 8; echo finished >>$HOME/last'
within 60 "last does not begin" grep -q began $home/last
sed -i '/name=tick\]/d' /etc/kafka-cron/jobs.cron
sleep 3
cp /etc/kafka-cron/jobs.cron /tmp/jobs.cron
cp /usr/bin/cronctl /tmp/cronctl
dpkg -r kafka-cron >/tmp/remove 2>&1 || { cat /tmp/remove; fails "dpkg -r"; }
[[ $(tail -n 1 $home/last) == finished ]] || fails "the removal ended a running job"
pgrep -f kafka-cron- && fails "a program outlives the package"
says "a removal lets the running job finish"
dpkg -P kafka-cron >/tmp/purge 2>&1 || { cat /tmp/purge; fails "dpkg -P"; }
compgen -G '/etc/systemd/system/*.wants/kafka-cron*' && fails "a unit is still enabled"
[[ -s $home/ticks ]] || fails "the purge removed data"
systemctl reset-failed
systemctl list-units --all --no-legend 'kafka-cron-*' | grep . && fails "systemd still knows a unit"
says "a purge leaves the data alone"
/tmp/cronctl verify /tmp/jobs.cron --since 1m --clusters cluster-a,cluster-b | tail -n 3
says "all is well"
