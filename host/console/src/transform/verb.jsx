// The question before a verb of a transform.

import { change, path } from "../api.js";
import { named, plural } from "../format.js";
import { Confirm } from "../ui.jsx";
import { RollBack } from "./roll_back.jsx";

const VERBS = {
  pause: ["Pause", "Every host finishes its open transaction and stops reading. Offsets and state stay. Records wait in the inputs."],
  resume: ["Resume", "Its hosts go on at the committed offsets, also with partitions that stopped before a bad record."],
  restart: ["Restart", "The workers on every host stop and start again, from the committed offsets."],
};

export function Verb({ verb, id, transform, close }) {
  if (verb === "rollback") return <RollBack id={id} live={transform.revision} close={close} />;
  const [label, words] = VERBS[verb];
  const { hosts, partitions } = transform;
  const all = Object.values(partitions).reduce((sum, number) => sum + number, 0);
  return (
    <Confirm title={`${label} ${id}?`} verb={label} command={`sandbar ${verb} ${named(id)}`} close={close} run={() => change("POST", path(id, `/${verb}`))}>
      <p>{words}</p>
      {all > 0 && (
        <p class="quiet">
          {plural(all, "partition")}
          {/* Hosts on which it is at rest do not count. */}
          {hosts > 0 && ` on ${plural(hosts, "host")}`}
        </p>
      )}
    </Confirm>
  );
}
