// The flow of records, as the host's one stream tells it. Views subscribe to the transforms that they show; a large change is
// handed to them over several frames, so that scrolling stays smooth.

import { flushSync } from "preact/compat";
import { follow } from "./api.js";
import { plural } from "./format.js";

/** Time that one frame may spend on telling views of changes. */
const FRAME_MS = 3;
/** Time after which those who follow all of the flow are told, also while views of single transforms wait. */
const FLOW_MS = 1000;
/** Points of a spark line, and time between two. */
const RECENT_MAX = 60;
const RECENT_MS = 10_000;

export const flow = {
  transforms: new Map(),
  /** The last minutes of each transform: input records a minute. */
  recent: new Map(),
  /** "opening", "live", "broken", "refused". */
  state: "opening",
  problem: null,
  /** Number of times that the stream has begun. */
  openings: 0,
  /** Number of times that those who follow all of it were told of changes. */
  told: 0,
  /** Clock of the host minus that of this machine, in ms. */
  skew: 0,
};

const ofTransform = new Map();
const ofAll = new Set();
const due = new Set();
let isScheduled = false;
let areAllDue = false;
let sampledAt = 0;
let allToldAt = 0;

export function hostNow() {
  return Date.now() + flow.skew;
}

/** Calls back when the transform has changed. */
export function onTransform(id, listener) {
  const listeners = ofTransform.get(id) ?? new Set();
  ofTransform.set(id, listeners);
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) ofTransform.delete(id);
  };
}

/** Calls back when any transform or the connection has changed: once a second at most. */
export function onFlow(listener) {
  ofAll.add(listener);
  return () => ofAll.delete(listener);
}

/** Takes a view of the stream. */
export function take(view) {
  flow.skew = view.at - Date.now();
  for (const transform of view.transforms) {
    const id = `${transform.team}/${transform.name}`;
    flow.transforms.set(id, transform);
    due.add(id);
  }
  for (const { team, name } of view.gone ?? []) {
    flow.transforms.delete(`${team}/${name}`);
    flow.recent.delete(`${team}/${name}`);
    due.add(`${team}/${name}`);
  }
  for (const { team, name, in_per_minute } of view.recent ?? []) {
    flow.recent.set(`${team}/${name}`, in_per_minute);
  }
  sample();
  areAllDue = true;
  schedule();
}

/** Adds a point to each spark line when it is time. */
function sample() {
  const now = Date.now();
  if (now - sampledAt < RECENT_MS) return;
  sampledAt = now;
  for (const [id, transform] of flow.transforms) {
    const points = [...(flow.recent.get(id) ?? []), transform.activity?.in_per_minute ?? null];
    flow.recent.set(id, points.slice(-RECENT_MAX));
    due.add(id);
  }
}

function schedule() {
  if (isScheduled) return;
  isScheduled = true;
  // A hidden page has no frames.
  if (document.hidden) setTimeout(tell, 0);
  else requestAnimationFrame(tell);
}

function tell() {
  isScheduled = false;
  const start = performance.now();
  for (const id of due) {
    due.delete(id);
    const listeners = ofTransform.get(id);
    // Drawn at once: views that draw later, all in one go, would take more time than this frame has.
    if (listeners) flushSync(() => [...listeners].forEach((listener) => listener()));
    if (performance.now() - start > FRAME_MS) break;
  }
  if (due.size > 0) schedule();
  // A machine that is slower than the changes never comes to the end of them.
  if (areAllDue && (due.size === 0 || start - allToldAt >= FLOW_MS)) {
    areAllDue = false;
    allToldAt = start;
    flow.told += 1;
    for (const listener of [...ofAll]) listener();
  }
}

