// The results of a dry run: input beside output, failures first.

import { useState } from "preact/hooks";
import { bytes, digits, nanos, plain, visible } from "../format.js";
import { Code } from "../ui.jsx";
import { InputAndOutputs } from "../transform/record.jsx";

/** Records that are shown at once. */
const SHOWN_MAX = 100;

export function Trial({ report }) {
  const [isWhole, setWhole] = useState(false);
  const { outputs, failures, records, inputs = [], memory_bytes, micros_total, redacted } = report;
  const failed = new Map(failures.map((failure) => [failure.input, failure]));
  const order = records.map((_, index) => index).sort((a, b) => Number(failed.has(b)) - Number(failed.has(a)) || b - a);
  const shown = isWhole ? order : order.slice(0, SHOWN_MAX);
  const outputsOf = Map.groupBy(outputs, ({ input }) => input);
  return (
    <section aria-label="The dry run">
      <h2>What it makes of the newest records</h2>
      <p role="status">
        {records.length === 0 ? (
          "There are no records in the inputs."
        ) : (
          <>
            <strong class={failures.length > 0 ? "state bad" : "state ok"}>
              {records.length} records, {outputs.length} outputs, {failures.length} failed.
            </strong>{" "}
            {nanos((plain(micros_total) * 1000) / records.length)} a record, {bytes(memory_bytes)} of memory. Nothing was written.
          </>
        )}
        {redacted && " The owner of a topic masks parts of it."}
      </p>
      <ol class="plain">
        {shown.map((index) => {
          const { topic, partition, offset, micros, memory_bytes: memory } = records[index];
          const failure = failed.get(index);
          const Failure = () => (
            <p class="state bad">
              ■ Failed: <Code of={failure.code} /> {visible(failure.message)}
            </p>
          );
          return (
            <li key={index}>
              <article>
                <InputAndOutputs
                  place={`${topic}/${partition} @ ${digits(offset)} · ${digits(micros)} µs · ${bytes(memory)}`}
                  input={inputs[index] ?? { key: null, value: null, timestamp: 0 }}
                  outputs={outputsOf.get(index) ?? []}
                  more={0}
                  failed={failure}
                  Failure={Failure}
                />
              </article>
            </li>
          );
        })}
      </ol>
      {shown.length < order.length && (
        <button type="button" onClick={() => setWhole(true)}>
          Show all {order.length} records
        </button>
      )}
    </section>
  );
}
