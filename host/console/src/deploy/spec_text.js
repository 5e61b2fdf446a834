// A spec as text, YAML or JSON: the place of each field, and the place in the document where the caret stands. It reads the text
// once, as far as it is well-formed; the host decides if it is a spec.

import { stringEnd } from "../format.js";

/** Places beyond which nothing more is looked for: a text of another kind may have any number. */
const PLACES_MAX = 10_000;
const KEY = /^(?:"((?:[^"\\]|\\.)*)"\s*|'((?:[^']|'')*)'\s*|([^\s"'#{}[\],&*!|>%@`-][^:#{}[\],"']*)):(?=\s|$)/;

/**
 * Reads a text. `places` has the line (from 1) of each field and item by its path, `path` is that of the end of the text, and
 * `isKey` is true if a key may stand there.
 */
function read(text) {
  const places = new Map();
  /** Open mappings and sequences by indentation: `{indent, key}` or `{indent, index}`. */
  const blocks = [];
  /** Open braces and brackets: `{open, key, index, token}`. */
  const flows = [];
  let scalar = -1;
  let isKey = true;
  const path = () => [...blocks, ...flows].map((frame) => frame.key ?? frame.index).filter((part) => part !== null && part !== undefined);
  const note = (line) => {
    const place = path().join("\n");
    if (!places.has(place) && places.size < PLACES_MAX) places.set(place, line);
  };

  /** Reads characters in which braces and brackets count. */
  const readFlow = (rest, line) => {
    for (let at = 0; at < rest.length; at += 1) {
      const char = rest[at];
      const top = flows.at(-1);
      if (char === '"' || char === "'") {
        const end = stringEnd(rest, at);
        if (top) take(top, rest.slice(at + 1, end - 1), line);
        at = end - 1;
      } else if (char === "#" && (at === 0 || /\s/.test(rest[at - 1]))) {
        return;
      } else if (char === "{" || char === "[") {
        if (top) take(top, "", line);
        else if (rest.slice(0, at).trim() !== "") return;
        flows.push(char === "{" ? { open: char, key: null, token: "" } : { open: char, index: 0, token: "" });
      } else if (!top) {
        if (!/\s/.test(char)) return;
      } else if (char === "}" || char === "]") {
        flows.pop();
      } else if (char === ",") {
        if (top.open === "[") top.index += 1;
        else top.key = null;
        top.token = "";
      } else if (char === ":" && top.open === "{" && top.key === null) {
        top.key = top.token.trim();
        note(line);
      } else if (!/\s/.test(char) || top.token) {
        take(top, top.token + char, line);
      }
    }
  };
  const take = (top, token, line) => {
    if (top.open === "[" && !top.token) note(line);
    top.token = token;
  };

  const lines = text.split("\n");
  lines.forEach((whole, index) => {
    const line = index + 1;
    const content = whole.replace(/\r$/, "");
    if (flows.length > 0) {
      readFlow(content, line);
      return;
    }
    let rest = content.trimStart();
    let column = content.length - rest.length;
    const isLast = line === lines.length;
    if (scalar >= 0 && (column > scalar || (rest === "" && !isLast))) {
      isKey = false;
      return;
    }
    scalar = -1;
    if (rest.startsWith("#") || (rest === "" && !isLast)) return;
    while (/^-(\s|$)/.test(rest)) {
      while (blocks.length > 0 && blocks.at(-1).indent > column) blocks.pop();
      const top = blocks.at(-1);
      if (top?.indent === column && top.index !== undefined) top.index += 1;
      else blocks.push({ indent: column, index: 0 });
      note(line);
      const dash = /^-\s*/.exec(rest)[0];
      column += dash.length;
      rest = rest.slice(dash.length);
    }
    // A mapping or sequence ends where a line begins further to the left.
    while (blocks.length > 0 && blocks.at(-1).indent >= column) blocks.pop();
    isKey = rest === "";
    const key = KEY.exec(rest);
    if (key) {
      blocks.push({ indent: column, key: key[1] ?? key[2]?.replaceAll("''", "'") ?? key[3].trim() });
      note(line);
      const value = rest.slice(key[0].length);
      if (/^\s*[|>][-+\d]*\s*$/.test(value)) scalar = column;
      else readFlow(value, line);
    } else if (/^[{[]/.test(rest)) {
      readFlow(rest, line);
    }
  });
  const inner = flows.at(-1);
  if (inner) isKey = inner.open === "{" && inner.key === null && !inner.token;
  return { places, path: path(), isKey, isFlow: inner !== undefined };
}

/** A function that finds the line (from 1) of a field such as `limits.memory` or `inputs[1]`: its own, or else that of the nearest one around it; 0 if there is none. */
export function linesOf(text) {
  const { places } = read(text);
  return (field) => {
    const parts = field.split(/[.[\]]+/).filter(Boolean);
    // A name may have dots itself, such as that of a topic: longer names come first.
    const find = (prefix, rest) => {
      let best = { line: places.get(prefix.join("\n")) ?? 0, depth: prefix.length };
      for (let take = rest.length; take > 0; take -= 1) {
        const next = [...prefix, rest.slice(0, take).join(".")];
        if (!places.has(next.join("\n"))) continue;
        return find(next, rest.slice(take));
      }
      return best;
    };
    return find([], parts).line;
  };
}

/**
 * The place of the caret: the path of the mapping or field that it stands in, and the beginning of the word before it. `keys` are
 * those that the mapping has already. Null where nothing can be completed.
 */
export function placeOf(text, caret) {
  const before = text.slice(0, caret);
  const word = /["']?[\w-]*$/.exec(before)[0];
  const start = caret - word.length;
  const { path, isKey, isFlow } = read(text.slice(0, start));
  const line = before.slice(before.lastIndexOf("\n") + 1);
  if (/(^|\s)#/.test(line)) return null;
  const depth = path.length + 1;
  const prefix = path.map((part) => `${part}\n`).join("");
  const keys = [...read(text).places.keys()].filter((place) => place.startsWith(prefix) && place.split("\n").length === depth).map((place) => place.split("\n").at(-1));
  // A word within a value is none that the schema knows.
  const isValue = !isKey && /:\s+$/.test(line.slice(0, line.length - word.length));
  const indent = line.length - word.length;
  return { path, isKey, isValue, isFlow, indent, start, word: word.replace(/^["']/, ""), isJson: /^\s*\{/.test(text), keys };
}
