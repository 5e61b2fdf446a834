// The hosts of the cluster, the transforms that run on each of them, and the use of each team.

import { Fragment } from "preact";
import { memo } from "preact/compat";
import { get } from "./api.js";
import { bytes, count, cpu, millis, plain, plural, rate, visible } from "./format.js";
import { useFlow, useLoad, useNow, useRoute, useSort } from "./hooks.js";
import { route, setQuery, transformLink } from "./router.js";
import { currentCaller } from "./session.js";
import { health } from "./store.js";
import { Ago, Command, Loaded, Loading, Mark, ProblemBox, SortHead, sorted } from "./ui.jsx";

export function Hosts() {
  const now = useNow(5000);
  const hosts = useLoad((signal) => get("/v1/hosts", signal), "hosts", [now]);
  const teams = useLoad((signal) => get("/v1/teams", signal), "teams", [Math.floor(now / 30_000)]);
  return (
    <section>
      <h1>Hosts</h1>
      <Loaded of="the hosts" from={hosts}>
        {(value) => (
          <>
            <HostTable hosts={value.hosts} />
            <Command>sandbar hosts</Command>
            <h2>What runs where</h2>
            <Disclosures hosts={value.hosts} />
          </>
        )}
      </Loaded>
      <h2>Teams</h2>
      <Teams limits={teams.value?.teams ?? []} />
      <p class="quiet">
        CPU is that of the last five seconds over all hosts: calls, batches, stores and the clients of Kafka. It is counted when a transaction commits.
      </p>
      <h2>Limits in use</h2>
      <Loaded of="the teams" from={teams}>
        {(value) => <Limits teams={value.teams} />}
      </Loaded>
      <Command>sandbar teams</Command>
    </section>
  );
}

