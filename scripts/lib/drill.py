#!/usr/bin/env python3
"""Sees what alerts did, for scripts/drill.sh. Instants are milliseconds since the epoch.

    drill.py observe URL LOG                 writes a line to LOG whenever an alert of the Prometheus at URL begins to fire
                                             or ends: the instant, "firing" or "over", its name, its labels
    drill.py when LOG WHAT ALERT LABEL SINCE the instant of the first such line since then; LABEL "" is any
    drill.py mail DIR ALERT LABEL SINCE [over]  the first mail since then about it (that it is over): its instant, a tab,
                                             its subject
    drill.py body DIR ALERT LABEL SINCE      the text of that mail
    drill.py others LOG SINCE ALERT...       names of the alerts that fired since then, but for these

`when` and `mail` end with 1 where there is none yet.
"""
import email
import email.policy
import json
import pathlib
import sys
import time
import urllib.request


def observe(url, log):
    before = set()
    with open(log, "a", encoding="utf-8") as out:
        while True:
            try:
                with urllib.request.urlopen(f"{url}/api/v1/alerts", timeout=5) as answer:
                    alerts = json.load(answer)["data"]["alerts"]
            except (OSError, ValueError):  # Prometheus is away, which is no news of any alert
                time.sleep(0.5)
                continue
            now = {
                (each["labels"]["alertname"], " ".join(f"{k}={v}" for k, v in sorted(each["labels"].items()) if k != "alertname"))
                for each in alerts if each["state"] == "firing"
            }
            at = time.time_ns() // 1_000_000
            for what, which in (("firing", now - before), ("over", before - now)):
                for name, labels in sorted(which):
                    print(at, what, name, labels, sep="\t", file=out, flush=True)
            before = now
            time.sleep(0.5)


def lines(log):
    for line in pathlib.Path(log).read_text().splitlines():
        at, what, name, labels = (line.split("\t") + [""])[:4]
        yield int(at), what, name, labels


def when(log, what, alert, label, since):
    for at, said, name, labels in lines(log):
        if at >= int(since) and (said, name) == (what, alert) and label in labels:
            return at
    return None


def mail(directory, alert, label, since, kind=""):
    for path in sorted(pathlib.Path(directory).glob("*.eml")):
        message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        text = message.get_body(("plain",))
        text = text.get_content() if text else ""
        about = f"{kind}] {alert}:" in message["Subject"] and label in text + message["Subject"]
        if about and int(path.stem) >= int(since):
            return path.stem, message["Subject"].replace("\n", ""), text
    return None


command, *rest = sys.argv[1:]
if command == "observe":
    observe(*rest)
elif command == "others":
    log, since, *expected = rest
    print(" ".join(sorted({name for at, what, name, _ in lines(log) if at >= int(since) and what == "firing"} - set(expected))))
else:
    found = when(*rest) if command == "when" else mail(*rest)
    if found is None:
        sys.exit(1)
    print(found if command == "when" else found[2] if command == "body" else "\t".join(found[:2]))
