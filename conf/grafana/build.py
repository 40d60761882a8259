#!/usr/bin/env python3
"""The dashboards as code: writes dashboards/operators.json and dashboards/job.json beside this file.

    conf/grafana/build.py            writes them
    conf/grafana/build.py --check    ends with 1 where what is there is not what this file says

scripts/dashboards-check.sh evaluates every query and checks the JSON against Grafana's published types.
"""
import json
import pathlib
import sys

import panels

HERE = pathlib.Path(__file__).parent
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def panel(number, x, y, width, kind, title, unit, description, queries, **more):
    """One panel; queries are pairs of a PromQL expression and the legend of its series."""
    custom = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": False}
    if more.get("stack"):
        custom["stacking"] = {"mode": "normal", "group": "A"}
    steps = [{"color": "green", "value": None}] + ([{"color": "red", "value": more["red"]}] if "red" in more else [])
    if more.get("red_below"):
        steps = [{"color": "red", "value": None}, {"color": "green", "value": more["red_below"]}]
    if kind == "timeseries":
        custom["thresholdsStyle"] = {"mode": "dashed" if "red" in more else "off"}
        options = {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    else:
        custom = {}
        options = {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "value", "graphMode": "area", "textMode": "auto", "justifyMode": "auto", "orientation": "auto",
        }
    return {
        "id": number, "type": kind, "title": title, "description": description, "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": width, "h": 8 if kind == "timeseries" else 4},
        "fieldConfig": {
            "defaults": {
                "unit": unit, "custom": custom, "color": {"mode": "palette-classic" if kind == "timeseries" else "thresholds"},
                "thresholds": {"mode": "absolute", "steps": steps},
                **({"min": more["min"]} if "min" in more else {}),
            },
            "overrides": [],
        },
        "options": options,
        "targets": [
            {"refId": chr(ord("A") + at), "datasource": SOURCE, "expr": query, "legendFormat": legend, "range": True, "instant": False}
            for at, (query, legend) in enumerate(queries)
        ],
    }


def lay_out(rows):
    """Rows of panels, from left to right and from top to bottom, on Grafana's grid of 24 columns."""
    out, number, y = [], 0, 0
    for title, members in rows:
        number += 1
        out.append({"id": number, "type": "row", "title": title, "collapsed": False, "panels": [],
                    "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
        y, x, height = y + 1, 0, 0
        for (kind, *rest), more in members:
            width = {"stat": 4, "timeseries": 8}[kind]
            if x + width > 24 or (height and height != (8 if kind == "timeseries" else 4)):
                x, y, height = 0, y + height, 0
            number += 1
            out.append(panel(number, x, y, width, kind, *rest, **more))
            x, height = x + width, out[-1]["gridPos"]["h"]
        y += height
    return out


def variable(name, label, query):
    return {
        "type": "query", "name": name, "label": label, "datasource": SOURCE, "query": query, "refresh": 2, "sort": 1,
        "includeAll": False, "multi": False, "hide": 0, "options": [],
    }


def annotation(name, colour, query, text):
    return {
        "name": name, "enable": True, "hide": False, "iconColor": colour, "datasource": SOURCE,
        "expr": query, "titleFormat": name, "textFormat": text,
    }


def dashboard(uid, title, description, rows, variables):
    return {
        "uid": uid, "title": title, "description": description, "tags": ["kafka-cron"], "schemaVersion": 41, "version": 1,
        "editable": False, "graphTooltip": 1, "timezone": "utc", "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [
            {"type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus", "refresh": 1, "hide": 0,
             "includeAll": False, "multi": False, "options": [], "current": {"text": "Prometheus", "value": "prometheus"}},
            *variables,
        ]},
        "annotations": {"list": [annotation(*each) for each in panels.ANNOTATIONS]},
        "links": [{"type": "dashboards", "title": "kafka-cron", "tags": ["kafka-cron"], "asDropdown": False, "includeVars": False,
                   "keepTime": True, "targetBlank": False, "icon": "external link", "tooltip": "", "url": ""}],
        "panels": lay_out(rows),
    }


def main():
    both = {
        "operators": dashboard("kafka-cron-operators", "kafka-cron: operators", panels.OPERATORS_TELLS, panels.OPERATORS, []),
        "job": dashboard("kafka-cron-job", "kafka-cron: one job", panels.JOB_TELLS, panels.JOB, [
            variable("job", "Job", "label_values(cron_attempts_total, job)"),
        ]),
    }
    stale = []
    for name, content in both.items():
        path = HERE / "dashboards" / f"{name}.json"
        text = json.dumps(content, indent=2) + "\n"
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(str(path))
    if stale:
        sys.exit(f"{', '.join(stale)}: not what conf/grafana/build.py makes; run it")


if __name__ == "__main__":
    main()
