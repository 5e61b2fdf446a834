// The position of the transform: look at it, try a move, make it.

import { useEffect, useRef, useState } from "preact/hooks";
import { get, path, send } from "../api.js";
import { count, named, quoted, visible } from "../format.js";
import { useLoad } from "../hooks.js";
import { reason } from "../session.js";
import { Action, Command, Confirm, Loaded, ProblemBox } from "../ui.jsx";
import { Verb } from "./verb.jsx";

const KINDS = [
  ["earliest", "the first record"],
  ["latest", "after the last record"],
  ["ago", "a time ago"],
  ["timestamp", "a moment"],
];

export function Offsets({ id, transform }) {
  const offsets = useLoad((signal) => get(path(id, "/offsets"), signal), id, [transform.desired, transform.lag]);
  return (
    <section>
      <Loaded of="the offsets" from={offsets}>
        {(value) => (
          <div class="scroll" tabIndex={0} role="region" aria-label="Offsets">
            <table class="dense">
              <thead>
                <tr>
                  <th scope="col">Partition</th>
                  {["Offset", "First", "End", "Lag"].map((head) => (
                    <th scope="col" class="number">
                      {head}
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {value.offsets.map((row) => (
                  <tr key={`${row.topic}/${row.partition}`}>
                    <th scope="row">
                      {visible(row.topic)}/{row.partition}
                    </th>
                    <td class="number">{row.forgotten ? "forgotten" : count(row.offset)}</td>
                    <td class="number">{count(row.first_offset)}</td>
                    <td class="number">{count(row.end_offset)}</td>
                    <td class="number">{count(row.lag)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Loaded>
      <Command>sandbar offsets get {named(id)}</Command>
      <Move id={id} transform={transform} done={offsets.reload} />
    </section>
  );
}

function Move({ id, transform, done }) {
  const [team] = id.split("/");
  const [kind, setKind] = useState("ago");
  const [text, setText] = useState("1h");
  const [plan, setPlan] = useState(null);
  const [problem, setProblem] = useState(null);
  // The plan that the question is about.
  const [asked, ask] = useState(null);
  const [isPausing, setPausing] = useState(false);
  const turn = useRef(0);
  const to = kind === "earliest" || kind === "latest" ? kind : { [kind]: text.trim() };
  const word = kind === "ago" ? `${text.trim()}-ago` : typeof to === "string" ? to : text.trim();
  const why = reason(team, "operate");
  const isPaused = transform.desired === "paused";
  const notPaused = isPaused ? undefined : "pause it first";
  // A dry run is of the offsets of one pause: a transform that ran meanwhile has left them. A question about it ends as well.
  useEffect(() => {
    turn.current += 1;
    setPlan(null);
    ask(null);
  }, [transform.desired, transform.changed_at]);
  const tryIt = async () => {
    turn.current += 1;
    const own = turn.current;
    const show = (come, refused) => {
      // An answer that was overtaken is not that of the newest dry run.
      if (own !== turn.current) return;
      setPlan(come);
      setProblem(refused);
    };
    show(null, null);
    try {
      const answer = await send("PATCH", path(id, "/offsets?dry_run=true"), { body: { to } });
      show({ of: JSON.stringify(to), ...(await answer.json()) }, null);
    } catch (refused) {
      show(null, refused);
    }
  };
  const isCurrent = plan?.of === JSON.stringify(to);
  return (
    <section>
      <h2>Move</h2>
      <p class="quiet">Only a paused transform can be moved. A dry run shows how many records would be processed again, or skipped.</p>
      <div class="row tools">
        <label class="filter">
          <span>To</span>
          <select value={kind} onChange={(event) => setKind(event.currentTarget.value)}>
            {KINDS.map(([name, label]) => (
              <option value={name}>{label}</option>
            ))}
          </select>
        </label>
        {(kind === "ago" || kind === "timestamp") && (
          <label class="filter">
            <span>{kind === "ago" ? "Time, such as 1h" : "Moment, such as 2026-01-01T00:00:00Z"}</span>
            <input value={text} onInput={(event) => setText(event.currentTarget.value)} />
          </label>
        )}
        <Action why={why} onClick={tryIt}>
          Dry run
        </Action>
        <Action kind="main" why={why ?? notPaused ?? (isCurrent ? undefined : "make a dry run first")} onClick={() => ask(plan)}>
          Move
        </Action>
        {!isPaused && !why && (
          <button type="button" onClick={() => setPausing(true)}>
            Pause it
          </button>
        )}
      </div>
      <ProblemBox problem={problem} />
      {isCurrent && <Plan plan={plan} />}
      <Command>{`sandbar offsets set ${named(id)} --to=${quoted(word)} --dry-run`}</Command>
      {isPausing && <Verb verb="pause" id={id} transform={transform} close={() => setPausing(false)} />}
      {asked && (
        <Confirm
          title={`Move ${id}?`}
          verb="Move"
          command={`sandbar offsets set ${named(id)} ${asked.offsets.map(({ topic, partition, to }) => `--offset ${topic}:${partition}:${to}`).join(" ")}`}
          close={() => ask(null)}
          run={async () => {
            // The offsets of the dry run: the end of a partition, or the record of an hour ago, is another one by now.
            const offsets = asked.offsets.map(({ topic, partition, to }) => ({ topic, partition, offset: to }));
            await send("PATCH", path(id, "/offsets"), { body: { offsets } });
            setPlan(null);
            done();
          }}
        >
          <p>{inWords(asked)}</p>
        </Confirm>
      )}
    </section>
  );
}

/** "Moves 3 partitions back by 52,210 records". */
function inWords({ offsets: moves }) {
  const back = moves.filter((move) => move.records > 0).length;
  const on = moves.filter((move) => move.records < 0).length;
  if (back === 0 && on === 0) return "Moves nothing: every partition is there already.";
  const parts = [];
  const sum = (sign) => moves.reduce((total, move) => total + (Math.sign(move.records) === sign ? Math.abs(move.records) : 0), 0);
  if (back > 0) parts.push(`moves ${count(back)} partitions back by ${count(sum(1))} records, which are processed again`);
  if (on > 0) parts.push(`moves ${count(on)} partitions on by ${count(sum(-1))} records, which are skipped`);
  return `${parts.join(" and ")}.`.replace(/^m/, "M");
}

function Plan({ plan }) {
  return (
    <div role="status">
      <p>
        <strong>{inWords(plan)}</strong>
      </p>
      <div class="scroll" tabIndex={0} role="region" aria-label="The dry run">
        <table class="dense">
          <thead>
            <tr>
              <th scope="col">Partition</th>
              {["From", "To", "Records"].map((head) => (
                <th scope="col" class="number">
                  {head}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {plan.offsets.map(({ topic, partition, from, to, records }) => (
              <tr key={`${topic}/${partition}`}>
                <th scope="row">
                  {visible(topic)}/{partition}
                </th>
                <td class="number">{count(from)}</td>
                <td class="number">{count(to)}</td>
                <td class="number">{count(records)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}
