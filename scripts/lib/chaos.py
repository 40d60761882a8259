#!/usr/bin/env python3
"""What happened under fire, for scripts/chaos.sh. Instants are seconds since the epoch.

    chaos.py sample DIR PROMETHEUS NAME=PORT...   once a second: how old the last beat of each thread of these programs is, into
                                                  DIR/beats; and which alerts are pending or firing, into DIR/alerts.
                                                  PROMETHEUS is the port of one, or 0
    chaos.py left DIR FROM UNTIL JOB...           how many runs of these jobs that were due in that time have not been run to
                                                  their end, by the jobs' own record, DIR/ledger
    chaos.py row [--told] NAME DIR FROM UNTIL JOB...
                                                  a line of the table; ends with 1 if something was lost or run twice. With
                                                  --told runs may be lost, if `cronctl verify` names these and no others
    chaos.py stalls DIR [SECONDS]                 the longest silence of each kind of thread, as far as it is above that
    chaos.py alerts DIR                           the alerts that were pending or firing, and after how long

A job is due each second. Each of its attempts writes a line into DIR/ledger: the job, the tick's instant, the run's id, the
number of the attempt, and the instant at which it started. A job's name that ends with "flaky" fails at its first attempt.
DIR/verdict is what `cronctl verify --json` printed.
"""
import collections
import datetime
import json
import pathlib
import re
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

BEAT = re.compile(r'^cron_thread_last_beat_seconds\{thread="([^"]+)"\} (\S+)$', re.M)
QUIET = {"metrics-http"}  # it answers the samples themselves


def page(url):
    with urllib.request.urlopen(url, timeout=2) as answer:
        return answer.read().decode()


def beats_of(program):
    name, port = program
    try:
        text = page(f"http://127.0.0.1:{port}/metrics")
    except (OSError, ValueError):
        return name, None
    now = time.time()
    # 0 stands for a thread that has not come round yet.
    return name, {thread: now - float(at) for thread, at in BEAT.findall(text) if float(at) > 0}


def sample(directory, prometheus, *programs):
    programs = [each.split("=") for each in programs]
    seen = set()
    with (open(f"{directory}/beats", "a", encoding="utf-8") as beats, open(f"{directory}/alerts", "a", encoding="utf-8") as out,
          ThreadPoolExecutor(len(programs)) as pool):
        while True:
            began = time.time()
            for name, ages in pool.map(beats_of, programs):
                if ages is None:
                    print(f"{began:.1f}", name, "-", "-", file=beats)
                for thread, age in (ages or {}).items():
                    print(f"{began:.1f}", name, thread, f"{age:.2f}", file=beats)
            beats.flush()
            if prometheus != "0":
                try:
                    alerts = json.loads(page(f"http://127.0.0.1:{prometheus}/api/v1/alerts"))["data"]["alerts"]
                except (OSError, ValueError):
                    alerts = []
                for each in alerts:
                    what = (each["labels"]["alertname"], each["state"])
                    if what[0] != "Watchdog" and what not in seen:
                        seen.add(what)
                        print(f"{began:.1f}", *what, file=out, flush=True)
            time.sleep(max(0.0, began + 1 - time.time()))


class Ledger:
    """The jobs' own record of a time."""

    def __init__(self, directory, start, until, jobs):
        self.runs = {(job, second): [] for job in jobs for second in range(int(start) + 1, int(until) + 1)}
        path = pathlib.Path(directory, "ledger")
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            job, instant, run, attempt, at = line.split()
            due = int(datetime.datetime.fromisoformat(instant.replace("Z", "+00:00")).timestamp())
            if (job, due) in self.runs:
                self.runs[job, due].append((int(attempt), float(at), run))

    def left(self):
        """Runs that have not been run to their end."""
        return [of for of, attempts in self.runs.items() if max((a for a, _, _ in attempts), default=0) < needed(of[0])]

    def twice(self):
        """Attempts that were started more often than once."""
        counts = collections.Counter((*of, attempt) for of, attempts in self.runs.items() for attempt, _, _ in attempts)
        return [of for of, count in counts.items() if count > 1]

    def again(self):
        """Attempts beyond those that the jobs asked for."""
        return [of for of, attempts in self.runs.items() for number, _, _ in attempts if number > needed(of[0])]

    def worst(self):
        """The latest first attempt, in seconds."""
        return max((at - of[1] for of, attempts in self.runs.items() for number, at, _ in attempts if number == 1), default=0.0)


def needed(job):
    return 2 if job.endswith("flaky") else 1


def longest(directory):
    """The longest silence of each kind of thread, with the program and the instant."""
    worst = {}
    for line in pathlib.Path(directory, "beats").read_text(encoding="utf-8").splitlines():
        at, program, thread, age = line.split()
        if thread != "-" and thread not in QUIET and float(age) > worst.get(thread, (0.0,))[0]:
            worst[thread] = (float(age), program, float(at))
    return worst


def stalls(directory, above="0"):
    found = sorted(longest(directory).items(), key=lambda each: -each[1][0])
    return ", ".join(f"{thread} {age:.1f}" for thread, (age, _, _) in found if age > float(above))


def alerts(directory):
    states = {}
    path = pathlib.Path(directory, "alerts")
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        _, name, state = line.split()
        states[name] = "firing" if "firing" in (state, states.get(name)) else "pending"
    return ", ".join(f"{name} ({state})" for name, state in sorted(states.items())) or "none"


def tells(verdict, lost):
    """Whether `cronctl verify` says of these runs, and of no others, that something is wrong. It names a hundred of a kind."""
    kinds = ("unaccounted", "not_begun", "deleted_unread", "lost_retries", "abandoned")
    found = [verdict.get(kind, {"total": 0, "first": []}) for kind in kinds]
    named = {(each["job"], int(datetime.datetime.fromisoformat(each["scheduled_at"].replace("Z", "+00:00")).timestamp()))
             for of in found for each in of["first"]}
    return sum(of["total"] for of in found) == len(lost) and named <= set(lost)


def row(name, directory, start, until, *jobs, may_lose=False):
    ledger = Ledger(directory, float(start), float(until), jobs)
    try:
        verdict = json.loads(pathlib.Path(directory, "verdict").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        verdict = {}
    lost, twice, again = ledger.left(), ledger.twice(), ledger.again()
    is_right = verdict.get("ok", False)
    is_told = may_lose and bool(lost) and tells(verdict, lost)
    published = verdict.get("ticks", {}).get("published", "?")
    run = len(ledger.runs) - len(lost)
    print(f"{name:<17} {published:>9} {run:>5} {len(lost):>5} {len(twice):>7} {len(again):>6} {ledger.worst():>8.1f}  "
          f"{'right' if is_right else 'told' if is_told else 'WRONG':<7} {stalls(directory, '2')}")
    for what, found in (("lost", lost), ("run twice", twice), ("tried again", again)):
        for of in found[:5]:
            print(f"    {what}: {of[0]} of {time.strftime('%H:%M:%SZ', time.gmtime(of[1]))}")
    return not twice and (is_told or (not lost and is_right))


command, *rest = sys.argv[1:] or ["help"]
if command == "sample":
    sample(*rest)
elif command == "left":
    print(len(Ledger(rest[0], float(rest[1]), float(rest[2]), rest[3:]).left()))
elif command == "row":
    options = {"may_lose": True} if rest[0] == "--told" else {}
    sys.exit(0 if row(*rest[len(options):], **options) else 1)
elif command == "stalls":
    print(stalls(*rest))
elif command == "alerts":
    print(alerts(*rest))
else:
    sys.exit(__doc__)
