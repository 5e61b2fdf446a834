// A transform: its state, its verbs, and the tabs below.

import { useEffect, useState } from "preact/hooks";
import { get, path } from "../api.js";
import { digits, visible } from "../format.js";
import { useCaller, useLoad, useTransform } from "../hooks.js";
import { link, transformLink } from "../router.js";
import { reason } from "../session.js";
import { flow, onFlow, quarantinedOn, stateInWords, stoppedPartitions } from "../store.js";
import { Action, Ago, Boundary, Code, Loading, ProblemBox, Spoken, StateOf } from "../ui.jsx";
import { DeadLetters } from "./dead_letters.jsx";
import { Logs } from "./logs.jsx";
import { Offsets } from "./offsets.jsx";
import { Overview, omittedPartitions } from "./overview.jsx";
import { Records } from "./records.jsx";
import { Revisions } from "./revisions.jsx";
import { Spec } from "./spec.jsx";
import { StateLookUp } from "./state.jsx";
import { Verb } from "./verb.jsx";

const TABS = [
  ["", "Overview", Overview],
  ["records", "Records", Records],
  ["logs", "Logs", Logs],
  ["revisions", "Revisions", Revisions],
  ["dead-letters", "Dead letters", DeadLetters],
  ["state", "State", StateLookUp],
  ["offsets", "Offsets", Offsets],
  ["spec", "Spec", Spec],
];

export function TransformView({ id, tab }) {
  const state = useConnection();
  const transform = useTransform(id);
  useCaller();
  // The status is loaded when the stream says that the transform has changed.
  const status = useLoad((signal) => get(path(id, "/status"), signal), id, [transform]);
  const [last, setLast] = useState(null);
  useEffect(() => {
    if (transform) setLast(transform);
  }, [transform]);
  const shown = transform ?? last;
  if (!shown) {
    if (status.problem) return <ProblemBox problem={status.problem} />;
    if (state !== "live" || status.isLoading) return <Loading of={visible(id)} />;
    return <p>There is no transform {visible(id)}.</p>;
  }
  const [, , Tab] = TABS.find(([name]) => name === tab) ?? TABS[0];
  return (
    <section>
      <Head id={id} transform={shown} status={status} isGone={!transform} />
      <nav class="tabs" aria-label={`Parts of ${id}`}>
        {TABS.map(([name, label]) => (
          <a href={transformLink(id, name)} aria-current={name === tab ? "page" : undefined}>
            {label}
          </a>
        ))}
      </nav>
      {/* A part that fails takes neither the verbs nor the other parts with it. */}
      <Boundary key={tab}>
        <Tab id={id} transform={shown} status={status} />
      </Boundary>
    </section>
  );
}

/** The state of the stream alone: all else of the flow changes each second. */
function useConnection() {
  const [state, set] = useState(flow.state);
  useEffect(() => {
    const changed = () => set(flow.state);
    changed();
    return onFlow(changed);
  }, []);
  return state;
}

function Head({ id, transform, status, isGone }) {
  const [asked, ask] = useState(null);
  const [team] = id.split("/");
  const error = newestError(status.value);
  const isPaused = transform.desired === "paused";
  const quarantined = quarantinedOn(status.value);
  return (
    <header>
      <div class="row spread">
        <h1>
          <a class="quiet" href={`#/?team=${team}`}>
            {visible(team)}
          </a>
          /{visible(transform.name)}
        </h1>
        <div class="row">
          <a class="button main" href={link("deploy", ...id.split("/"))}>
            Deploy
          </a>
          <Action why={reason(team, "operate")} onClick={() => ask(isPaused ? "resume" : "pause")}>
            {isPaused ? "Resume" : "Pause"}
          </Action>
          {!isPaused && (stoppedPartitions(transform) > 0 || quarantined.length > 0) && (
            <Action why={reason(team, "operate")} onClick={() => ask("resume")}>
              Resume
            </Action>
          )}
          <Action why={reason(team, "operate") ?? (isPaused ? "it is paused" : undefined)} onClick={() => ask("restart")}>
            Restart
          </Action>
          <Action why={reason(team, "deploy") ?? (transform.revision < 2 ? "there is no earlier revision" : undefined)} onClick={() => ask("rollback")}>
            Roll back
          </Action>
        </div>
      </div>
      {isGone && <p class="state bad">It was deleted, or you may not see it any more.</p>}
      <p class="headline">
        <StateOf transform={transform} />, changed <Ago at={transform.changed_at} />
      </p>
      <Spoken>{stateInWords(transform)}</Spoken>
      {error && <LastError id={id} transform={transform} error={error} />}
      <Rollout transform={transform} status={status.value} />
      {asked && <Verb verb={asked} id={id} transform={transform} quarantined={quarantined} close={() => ask(null)} />}
    </header>
  );
}

/** The newest error, with the record on which it happened. */
function LastError({ id, transform, error }) {
  const { code, message, offset, at } = error;
  // The codes of a record that failed: other errors with an offset are about one that cannot be read.
  const isLetter = transform.dead_letters && offset !== undefined && /^E10\d$/.test(code);
  return (
    <p class="state bad">
      <Code of={code} /> {visible(message)}
      {placeOf(error)} <Ago at={at} />
      {isLetter && (
        <>
          , <a href={transformLink(id, "dead-letters")}>show its dead letter</a>
        </>
      )}
    </p>
  );
}

/** The place of an error, as far as it is known. */
function placeOf({ topic, partition, offset }) {
  const at = offset === undefined ? "" : digits(offset);
  if (topic === undefined) return at && ` (at offset ${at})`;
  return ` (${visible(topic)}/${partition}${at && ` @ ${at}`})`;
}

/** A host's error is often one of its partitions: that one comes first, since it has a place. */
function newestError(status) {
  if (!status) return null;
  const ofPartition = ({ topic, partition, error }) => error && { ...error, topic, partition };
  const ofHost = (host) => [...host.partitions.map(ofPartition), host.error, host.rollout?.error];
  const errors = [...status.hosts.flatMap(ofHost), status.rollout?.error].filter(Boolean);
  return errors.sort((a, b) => b.at - a.at)[0] ?? null;
}

/** The progress of a revision over hosts and partitions, while it is on its way. */
function Rollout({ transform, status }) {
  if (transform.desired === "paused" || !status || status.rollout.state === "complete") return null;
  const { revision, hosts, rollout } = status;
  const partitions = hosts.flatMap((host) => host.partitions);
  const listed = partitions.filter((partition) => partition.revision === revision).length;
  const done = listed + omittedPartitions({ hosts: hosts.filter((host) => host.revision === revision) });
  const all = partitions.length + omittedPartitions(status);
  const words = { "in-progress": "is prepared", ready: "is prepared everywhere, and taken over", failed: quarantinedOn(status).length > 0 ? "waits for Resume" : "was refused" };
  return (
    <div class={`rollout ${rollout.state === "failed" ? "bad" : ""}`}>
      <p>
        Revision {revision} {words[rollout.state] ?? visible(rollout.state)}: {done} of {all} partitions run it
        {hosts.map((host) => ` · ${visible(host.host)} ${host.rollout?.state ?? ""}`)}
      </p>
      <progress max={Math.max(all, 1)} value={done} aria-label={`partitions on revision ${revision}`} />
    </div>
  );
}
