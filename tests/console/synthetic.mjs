// A host that is not there: the console's files, and the flow of many made-up transforms, all of which change each second.
// It shows how quick the console is with more than a test could deploy, and what it does with a host that is slow, silent or refuses.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";

const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; worker-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
const TYPES = { html: "text/html", js: "text/javascript", css: "text/css", svg: "image/svg+xml" };

/** The hosts that run the transforms. Another one is there as well, which tells the flow nothing. */
const HOSTS = ["host-a", "host-b", "host-c"];

/** `count` transforms in chains of five, of twelve teams, with ten partitions each, on two hosts each. */
export function transforms(count, turn) {
  return Array.from({ length: count }, (_, index) => {
    const chain = Math.floor(index / 5);
    const teamNumber = chain % 12;
    const team = `team-${String(teamNumber).padStart(2, "0")}`;
    const step = index % 5;
    const perMinute = 600 + ((index * 7919 + turn * 131) % 90_000);
    const inputs = [`chain-${chain}.step-${step}`, ...(step === 2 ? ["shared.orders"] : [])];
    const outputs = [`chain-${chain}.step-${step + 1}`];
    const isBad = index % 97 === 13;
    return {
      team,
      name: `transform-${index}`,
      revision: 1 + (index % 7),
      running_revisions: [1 + (index % 7)],
      rollout: "complete",
      desired: "running",
      state: isBad ? "degraded" : "running",
      ...(isBad ? { error: "E101" } : {}),
      changed_at: "2026-11-01T10:00:00.000Z",
      inputs,
      outputs,
      tables: step === 3 ? ["shared.products"] : [],
      dead_letters: `${team}.transform-${index}.dead-letter`,
      hosts: 2,
      running_on: { [HOSTS[index % 3]]: 5, [HOSTS[(index + 1) % 3]]: 5 },
      partitions: isBad ? { running: 8, degraded: 2 } : { running: 10 },
      lag: (index * 31 + turn * 17) % 5000,
      activity: {
        in_per_minute: perMinute,
        out_per_minute: perMinute - (perMinute % 7),
        failed_per_minute: isBad ? 6 : 0,
        inputs: inputs.map((topic) => ({ topic, per_minute: perMinute })),
        outputs: outputs.map((topic) => ({ topic, per_minute: perMinute })),
        latency_p50_ms: 40,
        latency_p99_ms: 180 + (turn % 20),
        guest_nanos_per_record: 2300,
        // Each team has another figure, in another order than that of the names: `team-00` none, and `team-07` the most.
        cpu_millicores: 8 * ((teamNumber * 5) % 12),
        memory_bytes: 3 << 20,
      },
    };
  });
}

function status(transform) {
  const partition = (topic, number, turn) => ({
    topic,
    partition: number,
    committed_offset: 1000 + turn,
    end_offset: 1100 + turn,
    lag: 100,
    state: "running",
    revision: transform.revision,
    revision_since: 0,
  });
  const host = (name, from) => ({
    team: transform.team,
    name: transform.name,
    host: name,
    state: "running",
    revision: transform.revision,
    rollout: { revision: transform.revision, state: "complete" },
    partitions: Array.from({ length: 5 }, (_, index) => partition(transform.inputs[0], from + index, index)),
  });
  const { team, name, revision, desired, state, lag, running_revisions, running_on } = transform;
  const hosts = Object.keys(running_on).map((name, index) => host(name, 5 * index));
  return { team, name, revision, desired, state, lag, running_revisions, rollout: { revision, state: "complete" }, hosts };
}

/** A PUT as the API answers it: its preconditions, and `known`, which is none for a transform that is not there. */
async function put(request, known) {
  const { headers, url } = request;
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const form = await new Response(Buffer.concat(chunks), { headers: { "content-type": headers["content-type"] } }).formData();
  const text = await form.get("spec").text();
  const isExpected = headers["if-none-match"] === "*" ? !known : !headers["if-match"] || headers["if-match"] === `"${known?.revision}"`;
  if (!isExpected) return { detail: known ? `it is at revision ${known.revision}` : "there is no such transform" };
  const spec = text.startsWith("{") ? JSON.parse(text) : { text };
  return { view: { revision: (known?.revision ?? 0) + 1, module: "sha256:0", spec, outcome: "updated", dry_run: url.endsWith("?dry_run=true"), creates: [], warnings: [] } };
}

