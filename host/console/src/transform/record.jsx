// Records, side by side: an input, and what became of it. Everything in them is text.

import { content, cut, moment, visible } from "../format.js";

/** Lines beyond which differences are not looked for. */
const LINES_MAX = 2000;

/** Marks the lines of both sides that the other does not have. */
export function differences(input, outputs) {
  const left = content(input, "value").split("\n");
  const rights = outputs.map((output) => content(output, "value").split("\n"));
  if (left.length > LINES_MAX || rights.some((lines) => lines.length > LINES_MAX)) return null;
  const plain = (line) => line.trim().replace(/,$/, "");
  const inInput = new Set(left.map(plain));
  const inOutputs = new Set(rights.flat().map(plain));
  return { isGone: (line) => outputs.length > 0 && !inOutputs.has(plain(line)), isNew: (line) => !inInput.has(plain(line)) };
}

/** A record with its key, value and headers. */
export function RecordText({ title, record, isMarked, mark }) {
  const value = cut(content(record, "value"));
  const headers = record.headers ?? [];
  return (
    <div class="record">
      <p class="record-head">{title}</p>
      <pre tabIndex={0} aria-label={`${title}: key and value`}>
        <span class="key">{cut(content(record, "key"), 2000)}</span>
        {"\n"}
        {isMarked
          ? value.split("\n").map((line, index) => (
              <>
                {index > 0 && "\n"}
                {isMarked(line) ? <mark class={mark}>{line}</mark> : line}
              </>
            ))
          : value}
      </pre>
      {headers.length > 0 && (
        <details>
          <summary>{headers.length} headers</summary>
          <dl>
            {headers.map((header) => (
              <>
                <dt>{visible(header.name)}</dt>
                <dd>{cut(content(header, "value"), 2000)}</dd>
              </>
            ))}
          </dl>
        </details>
      )}
      {record.cut && <p class="quiet">It is longer: samples are cut at 4 KiB.</p>}
    </div>
  );
}

/** An input beside its outputs, or beside its failure. */
export function InputAndOutputs({ place, input, outputs, more, failed, Failure }) {
  const marks = differences(input, outputs);
  return (
    <div class="pair">
      <RecordText title={`${place}${input.timestamp ? ` · ${moment(input.timestamp)}` : ""}`} record={input} isMarked={marks?.isGone} mark="gone" />
      <div>
        {failed && <Failure />}
        {!failed && outputs.length === 0 && <p class="quiet">No output: it was dropped.</p>}
        {outputs.map((output, index) => (
          <RecordText key={index} title={`→ ${visible(output.target ? `${output.target}: ${output.topic}` : output.topic)}`} record={output} isMarked={marks?.isNew} mark="new" />
        ))}
        {more > 0 && <p class="quiet">and {more} more outputs</p>}
      </div>
    </div>
  );
}

/** All text of a record that a filter looks at. */
export function textOf(record) {
  return `${content(record, "key")}\n${content(record, "value")}`.toLowerCase();
}
