// The log lines of the guests, and the transform's events.

import { path } from "../api.js";
import { cut, moment, named, visible } from "../format.js";
import { useFollowed, useRoute } from "../hooks.js";
import { setQuery } from "../router.js";
import { CONNECTION, Check, Command, Filter, ProblemBox, Spoken, WithCodes } from "../ui.jsx";

const KEPT_MAX = 2000;
const SHOWN_MAX = 500;
const LEVELS = ["debug", "info", "warn", "error"];

export function Logs({ id }) {
  const { query } = useRoute();
  const level = LEVELS.find((name) => name === query.get("level")) ?? LEVELS[0];
  const filter = { text: query.get("q") ?? "", revision: query.get("revision") ?? "", isEvents: query.get("events") === "1" };
  // A stream that was opened again begins with lines that are here.
  const isWanted = (line, last) => !last || line.offset > last.offset;
  const { lines, connection } = useFollowed(path(id, `/logs?follow&since=1h&limit=500&level=${level}`), { keptMax: KEPT_MAX, isWanted });
  const { state, problem } = connection;
  const wanted = filter.text.toLowerCase();
  const found = lines.filter(
    (line) =>
      (!filter.isEvents || line.event) &&
      (!filter.revision || String(line.revision) === filter.revision.trim()) &&
      (!wanted || `${line.message} ${line.event ?? ""} ${line.host}`.toLowerCase().includes(wanted)),
  );
  return (
    <section>
      <div class="row tools" role="search" aria-label="Filter the log">
        <Filter label="Text" value={filter.text} onInput={(q) => setQuery({ q })} placeholder="in the message ( / )" />
        <Filter label="Revision" value={filter.revision} onInput={(revision) => setQuery({ revision })} inputMode="numeric" />
        <label class="filter">
          <span>Level</span>
          <select value={level} onChange={(event) => setQuery({ level: event.currentTarget.value })}>
            {LEVELS.map((name) => (
              <option value={name}>{name}</option>
            ))}
          </select>
        </label>
        <Check label="Events only" value={filter.isEvents} onChange={(on) => setQuery({ events: on ? "1" : "" })} />
      </div>
      <ProblemBox problem={problem} />
      <p class="quiet">
        {lines.length > 0 && `${found.length} of ${lines.length} lines, newest first.`}
        {lines.length === 0 && state === "open" && "No lines in the last hour."} {state !== "open" && CONNECTION[state]}
      </p>
      <Spoken>{CONNECTION[state]}</Spoken>
      <ol class="plain log">
        {found.slice(0, SHOWN_MAX).map((line) => (
          <li key={line.offset} class={line.level}>
            <time title={moment(line.at)}>{moment(line.at).slice(11, 19)}</time>
            <span class="level">{line.event ? visible(line.event) : visible(line.level)}</span>
            <span class="message">{line.event ? <WithCodes text={cut(line.message, 4000)} /> : cut(line.message, 4000)}</span>
            <span class="quiet">
              r{line.revision} {visible(line.host)}
            </span>
          </li>
        ))}
      </ol>
      <Command>sandbar logs {named(id)} -f{level === "debug" ? "" : ` --level ${level}`}</Command>
    </section>
  );
}
