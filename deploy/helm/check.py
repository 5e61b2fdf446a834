"""Looks at rendered manifests of the chart, as a cluster would get them; called by check.sh.

    check.py promises CASE FILE     the promises of the chart with any values, and those of this case of tests/
    check.py options FILE           each flag of a host is an option of values.schema.json, or a variable in FILE
    check.py query FILE             prints KEDA's query, as a recording rule for promtool
"""

import json
import re
import sys
from pathlib import Path

import yaml

CHART = Path("deploy/helm/sandbar")
FLAGS = Path("host/src/config/flags.rs")
# Flags that the chart leaves out: it has values for all that they could say.
WITHOUT_VALUE = {"SANDBAR_CONFIG", "SANDBAR_KAFKA_PROPERTIES"}
# A host needs them for the last commit (deploy/README.md).
STOP_SECONDS = 40

problems = []


def expect(condition, message):
    if not condition:
        problems.append(message)


def load(path):
    """The manifests by kind and name."""
    found = {}
    for manifest in yaml.safe_load_all(Path(path).read_text()):
        if manifest:
            key = (manifest["kind"], manifest["metadata"]["name"])
            expect(key not in found, f"{key} is there twice")
            found[key] = manifest
    return found


def only(manifests, kind):
    found = [manifest for (own, _), manifest in manifests.items() if own == kind]
    expect(len(found) == 1, f"{len(found)} objects of the kind {kind}")
    return found[0] if found else {}


def environment(manifests):
    variables = only(manifests, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]["env"]
    names = [variable["name"] for variable in variables]
    expect(len(names) == len(set(names)), f"variables are there twice: {names}")
    return {variable["name"]: variable.get("value") for variable in variables}


def check_pod(manifests):
    spec = only(manifests, "StatefulSet")["spec"]
    pod = spec["template"]["spec"]
    expect(len(pod["containers"]) == 1 and "initContainers" not in pod, "a pod has other containers than the host")
    container = pod["containers"][0]
    expect(pod["automountServiceAccountToken"] is False, "pods get a token of the API server")
    for manifest in manifests.values():
        if manifest["kind"] == "ServiceAccount":
            expect(manifest["automountServiceAccountToken"] is False, "the service account gives a token to pods")
        expect("Role" not in manifest["kind"], f"the chart gives rights: {manifest['kind']}")
    expect(not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), "pods are in namespaces of the node")
    expect(pod["securityContext"]["runAsNonRoot"] is True, "runAsNonRoot is not true")
    expect(pod["securityContext"].get("runAsUser") != 0, "the user is root")
    expect(pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, "seccomp is not RuntimeDefault")
    own = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    expect(container["securityContext"] == own, f"the container's security context is {container['securityContext']}")
    hook = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    expect(pod["terminationGracePeriodSeconds"] >= STOP_SECONDS + hook, "a host gets less than 40 s for SIGTERM")
    expect(container["resources"]["limits"]["memory"], "there is no limit for memory")

    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    claims = {claim["metadata"]["name"]: claim for claim in spec.get("volumeClaimTemplates", [])}
    expect(mounts.keys() == volumes.keys() | claims.keys(), "mounts and volumes are not the same")
    expect("state" in mounts, "there is no volume for state")
    for name, mount in mounts.items():
        expect("subPath" not in mount, f"{name}: a mount with subPath never changes")
        expect(mount.get("readOnly") or name in ("state", "tmp"), f"{name} can be written")
    for name, volume in volumes.items():
        expect(volume.keys() & {"emptyDir", "ephemeral", "secret", "configMap"}, f"{name} is a volume of the node")
        expect("secret" not in volume or volume["secret"]["defaultMode"] == 0o440, f"{name}: the mode is not 0440")
    for value in environment(manifests).values():
        if value and value.startswith("/"):
            # A file or folder of a volume, a volume, or the folder of several.
            expect(any(f"{value}/".startswith(f"{path}/") or path.startswith(f"{value}/")
                       for path in (mount["mountPath"] for mount in mounts.values())), f"{value} is in no volume")


