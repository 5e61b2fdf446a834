// Lays a graph out from left to right, on a thread of its own: hundreds of nodes take a second.

import dagre from "@dagrejs/dagre";

onmessage = ({ data: { nodes, edges } }) => {
  const graph = new dagre.graphlib.Graph({ multigraph: true });
  // The best ranks of a large graph take too long.
  const ranker = nodes.length > 300 ? "longest-path" : "network-simplex";
  graph.setGraph({ rankdir: "LR", nodesep: 18, ranksep: 66, marginx: 24, marginy: 24, ranker });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const { key, width, height } of nodes) graph.setNode(key, { width, height });
  for (const { key, from, to } of edges) graph.setEdge(from, to, {}, key);
  dagre.layout(graph);
  const places = nodes.map(({ key }) => {
    const { x, y, width, height } = graph.node(key);
    return [key, { x: Math.round(x - width / 2), y: Math.round(y - height / 2) }];
  });
  const paths = edges.map(({ key, from, to }) => [key, path(graph.node(from), graph.edge(from, to, key).points, graph.node(to))]);
  const { width, height } = graph.graph();
  postMessage({ places, paths, width: Math.ceil(width) || 0, height: Math.ceil(height) || 0 });
};

/** The points of an edge, from the middle of a node's right side to the middle of the other's left side. */
function path(from, points, to) {
  const between = points.slice(1, -1).map(({ x, y }) => [x, y]);
  // An edge that leads back leaves and arrives on the other sides.
  const side = to.x >= from.x ? 1 : -1;
  const ends = [[from.x + (side * from.width) / 2, from.y], [to.x - (side * to.width) / 2, to.y]];
  return [ends[0], ...between, ends[1]].map((point) => point.map(Math.round));
}
