// The start: the whole flow at a glance, as a graph or as a list.

import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { compact, millis, named, plural, rate, visible } from "../format.js";
import { useFlow, useRoute, useTransform } from "../hooks.js";
import { setQuery, transformLink } from "../router.js";
import { currentCaller } from "../session.js";
import { flow as store, health, inWords } from "../store.js";
import { Ago, Check, Code, Command, Filter, Loading, Mark, ProblemBox, Spark, StateOf } from "../ui.jsx";
import { GraphView } from "./graph_view.jsx";
import { aroundTrouble, graphOf, shapeOf } from "./graph.js";
import { FlowList } from "./list.jsx";

export function Flow() {
  const flow = useFlow();
  const { query } = useRoute();
  const text = query.get("q") ?? "";
  const team = query.get("team") ?? "";
  const isTrouble = query.get("trouble") === "1";
  const selected = query.get("node");
  const view = query.get("view") ?? (innerWidth < 720 ? "list" : "graph");

  const all = [...flow.transforms.values()].sort((a, b) => (`${a.team}/${a.name}` < `${b.team}/${b.name}` ? -1 : 1));
  const shown = filtered(all, { text, team, isTrouble });
  const next = graphOf(shown);
  const shape = shapeOf(next);
  // A graph of the same shape is the same graph: its nodes follow their transforms by themselves.
  const graph = useMemo(() => next, [shape]);
  const [isBroken, setBroken] = useState(false);
  const fail = useCallback(() => setBroken(true), []);

  if (flow.state === "refused" && all.length === 0) return <ProblemBox problem={flow.problem} />;
  if (flow.state !== "live" && all.length === 0) return <Loading of="the flow" />;
  if (all.length === 0) return currentCaller()?.grants.length === 0 ? <NoRole /> : <Empty />;
  const isSplit = selected && view === "graph";
  const teams = [...new Set(all.map((transform) => transform.team))];
  return (
    <section class="flow">
      <h1 class="unseen">Flow</h1>
      <Summary all={all} shown={shown} />
      <div class="row tools" role="search">
        <Filter label="Find" value={text} onInput={(q) => setQuery({ q })} placeholder="transform or topic ( / )" />
        <label class="filter">
          <span>Team</span>
          <select value={team} onChange={(event) => setQuery({ team: event.currentTarget.value })}>
            <option value="">all</option>
            {teams.map((name) => (
              <option value={name}>{name}</option>
            ))}
          </select>
        </label>
        <Check label="Trouble only" value={isTrouble} onChange={(on) => setQuery({ trouble: on ? "1" : "" })} />
        <div class="switch" role="group" aria-label="View">
          {["graph", "list"].map((name) => (
            <button
              type="button"
              aria-pressed={view === name}
              onClick={() => {
                setBroken(false);
                setQuery({ view: name });
              }}
            >
              {name}
            </button>
          ))}
        </div>
      </div>
      {view === "graph" && isBroken && (
        <p class="state warn" role="status">
          <Mark of="warn" /> The graph cannot be laid out: this is the list. Press "graph" to try it again.
        </p>
      )}
      {shown.length === 0 ? (
        <p class="quiet">{isTrouble ? "No transform is in trouble." : "No transform or topic has this in its name."}</p>
      ) : (
        <div class={isSplit ? "split" : ""} onKeyDown={(event) => event.key === "Escape" && isSplit && leave()}>
          {view === "graph" && !isBroken ? <GraphView graph={graph} selected={selected} select={select} fail={fail} /> : <FlowList transforms={shown} />}
          {isSplit && <Beside node={selected} all={all} close={leave} />}
        </div>
      )}
      <Command>{team ? `sandbar list ${named(team, "TEAM")}` : "sandbar list"}</Command>
    </section>
  );
}

function select(node) {
  setQuery({ node: node ?? "" });
}

/** Closes what is beside the graph. The focus goes back to its node, unless a filter has taken that away. */
function leave() {
  const opener = document.querySelector(".node[aria-pressed=true]") ?? document.getElementById("main");
  select(null);
  opener.focus();
}

function filtered(all, { text, team, isTrouble }) {
  const wanted = text.toLowerCase();
  const hasWord = ({ team: own, name, inputs, outputs, tables }) =>
    [`${own}/${name}`, ...inputs, ...outputs, ...tables].some((word) => word.toLowerCase().includes(wanted));
  const found = all.filter((transform) => (!team || transform.team === team) && (!wanted || hasWord(transform)));
  return isTrouble ? aroundTrouble(found, (transform) => health(transform) === "bad") : found;
}

