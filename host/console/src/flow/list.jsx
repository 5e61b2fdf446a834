// The flow as a table, which sorts: the picture for small screens and for screen readers.

import { memo } from "preact/compat";
import { useState } from "preact/hooks";
import { compact, millis, rate, visible } from "../format.js";
import { useTransform } from "../hooks.js";
import { transformLink } from "../router.js";
import { flow, health, inWords } from "../store.js";
import { Mark, SortHead, Spark, WithCodes, sorted } from "../ui.jsx";

const ORDER = { bad: 0, warn: 1, ok: 2, off: 3 };
const COLUMNS = [
  ["id", "Transform", false],
  ["health", "State", false],
  ["in", "In", true],
  ["out", "Out", true],
  ["failed", "Failed", true],
  ["lag", "Lag", true],
  ["p99", "Latency p99", true],
];

export function FlowList({ transforms }) {
  const [sort, setSort] = useState({ by: "health", down: false });
  const rows = sorted(transforms, sort, (transform, by) => value(transform, by));
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Transforms">
      <table class="transforms">
        <thead>
          <tr>
            {COLUMNS.map(([name, label, numeric]) => (
              <SortHead name={name} label={label} numeric={numeric} sort={sort} setSort={setSort} />
            ))}
            <th scope="col">Last minutes</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ team, name }) => (
            <Row key={`${team}/${name}`} id={`${team}/${name}`} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function value(transform, by) {
  const { activity } = transform;
  switch (by) {
    case "id":
      return `${transform.team}/${transform.name}`;
    case "health":
      return ORDER[health(transform)];
    case "in":
      return activity?.in_per_minute;
    case "out":
      return activity?.out_per_minute;
    case "failed":
      return activity?.failed_per_minute;
    case "p99":
      return activity?.latency_p99_ms;
    default:
      return transform.lag;
  }
}

const Row = memo(function Row({ id }) {
  const transform = useTransform(id);
  if (!transform) return null;
  const { activity, lag } = transform;
  const of = health(transform);
  return (
    <tr>
      <th scope="row">
        <a href={transformLink(id)}>{visible(id)}</a>
      </th>
      <td class={`state ${of}`}>
        <Mark of={of} /> <WithCodes text={inWords(transform)} />
      </td>
      <td class="number" data-label="in">{rate(activity?.in_per_minute)}</td>
      <td class="number" data-label="out">{rate(activity?.out_per_minute)}</td>
      <td class="number" data-label="failed">{rate(activity?.failed_per_minute)}</td>
      <td class="number" data-label="lag">{compact(lag)}</td>
      <td class="number" data-label="p99">{millis(activity?.latency_p99_ms)}</td>
      <td>
        <Spark points={flow.recent.get(id)} />
      </td>
    </tr>
  );
});