function HostTable({ hosts }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Hosts">
      <table>
        <thead>
          <tr>
            {["Host", "Version"].map((head) => (
              <th scope="col">{head}</th>
            ))}
            {["Transforms", "Placed", "Partitions"].map((head) => (
              <th scope="col" class="number">
                {head}
              </th>
            ))}
            {["Started", "Seen"].map((head) => (
              <th scope="col">{head}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {hosts.map((host) => (
            <tr key={host.host}>
              <th scope="row">
                {visible(host.host)} {host.url && <span class="quiet">{visible(host.url)}</span>}
              </th>
              <td>{visible(host.version)}</td>
              <td class="number">{count(host.transforms)}</td>
              <td class="number">{count(host.placed)}</td>
              <td class="number">{count(host.partitions)}</td>
              <td>
                <Ago at={host.started_at} />
              </td>
              <td>
                <Ago at={host.seen_at} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

// === the transforms of each host ===

/** A list of transforms for each host. The address names those that are open, and only they are made: each may have hundreds of rows. */
function Disclosures({ hosts }) {
  const flow = useFlow();
  const { query } = useRoute();
  const open = openHosts(query);
  const running = byHost(flow);
  const isLoaded = flow.transforms.size > 0 || !["opening", "broken"].includes(flow.state);
  return hosts.map(({ host, transforms, partitions }) => {
    const here = running.get(host) ?? [];
    const bad = here.filter(({ of }) => of === "bad").length;
    return (
      <details key={host} class="running" open={open.includes(host)} onToggle={({ currentTarget }) => setOpen(host, currentTarget.open)}>
        <summary>
          <strong>{visible(host)}</strong>{" "}
          <span class="quiet">
            {plural(transforms, "transform")}, {plural(partitions, "partition")}
          </span>
          {bad > 0 && <span class="bad"> ■ {count(bad)} in trouble</span>}
        </summary>
        {open.includes(host) && <Running here={here} transforms={transforms} isLoaded={isLoaded} />}
      </details>
    );
  });
}

/** The names of hosts have no comma. */
function openHosts(query) {
  return (query.get("open") ?? "").split(",").filter(Boolean);
}

/** Keeps in the address that a host is open. The address may be newer than what is drawn. */
function setOpen(host, isOpen) {
  const open = openHosts(route().query);
  if (open.includes(host) === isOpen) return;
  setQuery({ open: (isOpen ? [...open, host] : open.filter((other) => other !== host)).join(",") });
}

/** The transforms that run on each host, by team and name. */
function byHost({ transforms }) {
  const hosts = new Map();
  const all = [...transforms].sort(([left], [right]) => (left < right ? -1 : 1));
  for (const [id, transform] of all) {
    const of = health(transform);
    for (const [host, partitions] of Object.entries(transform.running_on ?? {})) {
      if (!hosts.has(host)) hosts.set(host, []);
      hosts.get(host).push({ id, team: transform.team, partitions, of });
    }
  }
  return hosts;
}

/** The transforms of one host. `transforms` is their number as the host tells it, which counts those of all teams. */
function Running({ here, transforms, isLoaded }) {
  const isWhole = currentCaller()?.grants.some((grant) => grant.startsWith("*:"));
  if (!isLoaded) return <Loading of="the flow" />;
  return (
    <>
      {here.length === 0 ? <p class="quiet">{plain(transforms) > 0 ? "The flow names none of its transforms." : "Nothing runs here."}</p> : <TeamLists here={here} />}
      {!isWhole && <p class="quiet">Transforms of teams that you may not see are not listed.</p>}
    </>
  );
}

function TeamLists({ here }) {
  return (
    <dl>
      {[...Map.groupBy(here, ({ team }) => team)].map(([team, own]) => (
        <Fragment key={team}>
          <dt>{visible(team)}</dt>
          <dd>
            <ul>
              {own.map(({ id, partitions, of }) => (
                <Row key={id} id={id} partitions={partitions} of={of} />
              ))}
            </ul>
          </dd>
        </Fragment>
      ))}
    </dl>
  );
}

/** One transform on one host. The flow changes each second, and a row only with what it shows. */
const Row = memo(function Row({ id, partitions, of }) {
  return (
    <li>
      <Mark of={of} />{" "}
      <a href={transformLink(id)} aria-label={visible(id)}>
        {visible(id.split("/")[1])}
      </a>{" "}
      <span class="quiet">{plural(partitions, "partition")}</span>
    </li>
  );
});

// === the teams ===

const COLUMNS = [
  ["team", "Team"],
  ["transforms", "Transforms", true],
  ["cpu", "CPU", true],
  ["in", "Records in", true],
  ["memory", "Largest instance", true],
  ["reserved", "Memory reserved", true],
];

function Teams({ limits }) {
  const flow = useFlow();
  const [sort, setSort] = useSort(COLUMNS, { by: "cpu", down: true });
  if (flow.transforms.size === 0) {
    if (flow.state === "refused") return <ProblemBox problem={flow.problem} />;
    if (flow.state !== "live") return <Loading of="the flow" />;
    return <p class="quiet">No team that you may see has transforms.</p>;
  }
  const teams = byTeam(flow, limits);
  // What is equal stays in the order of the names, also where the highest value comes first.
  const rows = sorted(sort.down ? teams.reverse() : teams, sort, value);
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Teams">
      <table>
        <thead>
          <tr>
            {COLUMNS.map(([name, label, numeric]) => (
              <SortHead name={name} label={label} numeric={numeric} sort={sort} setSort={setSort} />
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(({ team, transforms, cpu: millicores, in: perMinute, memory, reserved }) => (
            <tr key={team}>
              <th scope="row">{visible(team)}</th>
              <td class="number">{count(transforms)}</td>
              <td class="number">{cpu(millicores)}</td>
              <td class="number">{rate(perMinute)}</td>
              <td class="number">{bytes(memory)}</td>
              <td class="number">{reserved ? `${bytes(reserved.used)} of ${bytes(reserved.max)}` : "-"}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function value(row, by) {
  return by === "reserved" ? row.reserved?.used : row[by];
}

/** The teams that have transforms, by name. `limits` are those of `GET /v1/teams`. */
function byTeam({ transforms }, limits) {
  const ceilings = new Map(limits.map((limit) => [limit.team, limit.ceilings]));
  const teams = [...Map.groupBy(transforms.values(), ({ team }) => team)].map(([team, own]) => ({
    team,
    transforms: own.length,
    cpu: total(own, "cpu_millicores"),
    in: total(own, "in_per_minute"),
    memory: own.reduce((largest, { activity }) => (activity ? Math.max(largest ?? 0, activity.memory_bytes) : largest), null),
    reserved: ceilings.get(team)?.find(({ key }) => key === "memory_bytes_max"),
  }));
  return teams.sort((left, right) => (left.team < right.team ? -1 : 1));
}

/** A sum over transforms. Those that run nowhere use nothing; null if those that run do not tell it. */
function total(transforms, field) {
  const running = transforms.filter(({ hosts }) => hosts > 0);
  if (running.length > 0 && running.every(({ activity }) => activity?.[field] === undefined)) return null;
  return transforms.reduce((sum, { activity }) => sum + (activity?.[field] ?? 0), 0);
}

function Limits({ teams }) {
  const rows = teams.flatMap(({ team, ceilings }) => ceilings.filter(({ used }) => plain(used) > 0).map((ceiling, index) => ({ team, isFirst: index === 0, ...ceiling })));
  if (rows.length === 0) return <p class="quiet">No team that you may see uses any.</p>;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Limits in use">
      <table>
        <thead>
          <tr>
            <th scope="col">Team</th>
            <th scope="col">Limit</th>
            <th scope="col" class="number">
              Used
            </th>
            <th scope="col" class="number">
              Of
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ team, isFirst, key, used, max, unit }) => (
            <tr key={`${team} ${key}`}>
              <th scope="row">{isFirst ? visible(team) : <span class="unseen">{visible(team)}</span>}</th>
              <td>{visible(key)}</td>
              <td class="number">{amount(unit, used)}</td>
              <td class="number">{amount(unit, max)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function amount(unit, value) {
  if (unit === "bytes") return bytes(value);
  return unit === "millis" ? millis(value) : count(value);
}
