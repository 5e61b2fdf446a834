// Refusals that came after somebody had left the page that asked: every page shows them until they are dismissed.

/** The newest last: `{number, about, problem}`. */
let notices = [];
let number = 0;
const listeners = new Set();

function set(next) {
  notices = next;
  for (const listener of listeners) listener();
}

/** Adds a refusal. `about` names the change and its transform. */
export function tell(about, problem) {
  number += 1;
  set([...notices, { number, about, problem }]);
}

export function dismiss(notice) {
  set(notices.filter((other) => other !== notice));
}

export function currentNotices() {
  return notices;
}

export function onNotices(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
