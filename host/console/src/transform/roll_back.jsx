// The question before a rollback.

import { useState } from "preact/hooks";
import { change, path, unlessChanged } from "../api.js";
import { named } from "../format.js";
import { Confirm } from "../ui.jsx";

/** A rollback of the revision `live`, to the one before or to a given one. */
export function RollBack({ id, live, to, close }) {
  // The answer is about the revision that was asked about: a deployment that comes meanwhile is not rolled back.
  const [from] = useState(live);
  const command = `sandbar rollback ${named(id)}${to ? ` --to ${to}` : ""}`;
  const body = to ? { revision: to } : {};
  return (
    <Confirm title={`Roll back ${id}?`} verb="Roll back" command={command} close={close} run={() => change("POST", path(id, "/rollback"), body, unlessChanged(from))}>
      <p>
        Revision {from + 1} gets the spec and the module of revision {to ?? "before"}
        {to ? "" : ` ${from}`}. It is checked like any deployment, and the workers take it over between two transactions.
      </p>
    </Confirm>
  );
}
