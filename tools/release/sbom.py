"""Writes the bill of materials of the binary: CycloneDX 1.6 as JSON, in a fixed order and with the commit's time.

    sbom.py TARGET BINARY OUT

It is checked against the schema of CycloneDX if the package cyclonedx-python-lib is there (`tools/setup.sh release`).
"""

import hashlib
import json
import os
import sys
import uuid
from datetime import datetime, timezone
from pathlib import Path

import parts


def component(part: parts.Part) -> dict:
    fields = {
        "type": "library",
        "bom-ref": part.purl,
        "name": part.name,
        "version": part.version,
        "licenses": [{"expression": part.licence}],
        "purl": part.purl,
    }
    if part.cpe:
        fields["cpe"] = part.cpe
    if part.sha256:
        fields["hashes"] = [{"alg": "SHA-256", "content": part.sha256}]
    if part.repository:
        fields["externalReferences"] = [{"type": "vcs", "url": part.repository}]
    return fields


def document(binary: parts.Part, found: list[parts.Part], digest: str) -> dict:
    time = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), timezone.utc)
    application = component(binary) | {"type": "application", "hashes": [{"alg": "SHA-256", "content": digest}]}
    everything = sorted([binary, *found], key=lambda part: part.purl)
    body = {
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "tools": {"components": [{"type": "application", "name": "tools/release/sbom.py", "version": binary.version}]},
            "component": application,
        },
        "components": [component(part) for part in found],
        "dependencies": [{"ref": part.purl, "dependsOn": sorted(part.uses)} for part in everything],
    }
    # A number of its own for each content.
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(body, sort_keys=True))
    return {"bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": f"urn:uuid:{serial}", "version": 1} | body


def check(text: str) -> str:
    """Says how it was checked; ends the program if it does not fit the schema."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if error:
        raise SystemExit(f"release: the bill of materials does not fit CycloneDX's schema: {error}")
    return "fits CycloneDX's schema"


def main() -> None:
    target, binary, out = sys.argv[1:]
    digest = hashlib.sha256(Path(binary).read_bytes()).hexdigest()
    application, found = parts.find(target)
    text = json.dumps(document(application, found, digest), indent=1, ensure_ascii=False) + "\n"
    checked = check(text)
    Path(out).write_text(text)
    print(f"release: {Path(out).name}: {len(found)} parts; {checked}")


main()
