// The JSON Schema of a spec, as the host publishes it: the fields and the words that may stand at a place.

/** The schema of a place, with those of its alternatives. The host's schema is small and refers to no circle. */
function schemasAt(schema, path) {
  const resolved = (part) => {
    if (!part) return [];
    const target = part.$ref?.startsWith("#/$defs/") ? schema.$defs?.[part.$ref.slice("#/$defs/".length)] : null;
    return [part, ...resolved(target), ...(part.oneOf ?? []).flatMap(resolved), ...(part.anyOf ?? []).flatMap(resolved)];
  };
  const step = (part, name) => {
    if (typeof name === "number") return part.items;
    if (part.properties && Object.hasOwn(part.properties, name)) return part.properties[name];
    return typeof part.additionalProperties === "object" ? part.additionalProperties : null;
  };
  return path.reduce((parts, name) => parts.flatMap((part) => resolved(step(part, name))), resolved(schema));
}

/** The fields of the mapping at a path, each with its meaning. */
export function fieldsAt(schema, path) {
  const fields = new Map();
  for (const part of schemasAt(schema, path)) {
    for (const [name, field] of Object.entries(part.properties ?? {})) {
      const parts = schemasAt(schema, [...path, name]);
      const described = parts.find(({ description }) => description);
      const types = parts.flatMap(({ type }) => type ?? []);
      const isValue = types.some((type) => !["object", "array", "null"].includes(type));
      const kind = isValue ? "value" : types.includes("array") ? "list" : "map";
      fields.set(name, { name, kind, meaning: described?.description ?? "", preset: field.default });
    }
  }
  return [...fields.values()];
}

/** The words that a field may have, where the schema lists them. */
export function wordsAt(schema, path) {
  const words = new Map();
  for (const part of schemasAt(schema, path)) {
    for (const word of part.enum ?? []) words.set(word, { name: String(word), kind: "word", meaning: part.description ?? "" });
    if (part.type === "boolean") for (const word of ["true", "false"]) words.set(word, { name: word, kind: "word", meaning: part.description ?? "" });
  }
  return [...words.values()];
}
