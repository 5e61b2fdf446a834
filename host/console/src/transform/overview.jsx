// Rates, latency and memory over the last minutes, and where each partition runs.

import { useEffect, useMemo, useState } from "preact/hooks";
import { get, path } from "../api.js";
import { bytes, compact, count, digits, millis, named, nanos, parseBytes, plain, rate, visible } from "../format.js";
import { useLoad, useRoute, useSort } from "../hooks.js";
import { setQuery } from "../router.js";
import { flow, hostNow, isStopped } from "../store.js";
import { Ago, Code, Command, Filter, Loading, Mark, ProblemBox, SortHead, sorted } from "../ui.jsx";
import { Plot } from "./plot.jsx";

const POINTS_MAX = 120;
const POINT_MS = 5000;
const NAMES = ["in_per_minute", "out_per_minute", "failed_per_minute", "lag", "latency_p50_ms", "latency_p99_ms", "guest_nanos_per_record", "memory_bytes"];

export function Overview({ id, transform, status }) {
  return (
    <>
      <Plots id={id} transform={transform} />
      <Partitions id={id} status={status} />
    </>
  );
}

/** The last minutes: the host's, and from then on what the stream says. A stream that was opened again leaves a gap, so they are loaded again. */
function useHistory(id) {
  const [history, setHistory] = useState(null);
  const { value, problem } = useLoad((signal) => get(path(id, "/history"), signal), id, [flow.openings]);
  useEffect(() => {
    if (!value) return;
    const number = value.lag?.length ?? 0;
    const times = Array.from({ length: number }, (_, index) => (value.until - (number - 1 - index) * value.interval_ms) / 1000);
    setHistory({ times, ...Object.fromEntries(NAMES.map((name) => [name, value[name] ?? []])) });
  }, [value]);
  useEffect(() => {
    const timer = setInterval(() => {
      const transform = flow.transforms.get(id);
      setHistory((last) => last && transform && flow.state === "live" ? added(last, transform) : last);
    }, POINT_MS);
    return () => clearInterval(timer);
  }, [id]);
  return { history, problem };
}

function added(history, transform) {
  const now = Math.round(hostNow() / 1000);
  if (now <= (history.times.at(-1) ?? 0)) return history;
  const next = { times: [...history.times, now].slice(-POINTS_MAX) };
  for (const name of NAMES) {
    const value = name === "lag" ? transform.lag : transform.activity?.[name];
    next[name] = [...history[name], value ?? null].slice(-POINTS_MAX);
  }
  return next;
}

function Plots({ id, transform }) {
  const { history, problem } = useHistory(id);
  const deployed = useLoad((signal) => get(path(id, "/revisions"), signal), id, [transform.revision]);
  const spec = useLoad((signal) => get(path(id), signal), id, [transform.revision]);
  const marks = useMemo(
    () => (deployed.value?.revisions ?? []).map(({ revision, changed_at }) => ({ at: Date.parse(changed_at) / 1000, label: `r${revision}` })),
    [deployed.value],
  );
  if (!history) return problem ? <ProblemBox problem={problem} /> : <Loading of="the last minutes" />;
  const { times } = history;
  const limit = parseBytes(spec.value?.spec?.limits?.memory);
  const plot = (title, show, series, rest) => <Plot title={title} times={times} show={show} series={series} marks={marks} {...rest} />;
  return (
    <div class="plots">
      {plot("Records", rate, [
        { label: "in", values: history.in_per_minute, mark: "a" },
        { label: "out", values: history.out_per_minute, mark: "b", dash: [6, 3] },
      ])}
      {plot("Failed", rate, [{ label: "failed", values: history.failed_per_minute, mark: "bad" }])}
      {plot("Lag", compact, [{ label: "behind", values: history.lag, mark: "a" }])}
      {plot("Latency", millis, [
        { label: "p50", values: history.latency_p50_ms, mark: "a" },
        { label: "p99", values: history.latency_p99_ms, mark: "b", dash: [6, 3] },
      ])}
      {plot("Guest time a record", nanos, [{ label: "time", values: history.guest_nanos_per_record, mark: "a" }])}
      {plot("Memory", bytes, [{ label: limit ? `of ${bytes(limit)}` : "largest instance", values: history.memory_bytes, mark: "a" }], { limit })}
    </div>
  );
}

const COLUMNS = [
  ["partition", "Partition"],
  ["host", "Host"],
  ["state", "State"],
  ["revision", "Revision", true],
  ["committed", "Committed", true],
  ["end", "End", true],
  ["lag", "Lag", true],
  ["error", "Last error"],
];
const ROWS_MAX = 200;
const TROUBLE = { failed: "bad", degraded: "bad", paused: "off", stopped: "off", starting: "warn", unknown: "warn", running: "ok" };

