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
    """Refuses fields that the schema does not name, as the API server reports them; OpenAPI's own words become JSON Schema's."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {name: part if name in ("enum", "default", "example") else closed(part) for name, part in schema.items()}
    if schema.pop("x-kubernetes-int-or-string", False):
        schema.pop("anyOf", None)
        schema["type"] = ["integer", "string"]
    # A field that is itself called "properties" has a schema, not a table of them: its value is no dict of dicts.
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
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
