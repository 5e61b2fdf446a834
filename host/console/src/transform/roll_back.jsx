// The question before a rollback: where it leads, and what it changes.

import { useState } from "preact/hooks";
import { Problem, change, get, path, unlessChanged } from "../api.js";
import { named, visible } from "../format.js";
import { useLoad } from "../hooks.js";
import { go, transformLink } from "../router.js";
import { Confirm, Loaded } from "../ui.jsx";
import { DiffText, text } from "./diff_text.jsx";

/** A rollback of the revision `live`, to a given one or to the newest earlier one that differs. */
export function RollBack({ id, live, to: given, close }) {
  // The answer is about the revision that was asked about: a deployment that comes meanwhile is not rolled back.
  const [from] = useState(live);
  const loaded = useLoad((signal) => plan(id, from, given, signal), `${id} ${from} ${given}`);
  const to = given ?? loaded.value?.after?.revision;
  const isNowhere = loaded.value !== null && !to;
  const run = () => {
    if (isNowhere) return go(transformLink(id, "revisions"));
    if (!to) throw new Problem(0, { detail: "the earlier revisions are not loaded yet" });
    return change("POST", path(id, "/rollback"), { revision: to }, unlessChanged(from));
  };
  return (
    <Confirm title={`Roll back ${id}?`} verb={isNowhere ? "Show the revisions" : "Roll back"} command={to && `sandbar rollback ${named(id)} --to ${to}`} close={close} run={run}>
      {to && (
        <p>
          Revision {from + 1} gets the spec and the module of revision {to}. It is checked like any deployment, and the workers take it over between two transactions.
        </p>
      )}
      {to && !given && <p class="quiet">It is the newest earlier one with another spec or module. The tab Revisions goes back to any other.</p>}
      <Loaded of="the earlier revision" from={loaded}>
        {({ before, after, origin }) => (after ? <Changes before={before} after={after} /> : <Nowhere from={from} origin={origin} />)}
      </Loaded>
    </Confirm>
  );
}

function Changes({ before, after }) {
  const modules = before.module === after.module ? [before.module] : [before.module, after.module];
  return (
    <>
      <p>
        {modules.length === 1 ? "The same module: " : "Another module: "}
        {modules.map((module, index) => (
          <>
            {index > 0 && " → "}
            <code title={module}>{visible(module.replace("sha256:", "").slice(0, 12))}</code>
          </>
        ))}
      </p>
      <DiffText before={text(before.spec)} after={text(after.spec)} />
    </>
  );
}

function Nowhere({ from, origin }) {
  return (
    <p>
      {origin < from && `Revision ${from} is revision ${origin} again. `}
      No revision before {origin} that is kept has another spec or module. The tab Revisions goes to any that is kept.
    </p>
  );
}

/**
 * The live revision, and the one to go back to; without one that is given, the newest that differs and is earlier than the content
 * that runs. One that was rolled back already is later than that content, so nobody comes back to it by another rollback.
 */
async function plan(id, from, given, signal) {
  const one = (revision) => get(path(id, `/revisions/${revision}`), signal);
  const before = await one(from);
  if (given) return { before, after: await one(given) };
  const { revisions } = await get(path(id, "/revisions"), signal);
  const origin = originOf(revisions, from);
  for (const { revision, module_stored } of revisions) {
    if (revision >= origin || !module_stored) continue;
    const after = await one(revision);
    if (after.module !== before.module || text(after.spec) !== text(before.spec)) return { before, after, origin };
  }
  return { before, after: null, origin };
}

/** The revision that first had the content of another one: a rollback brings back an earlier content. */
function originOf(revisions, revision) {
  const target = revisions.find((other) => other.revision === revision)?.rolled_back_to;
  return target ? originOf(revisions, target) : revision;
}
