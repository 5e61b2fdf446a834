// The few forms of Markdown that the pages of errors have: headings, paragraphs, lists, tables, blocks and spans of code, links.

import { link } from "./router.js";

export function Markdown({ text }) {
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

export function spans(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*|\[[^\]]+\]\([^)]+\))/).map((part) => {
    if (part.startsWith("`")) return <code>{part.slice(1, -1)}</code>;
    if (part.startsWith("**")) return <strong>{part.slice(2, -2)}</strong>;
    const found = /^\[([^\]]+)\]\(([^)]+)\)$/.exec(part);
    if (!found) return part;
    const other = /^(E\d{3})\.md$/.exec(found[2]);
    return other ? <a href={link("errors", other[1])}>{found[1]}</a> : found[1];
  });
}
