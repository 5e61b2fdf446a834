// The picture of the flow. The page scrolls it, so that it moves with fingers, wheel and keys; each node draws itself again
// when its own transform has changed, and nothing else does. Nothing in a node is clipped: each clip is a part of its own that
// the browser composes again in every frame of a scroll.

import { memo } from "preact/compat";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { compact, rate, visible } from "../format.js";
import { useTransform } from "../hooks.js";
import { flow, health, inWords } from "../store.js";
import { Mark, Spark } from "../ui.jsx";
import { TOPIC, edgeRate, shapeOf } from "./graph.js";

/** Edges beyond which rates are shown on hover alone: each edge has its own in its title. */
const LABELS_MAX = 150;
/** Characters of a name that fit into a node. Its title has all of them. */
const NAME_CHARS_MAX = 22;
const TOPIC_CHARS_MAX = 18;
const ZOOMS = [0.35, 0.5, 0.75, 1];

/** `fail` is called if the graph cannot be laid out. */
export const GraphView = memo(function GraphView({ graph, selected, select, fail }) {
  const shape = shapeOf(graph);
  const layout = useLayout(graph, shape, fail);
  const frame = useRef(null);
  const [zoom, setZoom] = useState(null);
  const teams = useMemo(() => [...new Set(graph.nodes.filter(({ id }) => id).map(({ id }) => id.split("/")[0]))].sort(), [shape]);
  if (!layout) return <p class="quiet" role="status">Laying out {graph.nodes.length} nodes ...</p>;
  const { places, paths, width, height } = layout;
  const fit = Math.min(1, Math.max(0.6, ((frame.current?.clientWidth ?? innerWidth) - 4) / width));
  const scale = zoom ?? fit;
  return (
    <div class="graph-frame">
      <div class="zoom row" role="group" aria-label="Zoom">
        {ZOOMS.map((value) => (
          <button type="button" class="small" aria-pressed={Math.abs(scale - value) < 0.01} onClick={() => setZoom(value)}>
            {Math.round(value * 100)} %
          </button>
        ))}
        <button type="button" class="small" aria-pressed={zoom === null} onClick={() => setZoom(null)}>
          Fit
        </button>
      </div>
      <div class="graph-scroll" ref={frame} tabIndex={0} role="region" aria-label="Graph of topics and transforms">
        <div class="graph-size" style={{ width: `${width * scale}px`, height: `${height * scale}px` }}>
          <div class="graph" style={{ width: `${width}px`, height: `${height}px`, transform: `scale(${scale})` }}>
            <svg width={width} height={height} aria-hidden="true">
              {graph.edges.map((edge) => paths.has(edge.key) && <Edge key={edge.key} edge={edge} points={paths.get(edge.key)} hasLabel={graph.edges.length <= LABELS_MAX} />)}
            </svg>
            {graph.nodes.map((node) => {
              const place = places.get(node.key);
              if (!place) return null;
              if (node.kind === "topic") return <Topic key={node.key} name={node.name} x={place.x} y={place.y} isSelected={selected === node.key} select={select} />;
              return <Transform key={node.key} id={node.id} x={place.x} y={place.y} lane={teams.indexOf(node.id.split("/")[0]) % 6} isSelected={selected === node.key} select={select} />;
            })}
          </div>
        </div>
      </div>
    </div>
  );
}, same);

/**
 * The places of all nodes, from a worker, which has one graph at a time: those that come meanwhile are left out, except the newest.
 * The last places stay until the next are there.
 */
function useLayout(graph, shape, fail) {
  const [layout, setLayout] = useState(null);
  const worker = useRef(null);
  const due = useRef(null);
  const isBusy = useRef(false);
  const post = () => {
    if (isBusy.current || !due.current) return;
    worker.current.postMessage(due.current);
    due.current = null;
    isBusy.current = true;
  };
  useEffect(() => {
    worker.current = new Worker("/console/layout.js");
    worker.current.onmessage = ({ data }) => {
      isBusy.current = false;
      if (!due.current) setLayout({ ...data, places: new Map(data.places), paths: new Map(data.paths) });
      post();
    };
    worker.current.onerror = fail;
    return () => worker.current.terminate();
  }, []);
  useEffect(() => {
    const { nodes, edges } = graph;
    due.current = { nodes: nodes.map(({ key, width, height }) => ({ key, width, height })), edges: edges.map(({ key, from, to }) => ({ key, from, to })) };
    post();
  }, [shape]);
  return layout;
}

