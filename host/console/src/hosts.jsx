// The hosts of the cluster, and the use of each team.

import { get } from "./api.js";
import { bytes, count, plain, visible } from "./format.js";
import { useLoad, useNow } from "./hooks.js";
import { Ago, Command, Loaded } from "./ui.jsx";

export function Hosts() {
  const now = useNow(5000);
  const hosts = useLoad((signal) => get("/v1/hosts", signal), "hosts", [now]);
  const teams = useLoad((signal) => get("/v1/teams", signal), "teams", [Math.floor(now / 30_000)]);
  return (
    <section>
      <h1>Hosts</h1>
      <Loaded of="the hosts" from={hosts}>
        {(value) => (
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
                {value.hosts.map((host) => (
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
        )}
      </Loaded>
      <Command>sandbar hosts</Command>
      <h2>Teams</h2>
      <Loaded of="the teams" from={teams}>
        {(value) => <Teams teams={value.teams} />}
      </Loaded>
      <Command>sandbar teams</Command>
    </section>
  );
}

function Teams({ teams }) {
  if (teams.length === 0) return <p class="quiet">No team that you may see has transforms.</p>;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Teams">
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
          {teams.flatMap((team) =>
            team.ceilings
              .filter(({ used }) => plain(used) > 0)
              .map(({ key, used, max, unit }, index) => (
                <tr key={`${team.team} ${key}`}>
                  <th scope="row">{index === 0 ? visible(team.team) : <span class="unseen">{visible(team.team)}</span>}</th>
                  <td>{visible(key)}</td>
                  <td class="number">{amount(unit, used)}</td>
                  <td class="number">{amount(unit, max)}</td>
                </tr>
              )),
          )}
        </tbody>
      </table>
    </div>
  );
}

function amount(unit, value) {
  return unit === "bytes" ? bytes(value) : count(value);
}
