// The caller: its token, which stays in this tab, and its rights, by which buttons are enabled.

const KEY = "sandbar-token";

/** Who the host takes this page for; null while it is not known. */
let caller = null;
const listeners = new Set();

export function token() {
  return sessionStorage.getItem(KEY);
}

export function setToken(value) {
  if (value) sessionStorage.setItem(KEY, value);
  else sessionStorage.removeItem(KEY);
}

export function setCaller(value) {
  caller = value;
  for (const listener of listeners) listener();
}

export function currentCaller() {
  return caller;
}

export function onCaller(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Returns true if the caller has one of the roles in the team. Every role includes `view`, and `admin` all others. */
export function may(team, ...roles) {
  return (caller?.grants ?? []).some((grant) => {
    const [scope, role] = grant.split(":");
    const fits = role === "admin" || roles.includes(role) || roles.includes("view");
    return (scope === "*" || scope === team) && fits;
  });
}

/** The reason why a button is disabled; undefined if it is not. */
export function reason(team, ...roles) {
  return may(team, ...roles) ? undefined : `needs the role ${roles.join(" or ")} in team ${team}`;
}
