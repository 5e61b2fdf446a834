"""Checks of deploy/ and shop/connect/ that need a YAML parser; called by check.sh from the repository's root.

All YAML and JSON parses; each bind mount of the compose file exists; connectors keep their passwords out and read
committed records only; each alert has its texts, a test and a page in docs/runbooks, and each page there an alert; each
metric that a rule, a test, a page or the dashboard names is one that the host exports. The dashboard's queries are
written to the file given as argument, as recording rules, so that promtool can parse them.
"""

import json
import re
import sys
from pathlib import Path

import yaml

DEPLOY = Path("deploy")
CONNECTORS = Path("shop/connect")
METRICS = Path("host/src/telemetry/metrics")
RUNBOOKS = Path("docs/runbooks")
# A page of this repository; Prometheus' users expect its URL under this name.
RUNBOOK_URL = "https://github.com/sandbar-rs/sandbar/blob/main/docs/runbooks"
# The parts that each page has, in this order.
RUNBOOK_PARTS = ["See", "Causes", "Do", "It is over when"]
SEVERITIES = {"critical", "warning", "info"}
# Values like those that Grafana puts in place of its variables.
GRAFANA = {"$__rate_interval": "5m", "$__interval": "1m", "$__range": "1h"}

problems = []


def expect(condition, message):
    if not condition:
        problems.append(message)


def load(path):
    try:
        text = path.read_text()
        return json.loads(text) if path.suffix == ".json" else list(yaml.safe_load_all(text))[0]
    except (ValueError, yaml.YAMLError) as error:
        problems.append(f"{path}: {error}")
        return {}


def metrics_in(query):
    """The names of series in a PromQL expression: Sandbar's own, and recorded ones (with a colon)."""
    query = re.sub(r'"[^"]*"', '""', query)
    return {
        name for name in re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*", query) if name.startswith("sandbar_") or ":" in name
    }


def exported(name, known):
    """Returns true if the host exports this series; a histogram has three."""
    return name in known or re.sub(r"_(bucket|sum|count)$", "", name) in known


def check_compose(path):
    for name, service in load(path).get("services", {}).items():
        expect("image" in service or "build" in service, f"{path}: {name} has neither image nor build")
        expect(not service.get("image", "x:y").endswith(":latest") and ":" in service.get("image", "x:y"),
               f"{path}: pin the version of {name}'s image")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                expect((path.parent / source).exists(), f"{path}: {name} mounts {source}, which does not exist")
        if "build" in service:
            dockerfile = path.parent / service["build"]["context"] / service["build"]["dockerfile"]
            expect(dockerfile.exists(), f"{path}: {dockerfile} does not exist")


def check_rules(path, tests):
    """Returns the place of each query, and the recorded series."""
    queries, recorded = {}, set()
    tested = {
        name for case in tests.get("tests", [])
        for name in re.findall(r"\bSandbar\w+", json.dumps([
            case.get("alert_rule_test", []),
            [test.get("exp_samples") for test in case.get("promql_expr_test", [])],
        ]))
    }
    alerts = set()
    for rule in (rule for group in load(path).get("groups", []) for rule in group["rules"]):
        name = rule.get("alert") or rule["record"]
        queries[f"{path}: {name}"] = rule["expr"]
        if "record" in rule:
            recorded.add(name)
            continue
        expect(name not in alerts, f"{path}: two alerts are called {name}")
        alerts.add(name)
        for text in ("summary", "action"):
            expect(rule.get("annotations", {}).get(text), f"{path}: {name} has no {text}")
        page = f"{RUNBOOK_URL}/{name}.md"
        expect(rule.get("annotations", {}).get("runbook_url") == page, f"{path}: the runbook_url of {name} is not {page}")
        expect(rule.get("labels", {}).get("severity") in SEVERITIES, f"{path}: {name} has no severity")
        expect(name in tested, f"{path}: no test lets {name} fire")
    for name in sorted(tested - alerts):
        problems.append(f"{path}: a test expects {name}, which is no alert")
    return queries, recorded


def check_runbooks(path):
    """Each alert has its page and its row in the index, with its severity; each page and each row has its alert."""
    rules = [rule for group in load(path).get("groups", []) for rule in group["rules"] if "alert" in rule]
    severities = {rule["alert"]: rule.get("labels", {}).get("severity") for rule in rules}
    pages = {page.stem: page.read_text() for page in RUNBOOKS.glob("*.md") if page.name != "README.md"}
    index = (RUNBOOKS / "README.md").read_text()
    rows = dict(re.findall(r"^\| \[\w+\]\((\w+)\.md\) \| (\w+) \|", index, re.M))
    for name in sorted(severities.keys() - pages.keys()):
        problems.append(f"{RUNBOOKS}: the alert {name} has no page")
    for name in sorted(pages.keys() - severities.keys()):
        problems.append(f"{RUNBOOKS}: {name}.md is the page of no alert")
    for name, text in sorted(pages.items()):
        expect(text.startswith(f"# {name}\n"), f"{RUNBOOKS}/{name}.md: its title is not the alert's name")
        parts = re.findall(r"^## (.*)$", text, re.M)
        expect(parts == RUNBOOK_PARTS, f"{RUNBOOKS}/{name}.md: its parts are {parts}")
    for name in sorted(severities.keys() | rows.keys()):
        expect(rows.get(name) == severities.get(name),
               f"{RUNBOOKS}/README.md: {name} is {severities.get(name)} in {path}, and {rows.get(name)} in the index")


