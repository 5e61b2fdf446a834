// Records, side by side: an input, and what became of it. Everything in them is text.

import { memo } from "preact/compat";
import { content, cut, cutLines, moment, visible } from "../format.js";

/** Lines beyond which differences are not looked for. */
const LINES_MAX = 2000;

/** Finds the lines of both sides that the other does not have. A sample that was cut has others, which nobody can compare. */
export function differences(input, outputs) {
  if ([input, ...outputs].some((record) => record.cut)) return null;
  const left = content(input, "value").split("\n");
  const rights = outputs.map((output) => content(output, "value").split("\n"));
  if (left.length > LINES_MAX || rights.some((lines) => lines.length > LINES_MAX)) return null;
  const plain = (line) => line.trim().replace(/,$/, "");
  const inInput = new Set(left.map(plain));
  const inOutputs = new Set(rights.flat().map(plain));
  return { isGone: (line) => outputs.length > 0 && !inOutputs.has(plain(line)), isNew: (line) => !inInput.has(plain(line)) };
}

/** A mark in words, for those who do not see it. */
const MARKS = { gone: "only in the input: ", new: "only in the output: " };

/** The value of a record. Lines are compared as they are: shown, they have escapes, and may be cut. */
function MarkedValue({ value, isMarked, mark }) {
  const { lines, rest } = cutLines(value);
  return (
    <>
      {lines.map(({ whole, shown }, index) => (
        <>
          {index > 0 && "\n"}
          {isMarked(whole) ? (
            <mark class={mark}>
              <span class="unseen">{MARKS[mark]}</span>
              {shown}
            </mark>
          ) : (
            shown
          )}
        </>
      ))}
      {rest}
    </>
  );
}

/** A record with its key, value and headers. */
export const RecordText = memo(function RecordText({ title, record, isMarked, mark }) {
  const value = content(record, "value");
  const headers = record.headers ?? [];
  return (
    <div class="record">
      <p class="record-head">{title}</p>
      <pre tabIndex={0} aria-label={`${title}: key and value`}>
        <span class="key">{cut(content(record, "key"), 2000)}</span>
        {"\n"}
        {isMarked ? <MarkedValue value={value} isMarked={isMarked} mark={mark} /> : cut(value)}
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
      {record.cut && <p class="quiet">It is longer: samples are cut at 4 KiB, and then not compared.</p>}
    </div>
  );
});

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
