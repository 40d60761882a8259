#!/usr/bin/env python3
"""Writes which crates the programs contain, as CycloneDX 1.5 JSON.

    cargo metadata --locked --format-version 1 --filter-platform TARGET | sbom.py Cargo.lock

Only what is compiled into the programs or runs while they are built is named, and nothing that only tests need. What runs
while they are built (build scripts, macros) has the scope `excluded`: it is in no program. The same sources give the same text.
"""

import json
import re
import sys


def checksums(lock):
    """The checksum of each package from a registry, by name and version."""
    found = {}
    for entry in lock.split("[[package]]")[1:]:
        values = dict(re.findall(r'^(\w+) = "(.*)"$', entry, re.MULTILINE))
        if "checksum" in values:
            found[values["name"], values["version"]] = values["checksum"]
    return found


def reached(root, nodes, kinds, beyond):
    """The packages that are reached from `root` by dependencies of these kinds, without those of `beyond`."""
    found, waiting = {}, [root]
    while waiting:
        package = waiting.pop()
        if package in found or package in beyond:
            continue
        found[package] = sorted(
            dep["pkg"]
            for dep in nodes[package]["deps"]
            if any(kind["kind"] in kinds for kind in dep["dep_kinds"])
        )
        waiting.extend(found[package])
    return found


def name_of(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, sums, scope):
    entry = {
        "type": "library",
        "bom-ref": name_of(package),
        "name": package["name"],
        "version": package["version"],
        "scope": scope,
        "purl": name_of(package),
    }
    if package["license"]:
        # Before SPDX, cargo's separator of alternatives was a slash.
        entry["licenses"] = [{"expression": re.sub(r"\s*/\s*", " OR ", package["license"])}]
    checksum = sums.get((package["name"], package["version"]))
    if checksum:
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["repository"]:
        entry["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return entry


def main():
    metadata = json.load(sys.stdin)
    with open(sys.argv[1], encoding="utf-8") as file:
        sums = checksums(file.read())
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    # They run in the compiler, and so does what only they need.
    macros = {key for key, package in packages.items() if any("proc-macro" in target["kind"] for target in package["targets"])}
    in_programs = reached(root, nodes, {None}, macros)
    all_built = reached(root, nodes, {None, "build"}, set())

    by_name = sorted(set(all_built) - {root}, key=lambda key: (packages[key]["name"], packages[key]["version"]))
    ours = packages[root]
    subject = {
        "type": "application",
        "bom-ref": name_of(ours),
        "name": ours["name"],
        "version": ours["version"],
        "purl": name_of(ours),
        "licenses": [{"expression": ours["license"]}],
    }
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": subject},
        "components": [
            component(packages[key], sums, "required" if key in in_programs else "excluded") for key in by_name
        ],
        "dependencies": [
            {"ref": name_of(packages[key]), "dependsOn": sorted({name_of(packages[dep]) for dep in all_built[key]})}
            for key in [root, *by_name]
        ],
    }
    json.dump(bom, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
