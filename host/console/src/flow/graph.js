// The graph of topics and transforms, made of the flow: who reads whose data.

export const TRANSFORM = { width: 204, height: 72 };
export const TOPIC = { width: 160, height: 28 };

/** Transforms that have had dead letters since the page was opened: a graph that changes with each of them would not stand still. */
const withLetters = new Set();

/** Nodes and edges of some transforms: topics in their order, each once. */
export function graphOf(transforms) {
  const nodes = new Map();
  const edges = [];
  const readers = new Set(transforms.flatMap(({ inputs, tables }) => [...inputs, ...tables]));
  const topic = (name) => {
    const key = `topic ${name}`;
    if (!nodes.has(key)) nodes.set(key, { key, kind: "topic", name, ...TOPIC });
    return key;
  };
  for (const transform of transforms) {
    const id = `${transform.team}/${transform.name}`;
    const key = `transform ${id}`;
    nodes.set(key, { key, kind: "transform", id, ...TRANSFORM });
    const edge = (kind, from, to, name) => edges.push({ key: `${kind} ${from} ${to}`, kind, from, to, id, topic: name });
    for (const name of transform.inputs) edge("input", topic(name), key, name);
    for (const name of new Set(transform.tables)) edge("table", topic(name), key, name);
    for (const name of new Set(transform.outputs)) edge("output", key, topic(name), name);
    // Dead letters are a part of the flow where somebody reads them, or where there are some.
    const letters = transform.dead_letters;
    if (transform.activity?.failed_per_minute > 0) withLetters.add(id);
    if (letters && (readers.has(letters) || withLetters.has(id))) edge("dead", key, topic(letters), letters);
  }
  return { nodes: [...nodes.values()], edges };
}

/** The shape of a graph as text: the same shape has the same places. */
export function shapeOf({ nodes, edges }) {
  return `${nodes.map(({ key }) => key).join("\n")}\n\n${edges.map(({ key }) => key).join("\n")}`;
}

/** The rate of an edge now, in records a minute; null where nobody tells it. */
export function edgeRate(edge, transform) {
  const activity = transform?.activity;
  if (!activity || edge.kind === "table") return null;
  if (edge.kind === "dead") return activity.failed_per_minute;
  const rates = (edge.kind === "input" ? activity.inputs : activity.outputs) ?? [];
  return rates.find(({ topic }) => topic === edge.topic)?.per_minute ?? 0;
}

/** Transforms in trouble, and those that share a topic with one. */
export function aroundTrouble(transforms, isTrouble) {
  const bad = transforms.filter(isTrouble);
  const topics = new Set(bad.flatMap(({ inputs, outputs }) => [...inputs, ...outputs]));
  const touches = ({ inputs, outputs, tables }) => [...inputs, ...outputs, ...tables].some((topic) => topics.has(topic));
  return transforms.filter((transform) => isTrouble(transform) || touches(transform));
}
