// The host's own checks of a spec while it is written. The host is not flooded: it has one request at a time, after the writer has
// paused, and between two of them at least twice the time that the last one took. Texts in between are left out; the last one is
// checked in any case.

import { useEffect, useRef, useState } from "preact/hooks";
import { isUnknown, path, send } from "../api.js";

/** Pause of the writer after which the text is checked. */
const PAUSE_MS = 400;
/** Pause after an answer that says nothing about the spec: the host is busy, or it does not answer. */
const RETRY_MS = 3000;

/**
 * The last answer about `given` (`{id, form, headers}`; null where nothing can be asked): `state` is "off", "asking", "accepted",
 * "refused" or "unknown", and `problem` that of the last refusal.
 */
export function useLiveCheck(given) {
  const [answer, tell] = useState({ state: "off", problem: null, view: null });
  const checker = useRef(null);
  useEffect(() => {
    checker.current = new Checker(tell);
    return () => checker.current.stop();
  }, []);
  useEffect(() => checker.current.take(given), [given]);
  return answer;
}

class Checker {
  #tell;
  #wanted = null;
  #asked = null;
  #isBusy = false;
  #timer = null;
  #notBefore = 0;
  #end = new AbortController();

  constructor(tell) {
    this.#tell = tell;
  }

  /** Takes the newest text. */
  take(given) {
    this.#wanted = given;
    if (given) this.#tell((last) => ({ ...last, state: "asking" }));
    else this.#tell({ state: "off", problem: null, view: null });
    this.#plan(PAUSE_MS);
  }

  stop() {
    this.#wanted = null;
    clearTimeout(this.#timer);
    this.#end.abort();
  }

  #plan(pauseMs) {
    clearTimeout(this.#timer);
    if (!this.#wanted || this.#isBusy) return;
    this.#timer = setTimeout(() => this.#ask(), Math.max(pauseMs, this.#notBefore - performance.now()));
  }

  async #ask() {
    const given = this.#wanted;
    const start = performance.now();
    this.#isBusy = true;
    this.#asked = given;
    let answer;
    try {
      const view = await (await send("PUT", path(given.id, "?dry_run=true"), { body: given.form(), headers: given.headers, signal: this.#end.signal })).json();
      answer = { state: "accepted", problem: null, view };
    } catch (problem) {
      answer = { state: isUnknown(problem) ? "unknown" : "refused", problem, view: null };
    }
    this.#isBusy = false;
    const now = performance.now();
    this.#notBefore = now + 2 * (now - start);
    if (this.#wanted === this.#asked) this.#tell(answer);
    if (this.#wanted !== this.#asked) this.#plan(PAUSE_MS);
    else if (answer.state === "unknown") this.#plan(RETRY_MS);
  }
}
