// The newest dead letters: each failed record, with its reason and its place.

import { useEffect, useMemo, useState } from "preact/hooks";
import { get, path } from "../api.js";
import { content, count, digits, moment, named, visible } from "../format.js";
import { useLoad, useRoute } from "../hooks.js";
import { setQuery } from "../router.js";
import { Code, Command, Filter, Loaded } from "../ui.jsx";
import { RecordText, textOf } from "./record.jsx";

const PREFIX = "sandbar.error.";

export function DeadLetters({ id, transform }) {
  const { query } = useRoute();
  const text = query.get("q") ?? "";
  // They are loaded once: a list that somebody reads does not move, and it may have megabytes.
  const letters = useLoad((signal) => get(path(id, "/dead-letters?limit=100"), signal), id);
  const all = useMemo(() => (letters.value?.records ?? []).map(described).reverse(), [letters.value]);
  const hasNewer = useHasNewer(transform, letters.value);
  const wanted = text.toLowerCase();
  const found = all.filter((letter) => letter.text.includes(wanted));
  return (
    <section>
      <div class="row tools" role="search" aria-label="Filter the dead letters">
        <Filter label="Filter" value={text} onInput={(q) => setQuery({ q })} placeholder="code, reason, key or value ( / )" />
        <button type="button" onClick={letters.reload}>
          Load again
        </button>
        <span class="warn" role="status">
          {hasNewer && "There are newer ones: load again."}
        </span>
      </div>
      <Loaded of="the dead letters" from={letters}>
        {({ topic, redacted }) => (
          <>
            <p class="quiet" role="status">
              {all.length === 0 ? `There is no dead letter in ${visible(topic)}.` : `${found.length} of the newest ${count(all.length)} in ${visible(topic)}, newest first.`}
              {redacted && " The owner of a topic masks parts of them."}
            </p>
            <ol class="plain">
              {found.map(({ record, fields, title }) => (
                <li key={title}>
                  <article class="pair">
                    <div>
                      <p class="state bad">
                        ■ {fields.code && <Code of={fields.code} />} {visible(fields.message ?? "")}
                      </p>
                      <p class="quiet">
                        {visible(fields.topic ?? "-")}/{visible(fields.partition ?? "-")} @ {visible(fields.offset ?? "-")}, revision {visible(fields.revision ?? "-")}, {moment(record.timestamp)}
                      </p>
                    </div>
                    <RecordText title={title} record={record} />
                  </article>
                </li>
              ))}
            </ol>
          </>
        )}
      </Loaded>
      <Command>{`curl ${location.origin}${path(named(id), "/dead-letters")}`}</Command>
    </section>
  );
}

/** Returns true if a status that came after the letters were loaded tells of records that fail. */
function useHasNewer(transform, loaded) {
  const [outdated, setOutdated] = useState(null);
  useEffect(() => {
    if ((transform.activity?.failed_per_minute ?? 0) > 0) setOutdated(loaded);
  }, [transform]);
  return loaded !== null && outdated === loaded;
}

/** A dead letter, its own headers apart from Sandbar's, with the text that a filter looks at. */
function described(given) {
  const fields = {};
  const headers = [];
  for (const header of given.headers ?? []) {
    if (header.name.startsWith(PREFIX)) fields[header.name.slice(PREFIX.length)] = content(header, "value");
    else headers.push(header);
  }
  const record = { ...given, headers };
  const text = `${textOf(record)}\n${Object.values(fields).join("\n").toLowerCase()}`;
  return { record, fields, text, title: `dead letter ${given.partition} @ ${digits(given.offset)}` };
}
