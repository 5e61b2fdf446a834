// Live samples of the records, each with its outputs or its failure.

import { memo } from "preact/compat";
import { useState } from "preact/hooks";
import { exact, path } from "../api.js";
import { content, digits, named, visible } from "../format.js";
import { useFollowed, useRoute } from "../hooks.js";
import { setQuery } from "../router.js";
import { reason } from "../session.js";
import { Ago, CONNECTION, Check, Code, Command, Filter, ProblemBox, Spoken } from "../ui.jsx";
import { InputAndOutputs, textOf } from "./record.jsx";

/** Samples that the page keeps, and that it shows. */
const KEPT_MAX = 400;
const SHOWN_MAX = 40;

export function Records({ id }) {
  const { query } = useRoute();
  const filter = { text: query.get("q") ?? "", key: query.get("key") ?? "", revision: query.get("revision") ?? "", isFailed: query.get("failed") === "1" };
  const [isHeld, setHeld] = useState(false);
  const { lines: samples, connection } = useFollowed(path(id, "/tail?follow"), { keptMax: KEPT_MAX, isWanted: () => !isHeld, parse: exact });
  const { state, problem } = connection;
  const said = (state === "refused" && reason(id.split("/")[0], "data")) || CONNECTION[state];
  const found = samples.filter((sample) => isWanted(sample, filter));
  return (
    <section>
      <div class="row tools" role="search" aria-label="Filter the records">
        <Filter label="Text" value={filter.text} onInput={(q) => setQuery({ q })} placeholder="in key or value ( / )" />
        <Filter label="Key" value={filter.key} onInput={(key) => setQuery({ key })} placeholder="whole key" />
        <Filter label="Revision" value={filter.revision} onInput={(revision) => setQuery({ revision })} inputMode="numeric" />
        <Check label="Failed only" value={filter.isFailed} onChange={(on) => setQuery({ failed: on ? "1" : "" })} />
        <button type="button" aria-pressed={isHeld} onClick={() => setHeld(!isHeld)}>
          {isHeld ? "Go on" : "Hold"}
        </button>
      </div>
      <ProblemBox problem={problem} />
      <p class="quiet">
        {(state === "open" || samples.length > 0) && words(samples.length, found.length)} {state !== "open" && said}
      </p>
      <Spoken>{said}</Spoken>
      <ol class="plain">
        {found.slice(0, SHOWN_MAX).map((sample) => (
          <li key={sample.number}>
            <SampleView sample={sample} />
          </li>
        ))}
      </ol>
      <Command>sandbar tail {named(id)} -f</Command>
    </section>
  );
}

function words(all, found) {
  if (all === 0) return "Waiting for records: each host shows up to 20 a second while somebody looks.";
  const shown = found < all ? `${found} of ${all}` : `${all}`;
  return `The newest ${shown} samples${found > SHOWN_MAX ? `, ${SHOWN_MAX} of them shown` : ""}.`;
}

function isWanted(sample, { text, key, revision, isFailed }) {
  if (isFailed && !sample.failed) return false;
  if (revision && String(sample.revision) !== revision.trim()) return false;
  if (key && content(sample.input, "key").replace(/\s/g, "") !== key.replace(/\s/g, "")) return false;
  const wanted = text.toLowerCase();
  return !wanted || [sample.input, ...sample.outputs].some((record) => textOf(record).includes(wanted));
}

const SampleView = memo(function SampleView({ sample }) {
  const { topic, partition, offset, revision, host, at, redacted } = sample;
  const Failure = () => (
    <p class="state bad">
      ■ Failed: <Code of={sample.failed.code} /> {visible(sample.failed.message)}
    </p>
  );
  return (
    <article>
      <p class="record-head">
        revision {revision} on {visible(host)}, <Ago at={at} />
        {redacted && <span class="quiet"> · masked by the owner of a topic</span>}
      </p>
      <InputAndOutputs place={`${topic}/${partition} @ ${digits(offset)}`} input={sample.input} outputs={sample.outputs} more={sample.outputs_more} failed={sample.failed} Failure={Failure} />
    </article>
  );
});
