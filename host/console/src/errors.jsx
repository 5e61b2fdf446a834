// The pages of the error codes, as the host has them.

import { useState } from "preact/hooks";
import { send } from "./api.js";
import { useLoad } from "./hooks.js";
import { go, link } from "./router.js";
import { Filter, Loaded } from "./ui.jsx";

export function Errors({ code }) {
  const [typed, setTyped] = useState(code ?? "");
  const submit = (event) => {
    event.preventDefault();
    if (typed.trim()) go(link("errors", typed.trim().toUpperCase()));
  };
  return (
    <section class="text">
      <h1>Errors</h1>
      <p>Every error has a code, and every code a page with its meaning and its remedy.</p>
      <form class="row" onSubmit={submit}>
        <Filter label="Code" value={typed} onInput={setTyped} placeholder="E102" />
        <button type="submit">Show</button>
      </form>
      {code && <ErrorPage key={code} code={code} />}
    </section>
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
