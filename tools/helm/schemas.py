"""Writes JSON Schemas for kubeconform into a folder; called by tools/setup.sh.

    schemas.py OUT wheel FILE VERSION...   unpacks those of Kubernetes' own kinds, as OUT/VERSION/KIND-GROUP-VERSION.json
    schemas.py OUT crd FILE                converts a CustomResourceDefinition, as OUT/GROUP/KIND_VERSION.json
"""

import json
import sys
import zipfile
from pathlib import Path

import yaml


def unpack(out, wheel, versions):
    with zipfile.ZipFile(wheel) as archive:
        for version in versions:
            folder = f"kubernetes_validate/kubernetes-json-schema/{version}-local-strict/"
            names = [name for name in archive.namelist() if name.startswith(folder) and name.endswith(".json")]
            if not names:
                sys.exit(f"{wheel} has no schemas of Kubernetes {version}")
            (out / version).mkdir(parents=True)
            for name in names:
                schema = json.loads(archive.read(name))
                # Without its address in the web, a file finds the definitions beside it.
                schema.pop("$id", None)
                text = json.dumps(schema).replace('"/api/_definitions.json#', '"_definitions.json#')
                (out / version / Path(name).name).write_text(text)


def closed(schema):
    """Makes a schema of OpenAPI one that refuses fields which it does not name, as the API server reports them."""
    schema = dict(schema)
    if schema.pop("x-kubernetes-int-or-string", False):
        schema.pop("anyOf", None)
        schema["type"] = ["integer", "string"]
    if "properties" in schema:
        schema["properties"] = {name: closed(part) for name, part in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema["additionalProperties"] = False
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            schema[word] = closed(schema[word])
    return schema


def convert(out, file):
    definition = yaml.safe_load(Path(file).read_text())["spec"]
    for version in definition["versions"]:
        schema = closed(version["schema"]["openAPIV3Schema"])
        # The description of the object itself has no fields of it.
        schema["properties"]["metadata"] = {"type": "object"}
        target = out / definition["group"] / f"{definition['names']['kind'].lower()}_{version['name']}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(schema))


out, kind, file, *versions = sys.argv[1:]
unpack(Path(out), file, versions) if kind == "wheel" else convert(Path(out), file)