const Edge = memo(function Edge({ edge, points, hasLabel }) {
  const transform = useTransform(edge.id);
  const perMinute = edgeRate(edge, transform);
  const width = perMinute ? 1.5 + Math.min(7, Math.log10(1 + perMinute / 6) * 1.5) : 1;
  const kind = edge.kind === "dead" && perMinute > 0 ? "edge dead bad" : `edge ${edge.kind}`;
  const middle = points[Math.floor(points.length / 2)];
  return (
    <g>
      <title>{`${nameOf(edge.from)} → ${nameOf(edge.to)}${perMinute === null ? "" : `: ${rate(perMinute)}`}`}</title>
      <path class={kind} d={curve(points)} stroke-width={width} />
      {hasLabel && perMinute > 0 && (
        <text class="edge-rate" x={middle[0]} y={middle[1] - 6} text-anchor="middle">
          {rate(perMinute)}
        </text>
      )}
    </g>
  );
}, same);

/** The name in the key of a node. */
function nameOf(key) {
  return visible(key.slice(key.indexOf(" ") + 1));
}

/** A smooth line through the points, level where it leaves and where it arrives. */
function curve(points) {
  const [first, ...rest] = points;
  let [x, y] = first;
  let path = `M${x},${y}`;
  for (const [toX, toY] of rest) {
    const half = (x + toX) / 2;
    path += `C${half},${y} ${half},${toY} ${toX},${toY}`;
    [x, y] = [toX, toY];
  }
  return path;
}

const Transform = memo(function Transform({ id, x, y, lane, isSelected, select }) {
  const transform = useTransform(id);
  if (!transform) return null;
  const of = health(transform);
  const [team, name] = id.split("/");
  const { activity, lag } = transform;
  const words = inWords(transform);
  const rates = `${rate(activity?.in_per_minute)} in, ${rate(activity?.out_per_minute)} out`;
  return (
    <button
      type="button"
      class={`node transform ${of} lane-${lane}`}
      style={{ left: `${x}px`, top: `${y}px` }}
      aria-pressed={isSelected}
      title={`${id}\n${words}\n${rates}`}
      onClick={() => select(`transform ${id}`)}
    >
      <span class="node-words">{`transform ${id}: ${words}, ${rates}`}</span>
      <span class="node-team" aria-hidden="true">
        <span>{short(team, NAME_CHARS_MAX)}</span> <Mark of={of} />
      </span>
      <span class="node-name" aria-hidden="true">{short(visible(name), NAME_CHARS_MAX)}</span>
      <span class="node-numbers" aria-hidden="true">
        <span>{rate(activity?.in_per_minute)}</span>
        <span class={of === "bad" ? "bad" : ""}>lag {compact(lag)}</span>
        <Spark points={flow.recent.get(id)} />
      </span>
    </button>
  );
}, same);

const Topic = memo(function Topic({ name, x, y, isSelected, select }) {
  return (
    <button type="button" class="node topic" style={{ left: `${x}px`, top: `${y}px`, width: `${TOPIC.width}px` }} aria-pressed={isSelected} title={name} onClick={() => select(`topic ${name}`)}>
      <span class="node-words">{`topic ${name}`}</span>
      <span aria-hidden="true">{short(visible(name), TOPIC_CHARS_MAX)}</span>
    </button>
  );
}, same);

/** A name up to a length, with its beginning and its end: names often differ there. */
function short(name, max) {
  const half = Math.floor((max - 1) / 2);
  return name.length > max ? `${name.slice(0, max - 1 - half)}…${name.slice(-half)}` : name;
}

function same(a, b) {
  return Object.keys(b).every((key) => a[key] === b[key] || (key === "edge" && a.edge.key === b.edge.key));
}