def check_api(manifests):
    """Beyond loopback a host has TLS and sign-in, or the words for their lack; probes and services fit."""
    env = environment(manifests)
    container = only(manifests, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]
    tls = "SANDBAR_TLS_CERT" in env and "SANDBAR_TLS_KEY" in env
    expect(tls != (env.get("SANDBAR_INSECURE_NO_TLS") == "true"), "TLS and insecure.noTls do not exclude each other")
    expect((env.get("SANDBAR_AUTH") == "required") != (env.get("SANDBAR_INSECURE_NO_AUTH") == "true"),
           "sign-in and insecure.noAuth do not exclude each other")
    scheme = "https" if tls else "http"
    expect(env["SANDBAR_ADVERTISE"].startswith(f"{scheme}://$(POD_NAME)."), "a host advertises another scheme")
    for name, path in {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}.items():
        probe = container[name]
        if env.get("SANDBAR_TLS_CLIENT_REQUIRED") == "true":
            expect(probe.get("tcpSocket") == {"port": "api"}, f"{name} needs a certificate")
        else:
            call = {"path": path, "port": "api", "scheme": scheme.upper()}
            expect(probe.get("httpGet") == call, f"{name} is {probe.get('httpGet')}")
    pods = only(manifests, "StatefulSet")["spec"]["template"]["metadata"]["labels"].items()
    for (kind, name), manifest in manifests.items():
        spec = manifest.get("spec", {})
        selector = {"Service": spec.get("selector"), "NetworkPolicy": spec.get("podSelector", {}).get("matchLabels"),
                    "PodMonitor": spec.get("selector", {}).get("matchLabels"),
                    "PodDisruptionBudget": spec.get("selector", {}).get("matchLabels")}.get(kind)
        expect(selector is None or (selector and selector.items() <= pods), f"{kind} {name} selects no pod")


def check_network(manifests):
    policy = only(manifests, "NetworkPolicy")["spec"]
    expect(set(policy["policyTypes"]) == {"Ingress", "Egress"}, "the policy has one direction only")
    for rule in policy["ingress"]:
        expect(rule.get("from") and rule.get("ports") == [{"port": "api", "protocol": "TCP"}], f"ingress: {rule}")
    for rule in policy["egress"]:
        expect(rule.get("ports"), f"egress to all ports: {rule}")


def ports(manifests):
    return {port["port"] for rule in only(manifests, "NetworkPolicy")["spec"]["egress"] for port in rule["ports"]}


def kinds(manifests):
    return {kind for kind, _ in manifests}


