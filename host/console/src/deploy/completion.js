// Completes a spec, in YAML or JSON, by its JSON Schema. Where the text is not well formed yet, it guesses.

const ITEMS_MAX = 12;

/**
 * What fits at the caret: `word` is the beginning of it that is there, from `from` to `to`. An item has a `name`, a
 * `description`, and the `text` that replaces the word. Null: nothing is known of this place.
 */
export function complete(schema, text, caret) {
  const from = caret - /[\w.-]*$/.exec(text.slice(0, caret))[0].length;
  const word = text.slice(from, caret);
  const to = caret + /^[\w.-]*/.exec(text.slice(caret))[0].length;
  const place = placeOf(text, from);
  if (!place) return null;
  const { keys, value, isQuoted, siblings } = place;
  const nodes = keys.reduce((nodes, key) => nodes.flatMap((node) => below(schema, node, key)), [schema]);
  const found = value === undefined ? names(schema, nodes) : values(schema, nodes.flatMap((node) => below(schema, node, value)));
  const isNew = ({ name }) => name.startsWith(word) && (value !== undefined || !siblings.has(name));
  const end = value === undefined ? (isQuoted ? '": ' : ": ") : "";
  const items = found.filter(isNew).map((item) => ({ ...item, text: item.name + end }));
  return { word, from, to: isQuoted && value === undefined ? to + /^(":?\s?)?/.exec(text.slice(to))[0].length : to, items: items.slice(0, ITEMS_MAX) };
}

/**
 * The place that begins at `from`: the keys of the mappings around it, outermost first; `value`, the key whose value begins
 * there, or undefined if a key does; and the keys beside it.
 */
function placeOf(text, from) {
  const lineStart = text.lastIndexOf("\n", from - 1) + 1;
  const line = text.slice(lineStart, from);
  const flow = flowOf(text.slice(flowStart(text, lineStart), from));
  const isQuoted = /"$/.test(line);
  const bare = line.replace(/"$/, "");
  const value = /(?:^|[{,\s])"?([\w.-]+)"?:\s*$/.exec(bare)?.[1];
  if (value === undefined && !/(^|[{,])\s*$/.test(bare)) return null;
  const indent = /^\s*/.exec(line)[0].length;
  const block = isJson(text) ? [] : blockKeys(text.slice(0, lineStart), indent);
  return { keys: [...block, ...flow], value, isQuoted, siblings: siblingsOf(text, lineStart, indent, flow.length > 0) };
}

function isJson(text) {
  return /^\s*\{/.test(text);
}

/** JSON is one flow mapping; in YAML a flow is taken to begin on its line. */
function flowStart(text, lineStart) {
  return isJson(text) ? 0 : lineStart;
}

/** The keys of the flow mappings that are open at the end. */
function flowOf(text) {
  const open = [];
  let key = null;
  for (const [token, quoted, plain] of text.matchAll(/"((?:[^"\\]|\\.)*)"|([\w.-]+)(?=\s*:)|[{}]/g)) {
    if (token === "{") open.push(key);
    else if (token === "}") open.pop();
    else key = quoted ?? plain;
  }
  return open.filter((name) => name !== null);
}

/** The keys of the lines above that are indented less, outermost first. */
function blockKeys(above, indent) {
  const keys = [];
  let least = indent;
  for (const line of above.split("\n").reverse()) {
    const found = /^(\s*)"?([\w.-]+)"?\s*:/.exec(line);
    if (!found || found[1].length >= least) continue;
    least = found[1].length;
    keys.unshift(found[2]);
  }
  return keys;
}

/** The keys of the same mapping that are there: in a block, those of lines with the same indent, up to one with less. */
function siblingsOf(text, lineStart, indent, isFlow) {
  const found = new Set();
  if (isFlow && !isJson(text)) return found;
  const above = text.slice(0, lineStart).split("\n").slice(0, -1).reverse();
  const below = text.slice(lineStart).split("\n").slice(1);
  for (const lines of [above, below]) {
    for (const line of lines) {
      const key = /^(\s*)"?([\w.-]+)"?\s*:/.exec(line);
      if (line.trim() !== "" && /^\s*/.exec(line)[0].length < indent) break;
      if (key && key[1].length === indent) found.add(key[2]);
    }
  }
  return found;
}

/** The schema itself and the alternatives that it names. */
function resolved(schema, node) {
  if (!node || typeof node !== "object") return [];
  const named = node.$ref ? resolved(schema, schema.$defs?.[node.$ref.split("/").at(-1)]) : [];
  return [node, ...named, ...[...(node.anyOf ?? []), ...(node.oneOf ?? [])].flatMap((other) => resolved(schema, other))];
}

function below(schema, node, key) {
  return resolved(schema, node).flatMap(({ properties, additionalProperties }) => {
    const found = properties?.[key] ?? additionalProperties;
    return found && typeof found === "object" ? [found] : [];
  });
}

function names(schema, nodes) {
  const all = nodes.flatMap((node) => resolved(schema, node)).flatMap(({ properties }) => Object.entries(properties ?? {}));
  return all.map(([name, node]) => ({ name, description: describe(schema, node) }));
}

function values(schema, nodes) {
  return nodes.flatMap((node) => resolved(schema, node)).flatMap((node) => {
    const listed = node.enum ?? (node.const === undefined ? (node.type === "boolean" ? [true, false] : []) : [node.const]);
    return listed.map((value) => ({ name: String(value), description: node.description ?? "" }));
  });
}

function describe(schema, node) {
  const [first = ""] = resolved(schema, node).map(({ description }) => description).filter(Boolean);
  return first.split(/(?<=\.)\s/)[0];
}
