// The view that the address names: everything after `#`, so that a reload and a link lead to the same place.

export function route() {
  const [path, query = ""] = location.hash.replace(/^#/, "").split("?");
  const parts = path.split("/").filter(Boolean).map(decode);
  return { parts, query: new URLSearchParams(query) };
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export function link(...parts) {
  return `#/${parts.map(encodeURIComponent).join("/")}`;
}

export function transformLink(id, tab) {
  const [team, name] = id.split("/");
  return tab ? link("t", team, name, tab) : link("t", team, name);
}

export function go(address) {
  location.hash = address;
}

/** Sets fields of the query without a new entry in the history. */
export function setQuery(fields) {
  const { query } = route();
  for (const [name, value] of Object.entries(fields)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  const text = query.toString();
  const path = location.hash.replace(/^#/, "").split("?")[0] || "/";
  history.replaceState(null, "", `#${path}${text ? `?${text}` : ""}`);
  dispatchEvent(new HashChangeEvent("hashchange"));
}