def check_minimal(manifests):
    check_network(manifests)
    expect(kinds(manifests) == {"StatefulSet", "Service", "ServiceAccount", "NetworkPolicy", "PodDisruptionBudget"},
           f"the kinds are {kinds(manifests)}")
    spec = only(manifests, "StatefulSet")["spec"]
    expect(spec["replicas"] == 2, "there are not two hosts")
    expect(spec["podManagementPolicy"] == "Parallel", "hosts wait for each other")
    expect(spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Delete", "whenScaled": "Delete"},
           "volumes outlive their hosts")
    expect(only(manifests, "NetworkPolicy")["spec"]["ingress"][0]["from"] == [{"podSelector": {}}],
           "other namespaces reach the API")
    expect(ports(manifests) == {53, 5353, 9092}, f"hosts reach the ports {ports(manifests)}")
    expect(only(manifests, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1, "more than one host may go")


def check_cert_manager(manifests):
    check_network(manifests)
    names = only(manifests, "Certificate")["spec"]["dnsNames"]
    for name in ("shop-sandbar.stage.svc", "*.shop-sandbar-hosts.stage.svc", "sandbar.shop.example"):
        expect(name in names, f"the certificate is not for {name}")
    expect(only(manifests, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]["image"].count("@sha256:") == 1,
           "the image has no digest")
    expect(ports(manifests) == {53, 5353, 9094, 8443}, f"hosts reach the ports {ports(manifests)}")
    roles = yaml.safe_load(only(manifests, "ConfigMap")["data"]["oidc-roles.yaml"])
    expect(roles["groups"]["team-{team}"] == ["{team}:deploy"], f"the roles are {roles}")


def check_proxy(manifests):
    expect(kinds(manifests) == {"StatefulSet", "Service"}, f"the kinds are {kinds(manifests)}")
    spec = only(manifests, "StatefulSet")["spec"]
    expect(spec["template"]["spec"]["serviceAccountName"] == "default", "a service account that nobody makes")
    expect("runAsUser" not in spec["template"]["spec"]["securityContext"], "the user is not left to the platform")
    expect("volumeClaimTemplates" not in spec, "volumes outlive their pods")
    state = next(volume for volume in spec["template"]["spec"]["volumes"] if volume["name"] == "state")
    # The host sees the size of its disk: an emptyDir is the node's.
    claim = state.get("ephemeral", {}).get("volumeClaimTemplate", {}).get("spec", {})
    expect(claim.get("resources") == {"requests": {"storage": "1Gi"}}, "the state has no disk of its own")
    expect(environment(manifests)["SANDBAR_LISTEN"] == "[::]:8080", "the host does not listen on IPv6")
    expect(("Service", "hosts-hosts") in manifests, "fullnameOverride is not used")


def check_all(manifests):
    check_network(manifests)
    env = environment(manifests)
    for name, value in {"SANDBAR_TEAM_LOG_LINES_MAX": "2000000", "SANDBAR_GUEST_MEMORY_MAX": "2GiB",
                        "SANDBAR_SESSION_TIMEOUT": "12s", "SANDBAR_KAFKA_TEAMS_REQUIRED": "true"}.items():
        expect(env.get(name) == value, f"{name} is {env.get(name)}")
    files = only(manifests, "ConfigMap")["data"]
    expect(yaml.safe_load(files["teams.yaml"])["defaults"]["transforms_max"] == 1000000, "a number of teams.yaml changed")
    expect("1000000" in files["teams.yaml"], "a number of teams.yaml is not written as one")
    expect("replicas" not in only(manifests, "StatefulSet")["spec"], "Helm and KEDA both set the number of hosts")
    endpoint = only(manifests, "PodMonitor")["spec"]["podMetricsEndpoints"][0]
    expect({"targetLabel": "job", "replacement": "sandbar"} in endpoint["relabelings"], "the rules need the job sandbar")
    expect({"targetLabel": "cluster", "replacement": "shop"} in endpoint["relabelings"], "the rules need a cluster")
    rules = yaml.safe_load(Path("deploy/prometheus/rules.yml").read_text())
    expect(only(manifests, "PrometheusRule")["spec"] == rules, "the rules are not those of deploy/prometheus")
    scaled = only(manifests, "ScaledObject")["spec"]
    expect(scaled["scaleTargetRef"]["name"] == "shop-sandbar", "KEDA scales something else")
    expect(scaled["triggers"][0]["metadata"]["threshold"] == "2500000", "KEDA's threshold is not a number")
    known = Path("docs/metrics.md").read_text()
    for name in re.findall(r"\bsandbar_\w+", query(manifests)):
        expect(f"`{name}`" in known, f"KEDA asks for {name}, which is no metric")


def query(manifests):
    return only(manifests, "ScaledObject")["spec"]["triggers"][0]["metadata"]["query"]


def check_options(manifests):
    flags = set(re.findall(r'env = "(SANDBAR_\w+)"', FLAGS.read_text()))
    expect(len(flags) > 50, f"{FLAGS} has {len(flags)} flags")
    schema = json.loads((CHART / "values.schema.json").read_text())
    options = {"SANDBAR_" + name.upper().replace("-", "_") for name in schema["properties"]["options"]["properties"]}
    # Options that this case sets are variables too.
    own = {name for name in environment(manifests) if name.startswith("SANDBAR_") and "_SECRET_" not in name} - options
    own |= {"SANDBAR_INSECURE_NO_TLS", "SANDBAR_INSECURE_NO_AUTH"}
    for name in sorted(flags - options - own - WITHOUT_VALUE):
        problems.append(f"{name}: neither a value nor an option of the chart")
    for name in sorted((options | own) - flags):
        problems.append(f"{name}: the chart sets it, and no host reads it")


def closed(schema, path):
    """Each object of the schema refuses names that it does not have, or says why it takes any."""
    for name, part in schema.get("properties", {}).items():
        closed(part, f"{path}.{name}")
    if schema.get("type") == "object":
        expect("additionalProperties" in schema or "description" in schema, f"{path} takes any name")


def check_schema_and_values():
    """Each default has a comment before it or on its object, and the schema is closed and has the names of the values."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    closed(schema, "values")
    for name, part in schema["definitions"].items():
        closed(part, name)

    def same(values, part, path):
        names = set(part.get("properties", {})) - {"global"}
        if not names or path == "values.options" or path.startswith("values.resources"):
            return
        for name in sorted(names ^ set(values)):
            problems.append(f"{path}.{name}: only in one of values.yaml and values.schema.json")
        for name in names & set(values):
            if isinstance(values[name], dict):
                same(values[name], part["properties"][name], f"{path}.{name}")

    same(yaml.safe_load((CHART / "values.yaml").read_text()), schema, "values")


def main(what, *arguments):
    manifests = load(arguments[-1])
    if what == "promises":
        check_pod(manifests)
        check_api(manifests)
        {"minimal": check_minimal, "cert-manager": check_cert_manager, "proxy": check_proxy, "all": check_all}[arguments[0]](
            manifests)
    elif what == "options":
        check_options(manifests)
        check_schema_and_values()
    elif what == "query":
        rule = {"record": "check:keda", "expr": query(manifests)}
        print(yaml.safe_dump({"groups": [{"name": "keda", "rules": [rule]}]}))
    if problems:
        sys.exit("\n".join(problems))


main(*sys.argv[1:])
