// The error codes, and the page of each, as the host has them.

import { useState } from "preact/hooks";
import { get, send } from "./api.js";
import { visible } from "./format.js";
import { useLoad } from "./hooks.js";
import { link } from "./router.js";
import { Code, Filter, Loaded } from "./ui.jsx";

export function Errors({ code }) {
  return (
    <section class="text">
      <h1>{code ? <a href={link("errors")}>Errors</a> : "Errors"}</h1>
      {code ? <ErrorPage key={code} code={code} /> : <ErrorCodes />}
    </section>
  );
}

/** All codes, by the words of their code, meaning and remedy. */
function ErrorCodes() {
  const [typed, setTyped] = useState("");
  const codes = useLoad((signal) => get("/errors", signal), "errors");
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  const isFound = ({ code, title, hint }) => words.every((word) => `${code} ${title} ${hint}`.toLowerCase().includes(word));
  return (
    <>
      <p>Every error has a code, and every code a page with its meaning and its remedy.</p>
      <Filter label="Find" value={typed} onInput={setTyped} placeholder="E102, topic, secret" />
      <Loaded of="the error codes" from={codes}>
        {({ errors }) => <ErrorTable errors={errors.filter(isFound)} of={errors.length} />}
      </Loaded>
    </>
  );
}

function ErrorTable({ errors, of }) {
  return (
    <>
      <p class="quiet" role="status">
        {errors.length === of ? `${of} codes` : errors.length === 0 ? "No code has these words." : `${errors.length} of ${of} codes`}
      </p>
      {errors.length > 0 && (
        <div class="scroll" tabIndex={0} role="region" aria-label="Error codes">
          <table>
            <thead>
              <tr>
                {["Code", "Status", "Meaning", "Remedy"].map((head) => (
                  <th scope="col">{head}</th>
                ))}
              </tr>
            </thead>
            <tbody>
              {errors.map(({ code, status, title, hint }) => (
                <tr key={code}>
                  <th scope="row">
                    <Code of={code} />
                  </th>
                  <td class="number">{status}</td>
                  <td>{visible(title)}</td>
                  <td class="quiet">{visible(hint)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </>
  );
}

function ErrorPage({ code }) {
  const page = useLoad(async (signal) => (await send("GET", `/errors/${encodeURIComponent(code)}`, { signal })).text(), code);
  return (
    <Loaded of={`the page of ${code}`} from={page}>
      {(text) => <Markdown text={text} />}
    </Loaded>
  );
}

/** The few forms that these pages have: headings, paragraphs, lists, tables, blocks and spans of code, links. */
function Markdown({ text }) {
  const blocks = text.split(/\n(?=```)|(?<=\n```)\n|\n\n+/).filter((block) => block.trim());
  return <article>{blocks.map((block) => <Block text={block.trim()} />)}</article>;
}

function Block({ text }) {
  if (text.startsWith("```")) return <pre tabIndex={0}>{text.replace(/^```\w*\n?/, "").replace(/\n?```$/, "")}</pre>;
  const heading = /^(#+)\s+(.*)/.exec(text);
  if (heading) {
    const rest = text.slice(heading[0].length).trim();
    return (
      <>
        <h2>{spans(heading[2])}</h2>
        {rest && <Block text={rest} />}
      </>
    );
  }
  const lines = text.split("\n");
  if (lines.every((line) => line.startsWith("|"))) {
    const rows = lines.filter((line) => !/^\|[\s|:-]+$/.test(line)).map((line) => line.slice(1, -1).split("|"));
    return (
      <table>
        <tbody>{rows.map((row) => <tr>{row.map((cell) => <td>{spans(cell.trim())}</td>)}</tr>)}</tbody>
      </table>
    );
  }
  if (lines[0].startsWith("- ")) {
    return <ul>{text.split(/\n(?=- )/).map((item) => <li>{spans(item.slice(2))}</li>)}</ul>;
  }
  return <p>{spans(text)}</p>;
}

function spans(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*|\[[^\]]+\]\([^)]+\))/).map((part) => {
    if (part.startsWith("`")) return <code>{part.slice(1, -1)}</code>;
    if (part.startsWith("**")) return <strong>{part.slice(2, -2)}</strong>;
    const found = /^\[([^\]]+)\]\(([^)]+)\)$/.exec(part);
    if (!found) return part;
    const other = /^(E\d{3})\.md$/.exec(found[2]);
    return other ? <a href={link("errors", other[1])}>{found[1]}</a> : found[1];
  });
}
