#!/usr/bin/env python3
"""Checks the dashboards of conf/grafana/dashboards/. Each problem is a line, and any makes it end with 1.

    dashboards.py types                      what Grafana's published types say of the JSON (PyPI grafana-foundation-sdk),
                                             and whether docs/METRICS.md lists each metric
    dashboards.py queries URL SECONDS JOB    every query at the Prometheus at URL over the last SECONDS: none may be empty;
                                             JOB is what the variable $job stands for

A key that the types do not know is lost when the JSON is read and written by them; that is how one is noticed.
"""
import json
import pathlib
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).parents[2]
DASHBOARDS = sorted((ROOT / "conf/grafana/dashboards").glob("*.json"))
# What the Prometheus data source reads of an annotation, beside what all data sources have: of no published type.
UNPUBLISHED = {"titleFormat", "textFormat"}
problems, checked = [], 0


def panels(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def compare(written, read, path):
    """Whether what the types made of it still says all that was written."""
    if isinstance(written, dict) and isinstance(read, dict):
        for key, value in written.items():
            if key in read:
                compare(value, read[key], f"{path}.{key}")
            elif key not in UNPUBLISHED or ".annotations." not in path:
                problems.append(f"{path}.{key}: the types know no such key")
    elif isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        for at, (a, b) in enumerate(zip(written, read)):
            compare(a, b, f"{path}[{at}]")
    elif written != read:
        problems.append(f"{path}: {written!r} became {read!r}")


def types():
    global checked
    from grafana_foundation_sdk.cog import plugins
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models import dashboard as model
    from grafana_foundation_sdk.models import units

    listed = (ROOT / "docs/METRICS.md").read_text()
    plugins.register_default_plugins()
    listed_units = {value for name, value in vars(units).items() if isinstance(value, str) and not name.startswith("__")}
    for path in DASHBOARDS:
        dashboard = json.loads(path.read_text())
        compare(dashboard, json.loads(JSONEncoder().encode(model.Dashboard.from_json(dashboard))), path.name)
        for panel in panels(dashboard):
            checked += 1
            unit = panel["fieldConfig"]["defaults"]["unit"]
            if unit not in listed_units:
                problems.append(f"{path.name}: {panel['title']}: Grafana has no unit {unit}")
            for name in {name for target in panel["targets"] for name in re.findall(r"(?:cron|kafka)_[a-z_]+", target["expr"])}:
                if f"`{re.sub('_bucket$', '', name)}`" not in listed:
                    problems.append(f"{path.name}: {panel['title']}: docs/METRICS.md lists no {name}")
            if len(panel["description"]) < 15:
                problems.append(f"{path.name}: {panel['title']}: no description")


def ask(url, query, seconds):
    now = time.time()
    arguments = {"query": query, "start": now - seconds, "end": now, "step": 5}
    try:
        with urllib.request.urlopen(f"{url}/api/v1/query_range?{urllib.parse.urlencode(arguments)}", timeout=30) as answer:
            return json.load(answer)["data"]["result"]
    except urllib.error.HTTPError as error:
        problems.append(f"{query}: {json.load(error)['error']}")
        return None


def queries(url, seconds, job):
    global checked
    for path in DASHBOARDS:
        dashboard = json.loads(path.read_text())
        asked = [(panel["title"], target["expr"]) for panel in panels(dashboard) for target in panel["targets"]]
        asked += [(f"annotation {each['name']}", each["expr"]) for each in dashboard["annotations"]["list"]]
        for title, query in asked:
            checked += 1
            query = query.replace("$__rate_interval", "20s").replace("$job", job)
            series = ask(url, query, seconds)
            # NaN is a quotient of nothing, as of a histogram in which nothing was counted.
            if series is not None and not any(value != "NaN" for each in series for _, value in each["values"]):
                problems.append(f"{path.name}: {title}: nothing for {query}")


if sys.argv[1:2] == ["types"]:
    types()
elif len(sys.argv) == 5 and sys.argv[1] == "queries":
    queries(sys.argv[2], float(sys.argv[3]), sys.argv[4])
else:
    sys.exit(__doc__)
print("\n".join(problems + [f"{sys.argv[1]}: {checked} checked in {len(DASHBOARDS)} dashboards, {len(problems)} problems"]))
sys.exit(1 if problems or checked < 20 else 0)
