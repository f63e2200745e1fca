"""Makes what the nodes serve at /openapi/<service>.json (docs/openapi/<service>.json, compiled in) of the documents that people write: docs/openapi.yaml, one file
for each of its tags, and docs/openapi/*.yaml. `x-example-files` of a content names files of this tree; they are put in as its examples, so that these are the
messages which other tests replay. Run it after a change (python3 tests/clients/openapi_files.py, with PyYAML); test_openapi.py fails where that was forgotten."""

import copy
import json
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
OUT = ROOT / "docs" / "openapi"


def example_files(node):
    """Puts files in the place of their names."""
    if isinstance(node, dict):
        files = node.pop("x-example-files", None)
        if files:
            node["examples"] = {
                Path(file).stem: {"value": json.loads((ROOT / file).read_text(encoding="utf-8"))} for file in files
            }
        for child in node.values():
            example_files(child)
    elif isinstance(node, list):
        for child in node:
            example_files(child)


def references(node):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for child in node.values():
            yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)


def part(whole, tag):
    """What a tag's operations need."""
    paths = {}
    for path, item in whole["paths"].items():
        mine = {verb: told for verb, told in item.items() if isinstance(told, dict) and tag["name"] in told.get("tags", [])}
        if mine:
            paths[path] = {**{name: told for name, told in item.items() if not isinstance(told, dict)}, **mine}
    info = {**whole["info"], "title": f"Spine, {tag['description']}"}
    document = {"openapi": whole["openapi"], "info": info, "servers": [{"url": "/"}], "tags": [tag]}
    document |= {"security": whole["security"], "paths": paths}
    components = {"securitySchemes": whole["components"]["securitySchemes"]}
    wanted, seen = list(references(paths)), set()
    while wanted:
        reference = wanted.pop()
        if reference in seen:
            continue
        seen.add(reference)
        _, _, kind, name = reference.split("/")
        found = whole["components"][kind][name]
        components.setdefault(kind, {})[name] = found
        wanted.extend(references(found))
    document["components"] = {kind: dict(sorted(told.items())) for kind, told in components.items()}
    return copy.deepcopy(document)


def documents():
    """Service → text."""
    made = {}
    whole = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text(encoding="utf-8"))
    for tag in whole["tags"]:
        made[tag["name"]] = part(whole, tag)
    for file in sorted(OUT.glob("*.yaml")):
        made[file.stem] = yaml.safe_load(file.read_text(encoding="utf-8"))
    for document in made.values():
        example_files(document)
    return {name: json.dumps(document, indent=1, ensure_ascii=False) + "\n" for name, document in made.items()}


if __name__ == "__main__":
    for name, text in documents().items():
        (OUT / f"{name}.json").write_text(text, encoding="utf-8")