function Summary({ all, shown }) {
  const bad = all.filter((transform) => health(transform) === "bad");
  const warned = all.filter((transform) => health(transform) === "warn").length;
  const sum = (value) => all.reduce((total, { activity }) => total + (activity?.[value] ?? 0), 0);
  const lag = all.reduce((total, transform) => total + (transform.lag ?? 0), 0);
  return (
    <p class="summary">
      <strong>{plural(all.length, "transform")}</strong> of {plural(new Set(all.map(({ team }) => team)).size, "team")}
      {shown.length < all.length && <span class="quiet"> ({shown.length} shown)</span>}: {rate(sum("in_per_minute"))} in, {rate(sum("out_per_minute"))} out, {compact(lag)} behind.{" "}
      {bad.length === 0 ? (
        <span class="state ok">
          <Mark of="ok" /> None in trouble{warned > 0 && `, ${warned} with a warning`}.
        </span>
      ) : (
        <span class="state bad">
          <Mark of="bad" /> {bad.length} in trouble:{" "}
          {bad.slice(0, 5).map(({ team, name }, index) => (
            <>
              {index > 0 && ", "}
              <a href={transformLink(`${team}/${name}`)}>
                {team}/{name}
              </a>
            </>
          ))}
          {bad.length > 5 && ` and ${bad.length - 5} more`}
        </span>
      )}
    </p>
  );
}

/** The selected node, beside the graph. It takes the focus from its node: hundreds of others may lie between the two. */
function Beside({ node, all, close }) {
  const [kind, ...rest] = node.split(" ");
  const name = rest.join(" ");
  const aside = useRef(null);
  useEffect(() => {
    if (document.activeElement?.closest(".node")) aside.current.focus();
  }, [node]);
  return (
    <aside ref={aside} class="beside" tabIndex={-1} aria-label={`${kind} ${name}`}>
      <button type="button" class="small close" onClick={close} aria-label="Close">
        ✕
      </button>
      {kind === "topic" ? <TopicBeside name={name} all={all} /> : <TransformBeside id={name} />}
    </aside>
  );
}

function TransformBeside({ id }) {
  const transform = useTransform(id);
  if (!transform) return <p class="quiet">There is no transform {visible(id)} any more.</p>;
  const { activity, lag, error, changed_at, partitions } = transform;
  const numbers = [
    ["In", rate(activity?.in_per_minute)],
    ["Out", rate(activity?.out_per_minute)],
    ["Failed", rate(activity?.failed_per_minute)],
    ["Lag", compact(lag)],
    ["Latency p99", millis(activity?.latency_p99_ms)],
    ["Partitions", Object.entries(partitions).map(([state, number]) => `${number} ${state}`).join(", ") || "none"],
  ];
  return (
    <>
      <h2>
        <a href={transformLink(id)}>{visible(id)}</a>
      </h2>
      <p>
        <StateOf transform={transform} />
        {error && !inWords(transform).includes(error) && <>{" "}<Code of={error} /></>}
      </p>
      <Spark points={store.recent.get(id)} label={`records in over the last minutes, now ${rate(activity?.in_per_minute)}`} />
      <dl>
        {numbers.map(([term, value]) => (
          <>
            <dt>{term}</dt>
            <dd>{value}</dd>
          </>
        ))}
        <dt>Changed</dt>
        <dd>
          <Ago at={changed_at} />
        </dd>
      </dl>
      <p>
        <a href={transformLink(id)}>Open {visible(id)}</a> · <a href={transformLink(id, "records")}>Records</a> · <a href={transformLink(id, "logs")}>Logs</a>
      </p>
    </>
  );
}

function TopicBeside({ name, all }) {
  const reads = all.filter(({ inputs }) => inputs.includes(name));
  const tables = all.filter(({ tables: used }) => used.includes(name));
  const writes = all.filter(({ outputs, dead_letters }) => outputs.includes(name) || dead_letters === name);
  const list = (title, transforms) =>
    transforms.length > 0 && (
      <>
        <h3>{title}</h3>
        <ul>
          {transforms.map(({ team, name: own }) => (
            <li>
              <a href={transformLink(`${team}/${own}`)}>
                {team}/{own}
              </a>
            </li>
          ))}
        </ul>
      </>
    );
  return (
    <>
      <h2>{visible(name)}</h2>
      <p class="quiet">Topic</p>
      {list("Written by", writes)}
      {list("Read by", reads)}
      {list("A table of", tables)}
    </>
  );
}

/** What a caller sees who has no role: not even if there are transforms. */
function NoRole() {
  return (
    <section class="narrow">
      <h1>You have no role yet</h1>
      <p>
        The host knows you as <strong>{visible(currentCaller().name)}</strong>. You have no role in any team, so it shows you nothing.
      </p>
      <Command>sandbar whoami</Command>
      <p>
        Ask an admin of the team whose transforms you want to see, or an admin of the cluster. They give the role <code>view</code> to one of your groups at the
        identity provider, or they make a token that has it:
      </p>
      <Command>sandbar token create --team TEAM --role view --name console</Command>
    </section>
  );
}

/** The way to the first transform. */
function Empty() {
  return (
    <section class="narrow">
      <h1>No transform yet</h1>
      <p>Three commands lead to the first one:</p>
      <Command>sandbar new big-orders --template filter --team shop</Command>
      <Command>cd big-orders && sandbar build</Command>
      <Command>sandbar deploy</Command>
      <p>
        Or <a href="#/deploy">drop a module and its spec on the page</a>.
      </p>
    </section>
  );
}
