// Requests to this host. Every answer that refuses becomes a `Problem`, with its code, hint and page.

import { token } from "./session.js";

export class Problem extends Error {
  constructor(status, details) {
    super(details.detail ?? details.title ?? `the host answered ${status}`);
    this.status = status;
    this.code = details.code;
    this.title = details.title;
    this.hint = details.hint;
    // A proxy may have errors of another form.
    this.errors = Array.isArray(details.errors) ? details.errors.filter((error) => typeof error?.field === "string") : [];
  }
}

/** Returns true for a failure that says nothing about the request: nobody has answered, or nobody who could work on it. */
export function isUnknown({ status }) {
  return !status || status === 429 || status >= 500;
}

/** Sends a request and reads the whole answer: its status, and its body as `text()` or `json()`. All that goes wrong is a `Problem`. */
export async function send(method, path, options = {}) {
  const answer = await ask(method, path, options);
  const text = await arrived(answer.text(), options.signal, UNREADABLE);
  return { status: answer.status, text: () => text, json: (parse = JSON.parse) => parsed(text, parse) };
}

const UNANSWERED = { detail: "this host does not answer", hint: "it may be starting again" };
const UNREADABLE = { detail: "the answer cannot be read", hint: "the connection broke, or a proxy answered in the place of the host" };

/** Sends a request; the answer, whose body has not been read, or a `Problem`. */
async function ask(method, path, { body, headers = {}, signal } = {}) {
  const own = { "sandbar-request": "1", ...headers };
  if (token()) own.authorization = `Bearer ${token()}`;
  if (body !== undefined && !(body instanceof FormData) && typeof body !== "string") {
    own["content-type"] = "application/json";
    body = JSON.stringify(body);
  }
  // A redirect leads to another host, which this page may not ask. A proxy before the host may want its cookie or a client's
  // certificate; the host sets no cookie, and lets in no other page's request.
  const sent = fetch(path, { method, headers: own, body, signal, redirect: "manual", cache: "no-store", credentials: "same-origin" });
  const answer = await arrived(sent, signal, UNANSWERED);
  if (answer.type === "opaqueredirect") {
    throw new Problem(307, { detail: "another host has this", hint: "the command below asks it" });
  }
  if (answer.ok) return answer;
  // The status says enough if the rest of a refusal is lost.
  throw new Problem(answer.status, refusal(await answer.text().catch(() => "")));
}

/** Waits for a part of an answer. A failure is a `Problem`, unless the page itself gave the request up. */
async function arrived(part, signal, details) {
  try {
    return await part;
  } catch (error) {
    if (signal?.aborted && signal.reason.name !== "TimeoutError") throw error;
    throw new Problem(0, details);
  }
}

/** Parses the body of an answer, which the API has as an object. */
function parsed(text, parse) {
  let value = null;
  try {
    value = parse(text);
  } catch {
    // Another form of text is told below.
  }
  if (typeof value !== "object" || value === null) throw new Problem(0, UNREADABLE);
  return value;
}

/** The details of a refusal. A proxy may answer with a page, or with other JSON than the host's. */
function refusal(text) {
  try {
    return parsed(text, JSON.parse);
  } catch {
    return /^\s*(<|$)/.test(text) ? {} : { detail: text.slice(0, 500) };
  }
}

export async function get(path, signal) {
  return (await send("GET", path, { signal })).json(exact);
}

/** Parses JSON whose numbers keep all of their digits when they are written again: 10.10, or more than fit into a double. */
export function exact(text) {
  return JSON.parse(text, (_, value, context) => {
    const source = context?.source;
    const isOther = typeof value === "number" && source !== undefined && String(value) !== source;
    return isOther && JSON.rawJSON ? JSON.rawJSON(source) : value;
  });
}

