// A host that is not there: the console's files, and the flow of many made-up transforms, all of which change each second.
// It shows how quick the console is with more than a test could deploy.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";

const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; worker-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
const TYPES = { html: "text/html", js: "text/javascript", css: "text/css", svg: "image/svg+xml" };

/** `count` transforms in chains of five, of twelve teams, with ten partitions each. */
export function transforms(count, turn) {
  return Array.from({ length: count }, (_, index) => {
    const team = `team-${String(Math.floor(index / 5) % 12).padStart(2, "0")}`;
    const chain = Math.floor(index / 5);
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
  const { team, name, revision, desired, state, lag, running_revisions } = transform;
  return { team, name, revision, desired, state, lag, running_revisions, rollout: { revision, state: "complete" }, hosts: [host("host-a", 0), host("host-b", 5)] };
}

/** Serves until it is closed; the address, and the function that closes it. */
export async function start(dist, count) {
  let turn = 0;
  const view = () => ({ at: Date.now(), transforms: transforms(count, turn) });
  const json = (response, value) => response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
  const timers = new Set();
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    const file = pathname === "/" ? "index.html" : /^\/console\/([\w.]+)$/.exec(pathname)?.[1];
    if (file) {
      const headers = { "content-type": TYPES[file.split(".").pop()] ?? "text/plain", "content-security-policy": POLICY };
      return readFile(join(dist, file)).then((content) => response.writeHead(200, headers).end(content), () => response.writeHead(404).end());
    }
    if (pathname === "/v1/sign-in") return json(response, { required: false });
    if (pathname === "/v1/whoami") return json(response, { kind: "anyone", id: "", name: "anyone", grants: ["*:admin"] });
    if (pathname === "/v1/flow") {
      response.writeHead(200, { "content-type": "application/x-ndjson" });
      const recent = transforms(count, 0).map(({ team, name }, index) => ({ team, name, interval_ms: 10_000, in_per_minute: Array.from({ length: 60 }, (_, at) => 600 + ((index * 131 + at * 977) % 5000)) }));
      response.write(`${JSON.stringify({ ...view(), recent })}\n`);
      const timer = setInterval(() => {
        turn += 1;
        response.write(`${JSON.stringify(view())}\n`);
      }, 1000);
      timers.add(timer);
      request.on("close", () => clearInterval(timer));
      return undefined;
    }
    const found = /^\/v1\/teams\/([^/]+)\/transforms\/([^/]+)\/(status|history|revisions)$/.exec(pathname);
    if (found) {
      const transform = transforms(count, turn).find(({ name }) => name === found[2]);
      if (found[3] === "status") return json(response, status(transform));
      if (found[3] === "revisions") return json(response, { revisions: [] });
      const column = Array.from({ length: 120 }, (_, at) => 5000 + ((at * 977) % 3000));
      const names = ["in_per_minute", "out_per_minute", "failed_per_minute", "lag", "latency_p50_ms", "latency_p99_ms", "guest_nanos_per_record", "memory_bytes"];
      return json(response, { until: Date.now(), interval_ms: 5000, ...Object.fromEntries(names.map((name) => [name, column])) });
    }
    return response.writeHead(404, { "content-type": "application/problem+json" }).end(JSON.stringify({ code: "E002", detail: `there is no route ${pathname}` }));
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const close = () => {
    timers.forEach(clearInterval);
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${server.address().port}`, close };
}