/** Follows the stream until the signal says so. */
export function start(signal) {
  let isFirst = true;
  const state = (word, problem = null) => {
    if (word === "open") {
      // A stream begins with everything, and until then all that is shown is old.
      isFirst = true;
      return;
    }
    // The newest problem counts: the connection may be broken for another reason by now.
    if (flow.state === word && flow.problem === problem) return;
    flow.state = word;
    flow.problem = problem;
    areAllDue = true;
    schedule();
  };
  return follow("/v1/flow?follow", signal, (view) => {
    if (isFirst) {
      isFirst = false;
      forget(view);
      flow.openings += 1;
      state("live");
    }
    take(view);
  }, state);
}

/** A first view has everything: what it does not have is gone. */
function forget(view) {
  const there = new Set(view.transforms.map(({ team, name }) => `${team}/${name}`));
  for (const id of flow.transforms.keys()) {
    if (!there.has(id)) {
      flow.transforms.delete(id);
      flow.recent.delete(id);
      due.add(id);
    }
  }
}

// === transforms in words ===

const QUARANTINED = "E213";

/**
 * Returns true for a transform, or a partition, that stopped by itself before a record that failed, and waits for Resume. Just after
 * a resume an old status may still say "paused": it has no error.
 */
export function isStopped({ state, desired, error }) {
  return state === "paused" && desired !== "paused" && Boolean(error);
}

/** The number of a transform's partitions that stopped by themselves. The others may go on. */
export function stoppedPartitions({ desired, error, partitions }) {
  return isStopped({ state: "paused", desired, error }) ? (partitions.paused ?? 0) : 0;
}

/** The names of the hosts that keep a transform off, since they died in its calls: each one until a resume. `status` is the whole one. */
export function quarantinedOn(status) {
  return (status?.hosts ?? []).filter(({ error }) => error?.code === QUARANTINED).map(({ host }) => host);
}

/** "bad" for trouble, "warn" for a warning, "off" for one that is paused, "ok" else. */
export function health(transform) {
  const { state, rollout, desired, activity } = transform;
  if (["failed", "degraded"].includes(state) || rollout === "failed" || isStopped(transform)) return "bad";
  if (desired === "paused" || ["paused", "stopped"].includes(state)) return "off";
  if (["unknown", "starting"].includes(state) || (activity?.failed_per_minute ?? 0) > 0) return "warn";
  return "ok";
}

/** The state of a transform in a sentence, with its lag. */
export function inWords(transform) {
  const { lag } = transform;
  const behind = lag === null || lag === undefined ? "" : `, ${lag.toLocaleString("en")} behind`;
  return `${stateInWords(transform)}${behind}`;
}

/** The state alone, which does not change with each record. */
export function stateInWords(transform) {
  const { state, rollout, revision, running_revisions: running, hosts, error } = transform;
  const code = error ? ` (${error})` : "";
  const on = `on ${hosts} host${hosts === 1 ? "" : "s"}`;
  const older = running.filter((other) => other !== revision);
  if (transform.desired === "paused") return `paused at revision ${revision}`;
  if (isStopped(transform)) return `stopped before a record that failed${code}: it waits for Resume`;
  if (error === QUARANTINED) {
    const rest = running.length > 0 ? `; other hosts run revision ${running.join(", ")}` : "; nothing runs";
    return `kept off by a host that died in its calls${code}: it waits for Resume${rest}`;
  }
  if (rollout === "failed") {
    const runs = running.length > 0 ? "; other hosts run it" : "; nothing runs";
    const rest = older.length > 0 ? `; revision ${older.join(", ")} goes on ${on}` : runs;
    return `revision ${revision} was refused${code}${rest}`;
  }
  if (state === "failed") return `does not work${code}, the host tries again`;
  if (rollout === "in-progress" && older.length > 0) return `runs revision ${older.join(", ")} while revision ${revision} is prepared`;
  if (state === "starting" || running.length === 0) return `starts revision ${revision}${code}`;
  const stopped = stoppedPartitions(transform);
  const waits = stopped > 0 ? `, ${plural(stopped, "partition")} stopped until Resume` : "";
  const verb = state === "degraded" ? `works with a problem${code}${waits}: ` : "";
  return `${verb}runs revision ${running.join(", ")} ${on}`;
}
