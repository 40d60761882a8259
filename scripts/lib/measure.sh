# Reads clocks, memory and pages, and prints numbers side by side. Sourced.
# shellcheck shell=bash

# lateness FILE AT: p50, p99 and max of the instants in it, in milliseconds after a second of the epoch.
lateness() {
    od -An -v -t d8 -w8 "$1" | sort -n | awk -v at="$2" '
        { late[NR] = $1 / 1e6 - at * 1000 }
        function of(q) { i = int(q * NR + 0.999999); return late[i < 1 ? 1 : i] }
        END { printf "%.1f %.1f %.1f\n", of(0.5), of(0.99), late[NR] }'
}

# rate FILE: instants a second, from the first to the last.
rate() { od -An -v -t d8 -w8 "$1" | sort -n | awk 'NR == 1 { first = $1 } END { printf "%.0f\n", (NR - 1) / (($1 - first) / 1e9) }'; }

# cpu_of PID: CPU time of a process, in hundredths of a second; cpu_of_children: CPU time of the children that it reaped.
cpu_of() { fields_of "$1" | awk '{ print $12 + $13 }'; }
cpu_of_children() { fields_of "$1" | awk '{ print $14 + $15 }'; }
fields_of() { sed 's/.*) //' "/proc/$1/stat"; }
since() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", (b - a) / 100 }'; }
# percent BEFORE AFTER SECONDS: of a core.
percent() { awk -v a="$1" -v b="$2" -v s="$3" 'BEGIN { printf "%.1f %%", (b - a) / s }'; }

peak_mib() { status_mib "$1" VmHWM; }
resident_mib() { status_mib "$1" VmRSS; }
status_mib() { awk -v name="$2:" '$1 == name { printf "%.0f", $2 / 1024 }' "/proc/$1/status"; }

# metric PORT NAME: the sum of a metric over its labels.
metric() { curl -fs --max-time 5 "http://127.0.0.1:$1/metrics" | awk -v name="$2" '{ split($1, part, "{") } part[1] == name { sum += $NF } END { printf "%.0f\n", sum }'; }

# stages_of PRODUCER_PORT CONSUMER_PORT: the mean of each stage of the lateness.
stages_of() {
    local port
    for port in "$@"; do curl -fsS --max-time 5 "http://127.0.0.1:$port/metrics"; done | awk '
        match($1, /stage="[a-z]*"/) { stage = substr($1, RSTART + 7, RLENGTH - 8) }
        /^cron_lateness_stage_seconds_sum/ { if (!(stage in sum)) order[++n] = stage; sum[stage] += $NF }
        /^cron_lateness_stage_seconds_count/ { count[stage] += $NF }
        END { for (i = 1; i <= n; i++) if (count[order[i]]) printf "%s%s %.0f", (i == 1 ? "mean ms: " : ", "), order[i], sum[order[i]] / count[order[i]] * 1000 }'
}

median() { sort -n | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }

# table NAME FLOORS SYSTEMS: both have a line of p50, p99 and max for each repetition. The middle one of each, the least
# and the most, and the ratio of the middle ones.
table() {
    local column name floor system
    printf '%-12s %28s %28s %8s\n' "$1" "floor (least, most)" "system (least, most)" ratio
    for column in 1 2 3; do
        name=$(cut -d ' ' -f "$column" <<<"p50 p99 max")
        floor=$(cut -d ' ' -f "$column" <<<"$2") system=$(cut -d ' ' -f "$column" <<<"$3")
        printf '%12s %28s %28s %8s\n' "$name" "$(spread "$floor")" "$(spread "$system")" \
            "$(ratio "$(median <<<"$system")" "$(median <<<"$floor")")"
    done
}
spread() { sort -n <<<"$1" | awk '{ all[NR] = $1 } END { printf "%s (%s, %s)", all[int((NR + 1) / 2)], all[1], all[NR] }'; }
