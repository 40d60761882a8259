#!/usr/bin/env python3
"""Checks built overlays of deploy/kubernetes (scripts/kubernetes-check.sh builds them and calls this).

    kubernetes.py OVERLAY=FILE...       needs kubernetes_validate

Each object is validated strictly (no unknown fields) against the schemas of several versions of Kubernetes. Then the objects are
checked against each other and against the repository: selectors, references, ports, limits, and one source for each configuration.
At the end the checks themselves are tried: mistakes are planted, and each must be found.
"""
import copy
import functools
import itertools
import pathlib
import re
import sys

import kubernetes_validate
import yaml

# It would read the schemas, which are large, anew for each object.
kubernetes_validate.utils.schema_contents = functools.lru_cache(maxsize=None)(kubernetes_validate.utils.schema_contents)
ROOT = pathlib.Path(__file__).resolve().parents[2]
VERSIONS = [v for v in kubernetes_validate.utils.all_versions() if tuple(map(int, v.split(".")[:2])) >= (1, 33)]
# Kinds of others, whose schemas are not Kubernetes' own.
FOREIGN = ("monitoring.coreos.com/", "keda.sh/")
# Where the content of a ConfigMap comes from: by the start of its name.
SOURCES = {
    "kafka-cron-jobs": ["conf/jobs.cron"],
    "kafka-jmx-exporter": ["conf/kafka/jmx-exporter.yml"],
    "prometheus-rules": ["conf/prometheus/rules/alerts.yml", "conf/prometheus/rules/kafka.yml", "conf/prometheus/rules/recording.yml"],
    "alertmanager": ["conf/alertmanager/start.sh", "conf/alertmanager/alertmanager.yml.tmpl", "conf/alertmanager/mail.tmpl"],
    "grafana-datasources": ["conf/grafana/provisioning/datasources/prometheus.yml"],
    "grafana-providers": ["conf/grafana/provisioning/dashboards/kafka-cron.yml"],
    "grafana-dashboards": ["conf/grafana/dashboards/job.json", "conf/grafana/dashboards/operators.json"],
}
# The only pods that ask the API server.
WITH_TOKEN = ("prometheus",)
OURS = ("kafka-cron", "kafka-cron-kafka", "kafka-cron-watchdog")


def seconds(duration):
    units = {"s": 1, "m": 60, "h": 3600}
    return sum(int(n) * units[u] for n, u in re.findall(r"(\d+)([smh])", duration))


def title(thing):
    return f"{thing['kind']} {thing['metadata']['name']}"


