// The newest dead letters: each failed record, with its reason and its place.

import { useState } from "preact/hooks";
import { get, path } from "../api.js";
import { content, count, digits, moment, named, visible } from "../format.js";
import { useLoad } from "../hooks.js";
import { Code, Command, Filter, Loaded } from "../ui.jsx";
import { RecordText, textOf } from "./record.jsx";

const PREFIX = "sandbar.error.";

export function DeadLetters({ id, transform }) {
  const [text, setText] = useState("");
  // They are read again when there may be more of them.
  const rate = transform.activity?.failed_per_minute ?? 0;
  const letters = useLoad((signal) => get(path(id, "/dead-letters?limit=100"), signal), id, [rate]);
  return (
    <section>
      <Loaded of="the dead letters" from={letters}>
        {({ topic, records, redacted }) => {
          const wanted = text.toLowerCase();
          const all = records.map(described).reverse();
          const found = all.filter(({ record, fields }) => !wanted || textOf(record).includes(wanted) || Object.values(fields).some((value) => value.toLowerCase().includes(wanted)));
          return (
            <>
              <div class="row tools" role="search" aria-label="Filter the dead letters">
                <Filter label="Filter" value={text} onInput={setText} placeholder="code, reason, key or value ( / )" />
                <button type="button" onClick={letters.reload}>
                  Load again
                </button>
              </div>
              <p class="quiet" role="status">
                {all.length === 0 ? `There is no dead letter in ${visible(topic)}.` : `${found.length} of the newest ${count(all.length)} in ${visible(topic)}, newest first.`}
                {redacted && " The owner of a topic masks parts of them."}
              </p>
              <ol class="plain">
                {found.map(({ record, fields }) => (
                  <li key={`${record.partition} ${digits(record.offset)}`}>
                    <article class="pair">
                      <div>
                        <p class="state bad">
                          ■ {fields.code && <Code of={fields.code} />} {visible(fields.message ?? "")}
                        </p>
                        <p class="quiet">
                          {visible(fields.topic ?? "-")}/{visible(fields.partition ?? "-")} @ {visible(fields.offset ?? "-")}, revision {visible(fields.revision ?? "-")}, {moment(record.timestamp)}
                        </p>
                      </div>
                      <RecordText title={`dead letter ${record.partition} @ ${digits(record.offset)}`} record={record} />
                    </article>
                  </li>
                ))}
              </ol>
            </>
          );
        }}
      </Loaded>
      <Command>{`curl ${location.origin}${path(named(id), "/dead-letters")}`}</Command>
    </section>
  );
}

/** A dead letter, its own headers apart from Sandbar's. */
function described(record) {
  const fields = {};
  const headers = [];
  for (const header of record.headers ?? []) {
    if (header.name.startsWith(PREFIX)) fields[header.name.slice(PREFIX.length)] = content(header, "value");
    else headers.push(header);
  }
  return { record: { ...record, headers }, fields };
}
