// The question before a verb of a transform.

import { change, path } from "../api.js";
import { named, plural, visible } from "../format.js";
import { Code, Confirm } from "../ui.jsx";
import { RollBack } from "./roll_back.jsx";

const VERBS = {
  pause: ["Pause", "Every host finishes its open transaction and stops reading. Offsets and state stay. Records wait in the inputs."],
  resume: ["Resume", "Its hosts go on at the committed offsets, also with partitions that stopped before a bad record."],
  restart: ["Restart", "The workers on every host stop and start again, from the committed offsets."],
};

/** `quarantined` are the names of the hosts that keep the transform off. */
export function Verb({ verb, id, transform, quarantined = [], close }) {
  if (verb === "rollback") return <RollBack id={id} live={transform.revision} close={close} />;
  const [label, words] = VERBS[verb];
  const { hosts, partitions } = transform;
  const all = Object.values(partitions).reduce((sum, number) => sum + number, 0);
  return (
    <Confirm title={`${label} ${id}?`} verb={label} command={`sandbar ${verb} ${named(id)}`} close={close} run={() => change("POST", path(id, `/${verb}`))}>
      <p>{words}</p>
      {verb === "resume" && quarantined.length > 0 && (
        <p>
          It is quarantined on {quarantined.map(visible).join(", ")} (<Code of="E213" />), and is started there again. If the cause is still there, the host dies up to
          three times more, and all that it runs stands still for seconds each time.
        </p>
      )}
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