def strict(things):
    for thing in things:
        if thing["apiVersion"].startswith(FOREIGN):
            continue
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(thing, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{title(thing)}, Kubernetes {version}: {'.'.join(map(str, error.path))}: {error.message[:200]}"
                break
            except kubernetes_validate.utils.SchemaNotFoundError as error:
                yield f"{title(thing)}: {error.message}"
                break


def workloads(things):
    return [t for t in things if t["kind"] in ("Deployment", "StatefulSet")]


def pods(thing):
    return thing["spec"]["template"]["spec"]


def labels(thing):
    return thing["spec"]["template"]["metadata"].get("labels", {})


def environment(container):
    return {e["name"]: e.get("value") for e in container.get("env", [])}


def hardened(things):
    for thing in workloads(things):
        pod, name = pods(thing), title(thing)
        security = pod.get("securityContext", {})
        if pod.get("enableServiceLinks") is not False:
            yield f"{name}: enableServiceLinks must be false: Services named kafka become settings of the broker"
        if pod.get("automountServiceAccountToken") is not False and thing["metadata"]["name"] not in WITH_TOKEN:
            yield f"{name}: it does not need the API server: automountServiceAccountToken: false"
        if not security.get("runAsNonRoot") or not security.get("runAsUser") or "seccompProfile" not in security:
            yield f"{name}: runAsNonRoot, runAsUser and seccompProfile are needed"
        if any("hostPath" in v for v in pod.get("volumes", [])):
            yield f"{name}: no path of the host"
        for c in pod["containers"] + pod.get("initContainers", []):
            inside = c.get("securityContext", {})
            if (inside.get("allowPrivilegeEscalation") is not False or not inside.get("readOnlyRootFilesystem")
                    or inside.get("capabilities", {}).get("drop") != ["ALL"]):
                yield f"{name}: the container {c['name']} must have a read-only root file system, no capabilities and no way to more"
            resources = c.get("resources", {})
            if not {"cpu", "memory"} <= set(resources.get("requests", {})) or "memory" not in resources.get("limits", {}):
                yield f"{name}: the container {c['name']} needs requests for cpu and memory and a limit for memory"
            missing = [p for p in ("startupProbe", "livenessProbe", "readinessProbe") if p not in c]
            if missing:
                yield f"{name}: the container {c['name']} lacks {', '.join(missing)}"
            image, _, tag = c["image"].rpartition("/")[2].partition(":")
            if image in OURS:
                if tag in ("", "latest") and c.get("imagePullPolicy") != "IfNotPresent":
                    yield f"{name}: {c['image']} would be pulled at each start"
            elif tag in ("", "latest"):
                yield f"{name}: {c['image']} has no version"


def references(things):
    maps = {t["metadata"]["name"] for t in things if t["kind"] == "ConfigMap"}
    used = set()
    for thing in workloads(things):
        pod = pods(thing)
        volumes = pod.get("volumes", [])
        named = {v["name"] for v in volumes} | {v["metadata"]["name"] for v in thing["spec"].get("volumeClaimTemplates", [])}
        sources = volumes + [s for v in volumes for s in v.get("projected", {}).get("sources", [])]
        used |= {s["configMap"]["name"] for s in sources if "configMap" in s}
        for secret in (v["secret"] for v in volumes if "secret" in v):
            if not secret.get("optional") and secret["secretName"] not in {t["metadata"]["name"] for t in things if t["kind"] == "Secret"}:
                yield f"{title(thing)}: there is no Secret {secret['secretName']}"
        for c in pod["containers"]:
            used |= {e["configMapRef"]["name"] for e in c.get("envFrom", []) if "configMapRef" in e}
            mounted = {m["name"] for m in c.get("volumeMounts", [])}
            if mounted != named:
                yield f"{title(thing)}: mounts and volumes differ: {sorted(mounted ^ named)}"
            before = set()
            for e in c.get("env", []):
                later = set(re.findall(r"\$\((\w+)\)", e.get("value") or "")) - before
                if later:
                    yield f"{title(thing)}: {e['name']} uses {sorted(later)}, which must stand before it"
                before.add(e["name"])
    for name in sorted(used - maps):
        yield f"there is no ConfigMap {name}"
    for name in sorted(maps - used):
        yield f"the ConfigMap {name} is not used"


def selects(selector, of):
    have = lambda e: of.get(e["key"]) in e["values"]
    return all(of.get(k) == v for k, v in selector.get("matchLabels", {}).items()) and all(map(have, selector.get("matchExpressions", [])))


def selectors(things):
    all_pods = workloads(things)
    namespaces = {t["metadata"]["namespace"] for t in things if "namespace" in t["metadata"]}
    if len(namespaces) != 1 or namespaces != {t["metadata"]["name"] for t in things if t["kind"] == "Namespace"}:
        yield f"objects are in the namespaces {sorted(namespaces)}"
    for thing in things:
        spec = thing.get("spec", {})
        if thing["kind"] == "Service":
            found = [w for w in all_pods if selects({"matchLabels": spec["selector"]}, labels(w))]
            ports = {p["name"]: p["containerPort"] for w in found for c in pods(w)["containers"] for p in c.get("ports", [])}
            for p in spec["ports"]:
                target = p.get("targetPort", p["port"])
                if target not in ports and target not in ports.values():
                    yield f"{title(thing)}: no pod that it selects has the port {target}"
        elif thing["kind"] == "PodDisruptionBudget" and len([w for w in all_pods if selects(spec["selector"], labels(w))]) != 1:
            yield f"{title(thing)}: it must select the pods of one workload"
        elif thing["kind"] == "NetworkPolicy":
            found = [w for w in all_pods if selects(spec["podSelector"], labels(w))]
            ports = {p["name"] for w in found for c in pods(w)["containers"] for p in c.get("ports", [])}
            if not found:
                yield f"{title(thing)}: it selects nothing"
            for p in (p for rule in spec.get("ingress", []) for p in rule.get("ports", [])):
                if p["port"] not in ports:
                    yield f"{title(thing)}: no pod that it selects has the port {p['port']}"
    for w in all_pods:
        if not selects(w["spec"]["selector"], labels(w)):
            yield f"{title(w)}: its selector does not select its pods"
        if w["kind"] == "StatefulSet" and w["spec"]["serviceName"] not in {t["metadata"]["name"] for t in things if t["kind"] == "Service"}:
            yield f"{title(w)}: there is no Service {w['spec']['serviceName']}"
        if not any(t["kind"] == "NetworkPolicy" and t["spec"]["podSelector"] == {} for t in things):
            yield "nothing denies what no policy allows"


def programs(things):
    settings = next((t["data"] for t in things if t["kind"] == "ConfigMap" and re.fullmatch(r"kafka-cron(-[0-9a-z]{10})?", t["metadata"]["name"])), {})
    clusters = settings.get("KAFKA_CRON_CLUSTERS", "").split(",")
    topics = []
    budgets = [t for t in things if t["kind"] == "PodDisruptionBudget"]
    for thing in workloads(things):
        component, name = labels(thing).get("app.kubernetes.io/component"), title(thing)
        if component in ("producer", "consumer", "kafka") and not any(selects(b["spec"]["selector"], labels(thing)) for b in budgets):
            yield f"{name}: there is no PodDisruptionBudget"
        container = pods(thing)["containers"][0]
        variables = environment(container)
        if component == "producer" and thing["spec"].get("replicas", 1) < 2:
            yield f"{name}: one producer has no standby"
        if component in ("producer", "consumer"):
            for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
                if container.get(probe, {}).get("httpGet", {}).get("path") != path:
                    yield f"{name}: {probe} must ask for {path}"
        if component == "consumer":
            topics.append(labels(thing).get("kafka-cron/topic"))
            field = {e["name"]: e.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath") for e in container["env"]}
            if field.get("KAFKA_CRON_TOPIC") != "metadata.labels['kafka-cron/topic']" or field.get("KAFKA_CRON_INSTANCE_ID") != "metadata.name":
                yield f"{name}: topic and instance id must come from the pod"
            # A job's grace is 10 s by default, and the last results get 10 s.
            needed = seconds(variables.get("KAFKA_CRON_DRAIN") or "9999h") + 10 + 10
            if pods(thing)["terminationGracePeriodSeconds"] <= needed:
                yield f"{name}: terminationGracePeriodSeconds must be more than {needed}: drain, grace and last results"
        if component == "kafka":
            voters = variables["KAFKA_CONTROLLER_QUORUM_VOTERS"].split(",")
            wanted = [f"{i}@kafka-{i}.kafka:9093" for i in range(thing["spec"]["replicas"])]
            brokers = [f"kafka-{i}.kafka:19092" for i in range(thing["spec"]["replicas"])]
            if voters != wanted:
                yield f"{name}: the controllers must be {','.join(wanted)}"
            if settings.get("KAFKA_BROKERS") != ",".join(brokers):
                yield f"KAFKA_BROKERS must be {','.join(brokers)}"
            copies = "3" if len(brokers) >= 3 else "1"
            short = [n for n, v in variables.items() if n.endswith("REPLICATION_FACTOR") and v != copies]
            if short:
                yield f"{name}: {', '.join(short)} must be {copies}"
    wanted = sorted(c + kind for c in clusters for kind in ("", "-retry"))
    if sorted(map(str, topics)) != wanted:
        yield f"there are consumers for {sorted(map(str, topics))}, and the clusters need {wanted}"


def one_source(things):
    for thing in (t for t in things if t["kind"] == "ConfigMap"):
        start = re.sub(r"-[0-9a-z]{10}$", "", thing["metadata"]["name"])
        for path in SOURCES.get(start, []):
            if thing["data"].get(path.rpartition("/")[2]) != (ROOT / path).read_text():
                yield f"{title(thing)} differs from {path}"


CHECKS = (strict, hardened, references, selectors, programs, one_source)


def problems(things):
    return [p for check in CHECKS for p in check(things)]


def planted(things):
    """Mistakes, and a part of what must be said of each."""
    def of(kind, name):
        return lambda new: next(t for t in new if t["kind"] == kind and re.fullmatch(name, t["metadata"]["name"]))
    consumer, producer, kafka = of("StatefulSet", "cluster-a"), of("Deployment", "producer"), of("StatefulSet", "kafka")
    container = lambda thing: pods(thing)["containers"][0]
    yield "replicsa", lambda n: producer(n)["spec"].update(replicsa=2)
    yield "'two'", lambda n: producer(n)["spec"].update(replicas="two")
    yield "enableServiceLinks", lambda n: pods(kafka(n)).pop("enableServiceLinks")
    yield "automountServiceAccountToken", lambda n: pods(consumer(n)).pop("automountServiceAccountToken")
    yield "runAsNonRoot", lambda n: pods(consumer(n))["securityContext"].pop("runAsUser")
    yield "read-only root", lambda n: container(consumer(n))["securityContext"].pop("capabilities")
    yield "a limit for memory", lambda n: container(producer(n))["resources"].pop("limits")
    yield "lacks startupProbe", lambda n: container(kafka(n)).pop("startupProbe")
    yield "must ask for /readyz", lambda n: container(consumer(n))["readinessProbe"]["httpGet"].update(path="/healthz")
    yield "pulled at each start", lambda n: container(consumer(n)).update(image="kafka-cron", imagePullPolicy="Always")
    yield "has no version", lambda n: container(of("StatefulSet", "prometheus")(n)).update(image="prom/prometheus")
    yield "there is no ConfigMap", lambda n: n.remove(of("ConfigMap", "kafka-cron-jobs")(n))
    yield "mounts and volumes differ", lambda n: container(producer(n))["volumeMounts"].pop()
    yield "must stand before it", lambda n: container(kafka(n))["env"].reverse()
    yield "namespaces", lambda n: producer(n)["metadata"].update(namespace="default")
    yield "no pod that it selects has the port", lambda n: container(consumer(n)).update(ports=[])
    yield "must select the pods of one workload", lambda n: of("PodDisruptionBudget", "kafka")(n)["spec"].update(selector={})
    yield "it selects nothing", lambda n: of("NetworkPolicy", "kafka")(n)["spec"]["podSelector"].update(matchLabels={"a": "b"})
    yield "nothing denies", lambda n: n.remove(of("NetworkPolicy", "default-deny")(n))
    yield "its selector does not select", lambda n: labels(consumer(n)).pop("kafka-cron/topic")
    yield "there is no Service", lambda n: n.remove(of("Service", "cluster-a")(n))
    yield "there is no PodDisruptionBudget", lambda n: n.remove(of("PodDisruptionBudget", "cluster-a")(n))
    yield "no standby", lambda n: producer(n)["spec"].update(replicas=1)
    yield "topic and instance id", lambda n: container(consumer(n))["env"].__delitem__(slice(0, 3))
    yield "terminationGracePeriodSeconds must", lambda n: pods(consumer(n)).update(terminationGracePeriodSeconds=50)
    yield "the controllers must be", lambda n: kafka(n)["spec"].update(replicas=5)
    yield "the clusters need", lambda n: n.remove(of("StatefulSet", "cluster-b-retry")(n))
    yield "differs from conf/jobs.cron", lambda n: of("ConfigMap", "kafka-cron-jobs")(n)["data"].update({"jobs.cron": "# none"})


def main():
    found, overlays = [], {}
    for argument in sys.argv[1:]:
        overlay, _, path = argument.partition("=")
        with open(path, encoding="utf-8") as file:
            things = overlays[overlay] = [t for t in yaml.load_all(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if t]
        here = problems(things)
        found += [f"{overlay}: {p}" for p in here]
        foreign = sorted({t["kind"] for t in things if t["apiVersion"].startswith(FOREIGN)})
        print(f"{overlay}: {len(things)} objects, Kubernetes {VERSIONS[0]} to {VERSIONS[-1]}, {len(here)} problems"
              + (f"; without a schema here: {', '.join(foreign)}" if foreign else ""))
    if not found:
        things = overlays["minikube"]
        for said, spoil in planted(things):
            new = copy.deepcopy(things)
            spoil(new)
            # The schemas are slow, so only what was spoiled is held against them.
            spoiled = [t for t in new if t not in things]
            if not any(said in p for p in itertools.chain(strict(spoiled), *(check(new) for check in CHECKS[1:]))):
                found.append(f"a planted mistake was not found: {said}")
        print(f"{len(list(planted(things)))} planted mistakes, {len(found)} not found")
    print(*found, sep="\n", file=sys.stderr, end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
