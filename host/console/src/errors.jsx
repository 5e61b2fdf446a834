// The error codes of the host: all of them in a list that can be searched, and the page of each.

import { get, send } from "./api.js";
import { visible } from "./format.js";
import { useLoad, useRoute } from "./hooks.js";
import { Markdown, spans } from "./markdown.jsx";
import { go, link, setQuery } from "./router.js";
import { Command, Filter, Loaded } from "./ui.jsx";

/** The three kinds of codes, by their first two characters. */
const KINDS = [
  ["E0", "The host refused a request"],
  ["E1", "A module failed on a record, its output was refused, or the module cannot be had"],
  ["E2", "The host, or the log (Kafka) below it, failed"],
];

export function Errors({ code }) {
  const list = useLoad((signal) => get("/errors", signal), "errors");
  return <Loaded of="the error codes" from={list}>{({ errors }) => (code ? <One code={code.toUpperCase()} errors={errors} /> : <All errors={errors} />)}</Loaded>;
}

/** Every code with its meaning and hint. The filter is a part of the address. */
function All({ errors }) {
  const { query } = useRoute();
  const text = query.get("q") ?? "";
  const found = errors.filter(matcher(text));
  const open = (event) => {
    event.preventDefault();
    const wanted = text.trim().toUpperCase();
    const chosen = found.find(({ code }) => code === wanted) ?? (found.length === 1 ? found[0] : null);
    if (chosen) go(link("errors", chosen.code));
  };
  return (
    <section class="text">
      <h1>Errors</h1>
      <p>Every error has a code, and every code a page with its reasons and its remedy.</p>
      <form class="row tools" role="search" onSubmit={open}>
        <Filter wide label="Find" value={text} onInput={(q) => setQuery({ q })} placeholder="code or words ( / )" />
      </form>
      <p class="quiet" role="status">
        {found.length === errors.length ? `${errors.length} codes.` : `${found.length} of ${errors.length} codes.`}
      </p>
      {KINDS.map(([start, title]) => {
        const rows = found.filter(({ code }) => code.startsWith(start));
        return (
          rows.length > 0 && (
            <section key={start} aria-label={`${start}xx`}>
              <h2>
                {start}xx: {title}
              </h2>
              <ul class="plain codes">{rows.map((row) => <Row key={row.code} {...row} />)}</ul>
            </section>
          )
        );
      })}
    </section>
  );
}

function Row({ code, title, meaning, hint }) {
  return (
    <li>
      <h3>
        <a href={link("errors", code)}>
          {code} {visible(title)}
        </a>
      </h3>
      {/* The first paragraph is enough here: the page has the others. */}
      <p>{spans(meaning.split("\n\n")[0])}</p>
      <p class="quiet">Hint: {visible(hint)}</p>
    </li>
  );
}

/** Accepts codes with all words somewhere in their text. */
function matcher(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return ({ code, title, meaning, hint }) => {
    const all = `${code} ${title} ${meaning} ${hint}`.toLowerCase();
    return words.every((word) => all.includes(word));
  };
}

/** The page of one code, with the way to its neighbours. */
function One({ code, errors }) {
  const page = useLoad(async (signal) => (await send("GET", `/errors/${encodeURIComponent(code)}`, { signal })).text(), code);
  const at = errors.findIndex((error) => error.code === code);
  const [before, own, after] = [errors[at - 1], errors[at], errors[at + 1]];
  return (
    <section class="text">
      <nav class="row" aria-label="Errors">
        <a href={link("errors")}>All errors</a>
        {own && before && <a href={link("errors", before.code)}>← {before.code}</a>}
        {own && after && <a href={link("errors", after.code)}>{after.code} →</a>}
      </nav>
      <h1>{own ? `${code}: ${visible(own.title)}` : visible(code)}</h1>
      {own && (
        <p class="quiet">
          Hint: {visible(own.hint)}. An answer with it has the HTTP status {own.status}.
        </p>
      )}
      <Loaded of={`the page of ${code}`} from={page}>
        {/* The first line of the page is its heading. */}
        {(text) => <Markdown text={text.slice(text.indexOf("\n") + 1)} />}
      </Loaded>
      {own && <Command>{`curl ${location.origin}/errors/${code}`}</Command>}
    </section>
  );
}