function hosts(all) {
  const host = (name, transforms, partitions) => ({ host: name, version: "0.2.0", started_at: "2026-11-01T10:00:00.000Z", seen_at: new Date().toISOString(), transforms, placed: transforms, partitions, formats: {} });
  const told = HOSTS.map((name) => {
    const here = all.filter(({ running_on }) => name in running_on);
    return host(name, here.length, here.reduce((sum, { running_on }) => sum + running_on[name], 0));
  });
  return { hosts: [...told, host("host-d", 7, 9)] };
}

function teams(all) {
  const ceiling = (key, used, max, unit) => ({ key, used, max, unit, scope: "cluster" });
  const names = [...new Set(all.map(({ team }) => team))];
  const view = (team, index) => ({
    team,
    cpu_weight: 1,
    allow_cycle: true,
    ceilings: [ceiling("transforms_max", all.filter((transform) => transform.team === team).length, 200, "count"), ceiling("memory_bytes_max", (index + 1) * 2 ** 30, 2 ** 40, "bytes"), ceiling("transaction_time_max", 1500, 10_000, "millis")],
  });
  return { teams: names.map(view), uploads_without_team: ceiling("upload_bytes_per_day_max", 0, 2 ** 34, "bytes") };
}

/** Time that an answer about offsets takes. */
const OFFSETS_MS = 1500;

function offsets(transform, turn) {
  const row = (partition) => ({ topic: transform.inputs[0], partition, offset: 1000 + turn, forgotten: false, first_offset: 0, end_offset: 1100 + turn, lag: 100, metadata: "" });
  return { offsets: [0, 1].map(row) };
}

/** A sample whose producer wrote the time in nanoseconds: a number with more digits than a double keeps. */
function sample(transform) {
  const record = { at: Date.now(), host: "host-a", revision: transform.revision, topic: transform.inputs[0], partition: 0, offset: 7, input: { timestamp: 0, key: "k", value: "v" }, outputs: [] };
  return JSON.stringify(record).replace('"timestamp":0', '"timestamp":1753000000123456789');
}

