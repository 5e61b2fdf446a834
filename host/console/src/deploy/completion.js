// Completion in the text of a spec: what may stand at the caret, and the text that takes the place of the word there.

import { placeOf } from "./spec_text.js";
import { fieldsAt, wordsAt } from "./schema.js";

/** The options at the caret that begin with the word there; null where there are none. */
export function completionAt(schema, text, caret) {
  const place = schema && placeOf(text, caret);
  if (!place || (!place.isKey && !place.isValue)) return null;
  const all = place.isKey ? fieldsAt(schema, place.path).filter(({ name }) => !place.keys.includes(name)) : wordsAt(schema, place.path);
  const options = all.filter(({ name }) => name.startsWith(place.word));
  return options.length > 0 ? { ...place, options } : null;
}

/** The text of a chosen option, and the number of characters after its end that the caret goes back. */
export function textOf(option, { isJson, isFlow, isKey, indent }) {
  if (!isKey) return { text: isJson && !["true", "false"].includes(option.name) ? `"${option.name}"` : option.name, back: 0 };
  if (isJson) {
    const [value, back] = { map: ["{}", 1], list: ["[]", 1] }[option.kind] ?? ["", 0];
    return { text: `"${option.name}": ${value}`, back };
  }
  if (option.kind === "list") return { text: `${option.name}: []`, back: 1 };
  if (option.kind === "map") return isFlow ? { text: `${option.name}: {}`, back: 1 } : { text: `${option.name}:\n${" ".repeat(indent + 2)}`, back: 0 };
  return { text: `${option.name}: `, back: 0 };
}