def check_links(folder):
    """Each link of these pages to a file of this repository leads to one, and to a heading of it."""
    for page in sorted(folder.glob("*.md")):
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if "://" in target:
                continue
            name, _, anchor = target.partition("#")
            file = page.parent / name if name else page
            if file.is_dir():
                continue
            if not file.exists():
                problems.append(f"{page}: {target} does not exist")
            elif anchor:
                expect(anchor in anchors_of(file.read_text()), f"{page}: {target} has no such heading")


def anchors_of(text):
    """The names by which the headings of a page are linked: GitHub's rule."""
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def check_dashboard(path):
    dashboard = load(path)
    variables = {variable["name"] for variable in dashboard.get("templating", {}).get("list", [])}
    expect({"team", "transform"} <= variables, f"{path}: the variables team and transform are missing")
    queries, ids, cells = {}, set(), {}
    for panel in dashboard.get("panels", []):
        title = panel["title"]
        expect(panel["id"] not in ids, f"{path}: two panels have the id {panel['id']}")
        ids.add(panel["id"])
        at = panel["gridPos"]
        expect(at["x"] + at["w"] <= 24, f"{path}: {title} is wider than the page")
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            expect(cell not in cells, f"{path}: {title} covers {cells.get(cell)}")
            cells[cell] = title
        for target in panel.get("targets", []):
            queries[f"{path}: {title} {target['refId']}"] = target["expr"]
    for annotation in dashboard.get("annotations", {}).get("list", []):
        if "expr" in annotation:
            queries[f"{path}: {annotation['name']}"] = annotation["expr"]
    for where, query in queries.items():
        for name in re.findall(r"\$\{?(\w+)", query):
            expect(f"${name}" in GRAFANA or name in variables, f"{where}: ${name} is no variable")
    for variable in dashboard.get("templating", {}).get("list", []):
        if variable["type"] == "query":
            queries[f"{path}: variable {variable['name']}"] = variable["definition"]
    return queries


def check_connector(path, documented):
    """Finds errors that Connect reports only when the connector starts, or never."""
    config = load(path)
    for name, value in config.items():
        expect(isinstance(value, str), f"{path}: {name} is no text, as Connect's values are")
        if name.endswith("password"):
            expect(re.fullmatch(r"\$\{env:\w+\}", value), f"{path}: {name} belongs into the worker's environment")
        if name.endswith(".schema.content"):
            try:
                json.loads(value)
            except ValueError as error:
                problems.append(f"{path}: {name}: {error}")
    for variable in re.findall(r"\$\{env:(\w+)\}", " ".join(config.values())):
        expect(f"`{variable}`" in documented, f"{path}: deploy/README.md does not explain {variable}")
    if "topics" in config:
        expect(config.get("consumer.override.isolation.level") == "read_committed",
               f"{path}: a sink that is not read_committed stores aborted records")


def write_as_rules(queries, path):
    rules = []
    for where, query in queries.items():
        if "label_values(" in query:
            query = re.sub(r"label_values\((.*), *\w+\)", r"\1", query)
        for name, value in GRAFANA.items():
            query = query.replace(name, value)
        rules.append({"record": "check:" + re.sub(r"\W", "_", where), "expr": query})
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))


def main():
    for path in sorted([*DEPLOY.rglob("*.yaml"), *DEPLOY.rglob("*.yml"), *DEPLOY.rglob("*.json")]):
        # Helm's templates are not YAML until they are rendered.
        if "templates" not in path.parts:
            load(path)

    for path in sorted(CONNECTORS.glob("*.json")):
        check_connector(path, (DEPLOY / "README.md").read_text())

    check_compose(DEPLOY / "compose/compose.yaml")
    tests = load(DEPLOY / "prometheus/rules_test.yml")
    rules, recorded = check_rules(DEPLOY / "prometheus/rules.yml", tests)
    check_runbooks(DEPLOY / "prometheus/rules.yml")
    check_links(RUNBOOKS)
    dashboard = check_dashboard(DEPLOY / "grafana/sandbar.json")
    write_as_rules(dashboard, Path(sys.argv[1]))

    queries = {**rules, **dashboard}
    for case in tests.get("tests", []):
        series = " ".join(series["series"] for series in case["input_series"])
        queries[f"rules_test.yml: {case['name']}"] = series

    for page in RUNBOOKS.glob("*.md"):
        queries[str(page)] = " ".join(re.findall(r"\bsandbar_[a-z0-9_]+", page.read_text()))

    known = None
    if METRICS.exists():
        sources = "".join(source.read_text() for source in [METRICS.with_suffix(".rs"), *METRICS.rglob("*.rs")])
        known = set(re.findall(r'"(sandbar_[a-z0-9_]+)"', sources))
        expect(known, f'{METRICS}: no string literal "sandbar_..." in it')
    for where, query in queries.items():
        for name in sorted(metrics_in(query)):
            if ":" in name:
                expect(name in recorded, f"{where}: {name} is not recorded by any rule")
            elif known is not None:
                expect(exported(name, known), f"{where}: the host exports no metric {name}")

    print("\n".join(problems))
    sys.exit(1 if problems else 0)


main()
