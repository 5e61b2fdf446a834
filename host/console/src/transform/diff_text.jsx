// The difference of two specs, as a person reads it.

import { visible } from "../format.js";
import { diff } from "./diff.js";

/** A spec as text: one field a line. The module has a line of its own above. */
export function text(spec) {
  const { module, ...rest } = spec;
  return JSON.stringify(rest, null, 2);
}

export function DiffText({ before, after, isFirst }) {
  if (isFirst) return <pre tabIndex={0} aria-label="The spec">{visible(after)}</pre>;
  if (before === after) return <p class="quiet">The spec is the same.</p>;
  const lines = diff(before, after);
  if (!lines) return <p class="quiet">The specs differ in too many lines for this page: the command below shows them.</p>;
  const marks = { same: "  ", gone: "- ", new: "+ " };
  return (
    <pre class="diff" tabIndex={0} aria-label="Changes of the spec">
      {lines.map(({ kind, text: line }) => (
        <span class={`line ${kind}`}>
          {marks[kind]}
          {visible(line)}
          {"\n"}
        </span>
      ))}
    </pre>
  );
}
