// The committed state of a key.

import { useRef, useState } from "preact/hooks";
import { get, path } from "../api.js";
import { content, count, cut, named, plain, quoted, visible } from "../format.js";
import { useLoad } from "../hooks.js";
import { reason } from "../session.js";
import { Action, Command, Loaded, ProblemBox } from "../ui.jsx";

export function StateLookUp({ id, transform, status }) {
  const deployed = useLoad((signal) => get(path(id), signal), id, [transform.revision]);
  return (
    <section>
      <Loaded of="the stores" from={deployed}>
        {({ spec }) => {
          const stores = Object.entries(spec.state ?? {});
          if (stores.length === 0) return <p class="quiet">The transform keeps no state.</p>;
          return (
            <>
              <Sizes status={status} />
              <LookUp id={id} stores={stores.filter(([, store]) => store.queryable).map(([name]) => name)} />
            </>
          );
        }}
      </Loaded>
    </section>
  );
}

/** Entries and bytes of each store over all partitions that their hosts list. */
function Sizes({ status }) {
  const sums = new Map();
  for (const host of status.value?.hosts ?? []) {
    for (const { stores = [] } of host.partitions) {
      for (const { name, entries, bytes } of stores) {
        const sum = sums.get(name) ?? { entries: 0, bytes: 0 };
        sums.set(name, { entries: sum.entries + plain(entries), bytes: sum.bytes + plain(bytes) });
      }
    }
  }
  if (sums.size === 0) return null;
  return <p>{[...sums].map(([name, { entries, bytes }]) => `${visible(name)}: ${count(entries)} entries, ${count(bytes)} bytes`).join(" · ")}</p>;
}

function LookUp({ id, stores }) {
  const [team] = id.split("/");
  const [chosen, choose] = useState(stores[0]);
  // Another revision may have other stores.
  const store = stores.includes(chosen) ? chosen : stores[0];
  const [key, setKey] = useState("");
  const [recordKey, setRecordKey] = useState("");
  // The newest look-up, with its answer once there is one.
  const [asked, setAsked] = useState(null);
  const turn = useRef(0);
  if (stores.length === 0) return <p class="quiet">None of its stores may be asked: the spec would say `queryable: true`.</p>;
  const why = reason(team, "data");
  const lookUp = async (event) => {
    event.preventDefault();
    if (why) return;
    turn.current += 1;
    const own = turn.current;
    const show = (answer) => {
      // An answer that was overtaken is not that of the newest key.
      if (own === turn.current) setAsked({ store, key, ...answer });
    };
    show({});
    const query = recordKey ? `?record_key=${encodeURIComponent(recordKey)}` : "";
    try {
      show({ found: await get(path(id, `/state/${encodeURIComponent(store)}/${encodeURIComponent(key)}${query}`)) });
    } catch (problem) {
      show({ problem });
    }
  };
  const option = recordKey ? ` --record-key=${quoted(recordKey)}` : "";
  // A key that begins with `-` is no option.
  const words = `${key.startsWith("-") ? "-- " : ""}${quoted(store)} ${quoted(key || "KEY")}`;
  const command = `sandbar state get ${named(id)}${option} ${words}`;
  return (
    <>
      <form class="row tools" onSubmit={lookUp}>
        <label class="filter">
          <span>Store</span>
          <select value={store} onChange={(event) => choose(event.currentTarget.value)}>
            {stores.map((name) => (
              <option value={name}>{name}</option>
            ))}
          </select>
        </label>
        <label class="filter wide">
          <span>Key, as the transform writes it</span>
          <input value={key} onInput={(event) => setKey(event.currentTarget.value)} placeholder='{"order_id":1001}' />
        </label>
        <label class="filter">
          <span>Key of its records, if another</span>
          <input value={recordKey} onInput={(event) => setRecordKey(event.currentTarget.value)} />
        </label>
        <Action type="submit" why={why} kind="main">
          Look up
        </Action>
      </form>
      {asked && <Entry of={asked} />}
      <Command>{command}</Command>
    </>
  );
}

/** The answer for one key, which it names: the form may have another one by now. */
function Entry({ of: { store, key, found, problem } }) {
  return (
    <>
      <p class="quiet" role="status">
        <code>{visible(key)}</code> in {visible(store)}: {found && `partition ${found.partition}, on ${visible(found.host)}, as of the last commit`}
        {!found && !problem && "looking it up ..."}
      </p>
      <ProblemBox problem={problem} />
      {found && (
        <pre tabIndex={0} aria-label="The entry">
          {cut(content(found, "value"))}
        </pre>
      )}
    </>
  );
}
