#!/usr/bin/env bash
# One, two and three partitions with two consumers; more consumers than partitions; a consumer that dies or leaves.
# docs/experiments/partitions.md explains what is seen.
# shellcheck source=scripts/lib/experiment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/experiment.sh"

brokers 1
# A producer creates topics with as many partitions as it is told, and leaves alone what is there.
jobs '# none yet'
create() {
    start "creates-$1" producer jobs.cron --clusters "$1" --partitions "$2" --group creator
    await 30 "the topics of $1" logged "creates-$1" "created $1"
    finish "creates-$1"
}
create one 1
create two 2
create three 3

# shares NAME...: how many partitions each has, sorted: 0111. An empty share is [], one word.
shares() { for name in "$@"; do share "$name" | tr -d '[],' | wc -w; done | sort | tr -d '\n'; }
shared() { [[ $(shares "${@:2}") == "$1" ]]; }
consume() { start "$1" consumer --topic "${1%.*}" --workers 4 --session-timeout 6s; }
six=(one.1 one.2 two.1 two.2 three.1 three.2)
for name in "${six[@]}"; do consume "$name"; done
await 30 "shares of one" shared 01 one.1 one.2
await 30 "shares of two" shared 11 two.1 two.2
await 30 "shares of three" shared 12 three.1 three.2

lines=()
for cluster in one two three; do
    for job in a b c d; do lines+=("@every 1s $cluster [name=$cluster-$job] true"); done
done
jobs "${lines[@]}"
start producer producer jobs.cron --clusters one,two,three
await 30 "a leader" leads producer
sleep 12
finish producer
sleep 1
taken() {
    local name
    for name in "${six[@]}"; do is "$(metric "$name" cron_lag_messages)" -eq 0 || return; done
}
await 30 "every message is taken" taken

say "four jobs a second for each of three topics, two consumers each"
show kafka-get-offsets --topic 'one|two|three' | tee "$work/ends"
# held NAME: how many messages lie in the partitions of a consumer.
held() {
    local numbers
    numbers=$(share "$1" | tr -d '[] ' | tr , '|')
    awk -F: -v topic="${1%.*}" -v numbers="^(${numbers:-none})$" '$1 == topic && $2 ~ numbers { sum += $3 } END { print sum + 0 }' "$work/ends"
}
printf '%-9s %-11s %s\n' consumer partitions 'runs started'
for name in "${six[@]}"; do printf '%-9s %-11s %s\n' "$name" "$(share "$name")" "$(started "$name")"; done
expect "two consumers, one partition: one of them has nothing" shared 01 one.1 one.2
expect "two consumers, two partitions: one each" shared 11 two.1 two.2
expect "two consumers, three partitions: two and one" shared 12 three.1 three.2
for name in "${six[@]}"; do
    expect "$name has started what lies in its partitions, nothing else" is "$(started "$name")" -eq "$(held "$name")"
done

say "four consumers, three partitions"
four=(three.1 three.2 three.3 three.4)
consume three.3
consume three.4
await 30 "new shares" shared 0111 "${four[@]}"
each() { for name in "$@"; do printf '%-9s %s\n' "$name" "$(share "$name")"; done; }
each "${four[@]}"
expect "three have one partition each, the fourth has none" shared 0111 "${four[@]}"

owners=() spare=''
for name in "${four[@]}"; do if shared 0 "$name"; then spare=$name; else owners+=("$name"); fi; done
dies=${owners[0]} leaves=${owners[1]} stays=${owners[2]}
now_ms() { date +%s%3N; }
seconds() { printf '%s.%s' $(($1 / 1000)) $(($1 % 1000 / 100)); }
say "kill -9 of $dies, which has partition $(share "$dies")"
began=$(now_ms)
crash "$dies"
await 30 "the spare has a partition" shared 1 "$spare"
took=$(($(now_ms) - began))
echo "$spare has $(share "$spare") after $(seconds "$took") s; the session time-out is 6 s"
expect "the spare takes over when the session has run out" is "$took" -gt 3000
expect "and soon after that" is "$took" -lt 10000

say "TERM for $leaves, which has partition $(share "$leaves")"
began=$(now_ms)
finish "$leaves"
await 30 "its partition has a new owner" shared 12 "$stays" "$spare"
took=$(($(now_ms) - began))
each "$stays" "$spare"
echo "after $(seconds "$took") s"
expect "who leaves gives its partition back well before a session has passed" is "$took" -lt 4000