/** Serves until it is closed: the address, the function that closes it, what a test may change, and what it may look at. */
export async function start(dist, count) {
  let turn = 0;
  const host = {
    /** Streams stay open, and say nothing. */
    isSilent: false,
    /** Streams whose path matches get no answer, not even its head. */
    held: null,
    /** `{path, status, code}`: requests that begin with the path are refused. */
    refusal: null,
    /** The rights of the caller. */
    grants: ["*:admin"],
    /** What was deployed, by `team/name`: `{revision, module, spec}`, null for one that was deleted. */
    deployed: new Map(),
    /** Answers about offsets that are on their way, the most of them at once, and those that were given. */
    offsets: { running: 0, most: 0, given: 0 },
    /** Streams that are open. */
    streams: new Set(),
  };
  const view = () => ({ at: Date.now(), transforms: transforms(count, turn) });
  const json = (response, value) => response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
  const refuse = (response, status, code, detail) => response.writeHead(status, { "content-type": "application/problem+json" }).end(JSON.stringify({ code, detail }));
  const timers = new Set();
  /** Begins a stream; false if the page has left meanwhile. */
  const stream = async (response, pathname) => {
    while (host.held?.test(pathname)) await new Promise((done) => setTimeout(done, 20));
    if (response.destroyed) return false;
    response.writeHead(200, { "content-type": "application/x-ndjson" });
    response.flushHeaders();
    host.streams.add(response);
    response.on("close", () => host.streams.delete(response));
    return true;
  };
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    const file = pathname === "/" ? "index.html" : /^\/console\/([\w.]+)$/.exec(pathname)?.[1];
    if (file) {
      const headers = { "content-type": TYPES[file.split(".").pop()] ?? "text/plain", "content-security-policy": POLICY };
      return readFile(join(dist, file)).then((content) => response.writeHead(200, headers).end(content), () => response.writeHead(404).end());
    }
    if (pathname === "/v1/sign-in") return json(response, { required: false });
    if (host.refusal && pathname.startsWith(host.refusal.path)) return refuse(response, host.refusal.status, host.refusal.code ?? "E075", "the host takes no such token");
    if (pathname === "/v1/whoami") return json(response, { kind: "anyone", id: "", name: "anyone", grants: host.grants });
    if (pathname === "/v1/flow") {
      if (!(await stream(response, pathname))) return undefined;
      const recent = transforms(count, 0).map(({ team, name }, index) => ({ team, name, interval_ms: 10_000, in_per_minute: Array.from({ length: 60 }, (_, at) => 600 + ((index * 131 + at * 977) % 5000)) }));
      let isFirst = true;
      const tell = () => {
        if (host.isSilent) return;
        response.write(`${JSON.stringify(isFirst ? { ...view(), recent } : view())}\n`);
        isFirst = false;
      };
      tell();
      const timer = setInterval(() => {
        turn += 1;
        tell();
      }, 1000);
      timers.add(timer);
      response.on("close", () => clearInterval(timer));
      return undefined;
    }
    if (pathname === "/v1/hosts") return json(response, hosts(transforms(count, turn)));
    if (pathname === "/v1/teams") return json(response, teams(transforms(count, turn)));
    const found = /^\/v1\/teams\/([^/]+)\/transforms\/([^/]+?)(?:\/(status|history|revisions|offsets|tail|logs))?$/.exec(pathname);
    const transform = found && transforms(count, turn).find(({ name }) => name === found[2]);
    /** The deployment of the transform. */
    const deployed = () => {
      const own = host.deployed.get(`${found[1]}/${found[2]}`);
      if (own !== undefined || !transform) return own;
      const { inputs, outputs, revision } = transform;
      return { revision, module: "sha256:0", spec: { inputs, outputs: { all: outputs[0] } } };
    };
    if (found && !found[3] && request.method === "PUT") {
      const { view, detail } = await put(request, deployed());
      if (!view) return refuse(response, 409, "E008", detail);
      if (!view.dry_run) host.deployed.set(`${found[1]}/${found[2]}`, view);
      return json(response, view);
    }
    if (found && !found[3] && request.method === "GET" && deployed()) return json(response, deployed());
    if (found && request.method === "GET") {
      if (!transform || !found[3]) return refuse(response, 404, "E023", "there is no such transform");
      if (found[3] === "status") return json(response, status(transform));
      if (found[3] === "revisions") return json(response, { revisions: [] });
      if (found[3] === "logs") return stream(response, pathname);
      if (found[3] === "tail") return (await stream(response, pathname)) && response.write(`${sample(transform)}\n`);
      if (found[3] === "offsets") {
        host.offsets.running += 1;
        host.offsets.most = Math.max(host.offsets.most, host.offsets.running);
        // It works to the end, also for a page that has given up.
        await new Promise((done) => setTimeout(done, OFFSETS_MS));
        host.offsets.running -= 1;
        host.offsets.given += 1;
        return json(response, offsets(transform, turn));
      }
      const column = Array.from({ length: 120 }, (_, at) => 5000 + ((at * 977) % 3000));
      const names = ["in_per_minute", "out_per_minute", "failed_per_minute", "lag", "latency_p50_ms", "latency_p99_ms", "guest_nanos_per_record", "memory_bytes"];
      return json(response, { until: Date.now(), interval_ms: 5000, ...Object.fromEntries(names.map((name) => [name, column])) });
    }
    return refuse(response, 404, "E002", `there is no route ${pathname}`);
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const close = () => {
    timers.forEach(clearInterval);
    server.closeAllConnections();
    server.close();
  };
  return Object.assign(host, { url: `http://127.0.0.1:${server.address().port}`, close });
}