function Partitions({ id, status }) {
  const { query } = useRoute();
  const [sort, setSort] = useSort(COLUMNS, { by: "partition", down: false });
  const text = query.get("q") ?? "";
  const [isWhole, setWhole] = useState(false);
  if (!status.value) return status.problem ? <ProblemBox problem={status.problem} /> : <Loading of="the partitions" />;
  const { desired } = status.value;
  const all = status.value.hosts.flatMap((host) => host.partitions.map((partition) => ({ ...partition, host: host.host, isHeld: isStopped({ ...partition, desired }) })));
  const omitted = omittedPartitions(status.value);
  const wanted = text.toLowerCase();
  const found = all.filter(({ topic, partition, host, state }) => `${topic}/${partition} ${host} ${state}`.toLowerCase().includes(wanted));
  const rows = sorted(found, sort, value);
  const shown = isWhole ? rows : rows.slice(0, ROWS_MAX);
  return (
    <section>
      <ProblemBox problem={status.problem} />
      <div class="row spread">
        <h2>Partitions</h2>
        {(all.length > 8 || text) && <Filter label="Filter" value={text} onInput={(q) => setQuery({ q })} placeholder="topic, host or state" />}
      </div>
      {all.length === 0 ? (
        <p class="quiet">No host owns a partition{desired === "paused" ? ": it is paused" : ""}.</p>
      ) : (
        <div class="scroll" tabIndex={0} role="region" aria-label="Partitions">
          <table class="dense">
            <thead>
              <tr>
                {COLUMNS.map(([name, label, numeric]) => (
                  <SortHead name={name} label={label} numeric={numeric} sort={sort} setSort={setSort} />
                ))}
              </tr>
            </thead>
            <tbody>
              {shown.map((partition) => (
                <tr key={`${partition.topic}/${partition.partition}`}>
                  <th scope="row">
                    {visible(partition.topic)}/{partition.partition}
                  </th>
                  <td>{visible(partition.host)}</td>
                  <td class={`state ${trouble(partition)}`}>
                    <Mark of={trouble(partition)} /> {doing(partition)}
                  </td>
                  <td class="number">{partition.revision}</td>
                  <td class="number">{count(partition.committed_offset)}</td>
                  <td class="number">{count(partition.end_offset)}</td>
                  <td class="number">{count(partition.lag)}</td>
                  <td>
                    {partition.error && (
                      <>
                        <Code of={partition.error.code} /> {visible(partition.error.message.slice(0, 200))}
                        {partition.error.offset !== undefined && ` (offset ${digits(partition.error.offset)})`} <Ago at={partition.error.at} />
                      </>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {rows.length > shown.length && (
        <button type="button" onClick={() => setWhole(true)}>
          Show all {rows.length} partitions
        </button>
      )}
      {omitted > 0 && <p class="quiet">{count(omitted)} more partitions are summed up by their hosts: a status has a limit.</p>}
      <p class="quiet">{placed(status.value.placement)}</p>
      <Command>sandbar status {named(id)}</Command>
    </section>
  );
}

/** The number of partitions that the hosts sum up, since their statuses have a limit. */
export function omittedPartitions(status) {
  return status.hosts.reduce((sum, host) => sum + (host.omitted?.partitions ?? 0), 0);
}

function trouble({ state, isHeld }) {
  return isHeld ? "bad" : (TROUBLE[state] ?? "warn");
}

/** The work of a partition now, in a word or two. */
function doing({ state, isHeld, restoring, lag }) {
  if (isHeld) return "waits for Resume";
  if (restoring) return `restores: ${compact(restoring.records_read)} of ${compact(restoring.records_total)}`;
  if (state === "running") return plain(lag) > 0 ? "running" : "waits for records";
  return visible(state);
}

function placed(placement) {
  if (!placement) return "";
  const others = placement.others.map(({ host, reason }) => `${host}: ${reason}`);
  return [`Hosts: ${placement.count}`, placement.hosts.join(", "), ...others].filter(Boolean).map(visible).join(" · ");
}

function value(partition, by) {
  switch (by) {
    case "partition":
      return `${partition.topic}/${String(partition.partition).padStart(9, "0")}`;
    case "committed":
      return partition.committed_offset;
    case "end":
      return partition.end_offset;
    case "error":
      // By the time since then: the newest error first, and partitions without one last.
      return partition.error ? -plain(partition.error.at) : 0;
    default:
      return partition[by];
  }
}