/** Makes a change. The key lets the host recognise the same change if it is sent again. */
export async function change(method, path, body, headers = {}) {
  try {
    const answer = await send(method, path, { body, headers: { "idempotency-key": crypto.randomUUID?.() ?? String(Math.random()), ...headers } });
    return answer.status === 204 ? null : answer.json();
  } catch (problem) {
    // No answer, or that of a proxy: the host may have made the change.
    if (problem.status === 0 || (problem.status >= 500 && !problem.code)) {
      problem.hint = [problem.hint, "look if the change was made before you ask for it again"].filter(Boolean).join(": ");
    }
    throw problem;
  }
}

/** The header of a change that is refused if the transform has another revision by now. */
export function unlessChanged(revision) {
  return { "if-match": `"${revision}"` };
}

/** The header of a deployment that is refused if there is such a transform. */
export const UNLESS_THERE = { "if-none-match": "*" };

/** The path of a transform. */
export function path(id, rest = "") {
  const [team, name] = id.split("/");
  return `/v1/teams/${encodeURIComponent(team)}/transforms/${encodeURIComponent(name)}${rest}`;
}

/** Lines of a stream, longest. A longer one is an error of the host. */
const LINE_CHARS_MAX = 64 * 1024 * 1024;
/** Silence after which the connection of a stream is broken: a host writes an empty line every 10 s. */
const SILENCE_MS = 30_000;
/** Time after which a stream that was refused is asked for again: a right, or the transform, may come back. */
export const REFUSED_MS = 30_000;
/** Time after which a hidden page ends its streams. */
const HIDDEN_MS = 10_000;

/** Reads a stream of JSON lines until it ends, or the signal says so. `opened` is called when the answer begins. */
async function lines(path, signal, { opened, take, parse }) {
  const end = new AbortController();
  let timer = null;
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => end.abort(), SILENCE_MS);
  };
  try {
    heard();
    const answer = await ask("GET", path, { signal: AbortSignal.any([signal, end.signal]), headers: { accept: "application/x-ndjson" } });
    opened();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      heard();
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n");
      rest = parts.pop();
      if (rest.length > LINE_CHARS_MAX) throw new Problem(0, { detail: "a line of the stream is too long" });
      for (const line of parts) {
        if (line.trim() !== "") take(parse(line));
      }
    }
  } catch (error) {
    const isSilent = end.signal.aborted && !signal.aborted;
    throw isSilent ? new Problem(0, { detail: "this host says nothing any more", hint: "the page opens the connection again by itself" }) : error;
  } finally {
    clearTimeout(timer);
    // A stream that is given up, for a line that cannot be read, is closed as well.
    end.abort();
  }
}

/**
 * Follows a stream for ever: it is opened again when it breaks. A hidden page has none, since all tabs of a browser share six
 * connections to a host without TLS. `state` is told of each change: "opening", "open", "broken" until it is open again, "refused",
 * which ends it.
 */
export async function follow(path, signal, take, state, parse = JSON.parse) {
  let wait = 500;
  const taken = (line) => {
    wait = 500;
    take(line);
  };
  state("opening");
  while (!signal.aborted) {
    await shown();
    const hidden = watchHidden();
    try {
      await lines(path, AbortSignal.any([signal, hidden.signal]), { opened: () => state("open"), take: taken, parse });
      if (!signal.aborted) state("broken");
    } catch (error) {
      if (signal.aborted) return;
      if (hidden.signal.aborted) {
        state("opening");
        continue;
      }
      if (error instanceof Problem && [401, 403, 404].includes(error.status)) {
        state("refused", error);
        return;
      }
      state("broken", error);
    } finally {
      hidden.stop();
    }
    await new Promise((done) => setTimeout(done, wait));
    wait = Math.min(wait * 2, 10_000);
  }
}

/** Waits until the page is shown. */
export function shown() {
  return new Promise((done) => {
    if (document.hidden) document.addEventListener("visibilitychange", done, { once: true });
    else done();
  });
}

/** A signal that the page was hidden for a while, until it is stopped. */
function watchHidden() {
  const end = new AbortController();
  let timer = null;
  const changed = () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(() => end.abort(), HIDDEN_MS);
  };
  const stop = () => {
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", changed);
  };
  document.addEventListener("visibilitychange", changed);
  return { signal: end.signal, stop };
}
