// State that views share: the flow, the caller, the address, the time, what they load, and streams that they follow.

import { useEffect, useReducer, useRef, useState } from "preact/hooks";
import { REFUSED_MS, follow, isUnknown, shown } from "./api.js";
import { flow, hostNow, onFlow, onTransform } from "./store.js";
import { currentNotices, onNotices } from "./notices.js";
import { currentCaller, onCaller } from "./session.js";
import { route, setQuery } from "./router.js";

/** Draws the view again at each change. `current` is what tells whether something has changed. Returns it. */
function useTurn(subscribe, current, keys = []) {
  const [, turn] = useReducer((turns) => turns + 1, 0);
  const drawn = current();
  useEffect(() => {
    const end = subscribe(turn);
    // A change may have come since the view was drawn.
    if (current() !== drawn) turn();
    return end;
  }, keys);
  return drawn;
}

/** The flow; the view is drawn again when any of it has changed. */
export function useFlow() {
  useTurn(onFlow, () => flow.told);
  return flow;
}

/** One transform of the flow; undefined while there is none. */
export function useTransform(id) {
  return useTurn((turn) => onTransform(id, turn), () => flow.transforms.get(id), [id]);
}

export function useCaller() {
  useTurn(onCaller, currentCaller);
}

export function useNotices() {
  return useTurn(onNotices, currentNotices);
}

export function useRoute() {
  const [current, set] = useState(route);
  useEffect(() => {
    const changed = () => set(route());
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return current;
}

/**
 * The order of a table that the address names: a column, with `-` before it from the highest value down. `first` is the order
 * without such a name. Returns it with the setter.
 */
export function useSort(columns, first) {
  const word = useRoute().query.get("sort") ?? "";
  const by = word.replace("-", "");
  const sort = columns.some(([name]) => name === by) ? { by, down: word.startsWith("-") } : first;
  return [sort, ({ by, down }) => setQuery({ sort: `${down ? "-" : ""}${by}` })];
}

/** The host's time, which moves on every few seconds. It stands still on a hidden page, so what is loaded by it is not loaded there. */
export function useNow(everyMs = 5000) {
  const [now, set] = useState(hostNow);
  useEffect(() => {
    const tick = () => {
      if (!document.hidden) set(hostNow());
    };
    const timer = setInterval(tick, everyMs);
    document.addEventListener("visibilitychange", tick);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", tick);
    };
  }, [everyMs]);
  return now;
}

/** Time between an answer and the next request for the same. */
const PAUSE_MS = 1000;
/** Time after which something that no host could answer is asked for again: it doubles each time, up to the longest. */
const RETRY_MS = 3000;
const RETRY_MS_MAX = 15_000;
/** Longest wait for an answer: on a connection that is gone none would ever come, and no other request would follow. */
const ANSWER_MS_MAX = 60_000;

/**
 * Loads something, and again when one of `keys` has changed. One request runs at a time, and is let finish: keys may change faster
 * than the host answers, and it works on what it was asked for to the end. What was loaded stays while the next is on its way; that
 * of another object (`of`) does not. After a failure that says nothing about the request, a page that is shown asks again by itself.
 */
export function useLoad(load, of, keys = []) {
  const [loaded, set] = useState({ of, value: null, problem: null });
  const [again, reload] = useReducer((turns) => turns + 1, 0);
  const newest = useRef(load);
  newest.current = load;
  const ask = useRef(null);
  useEffect(() => {
    const end = new AbortController();
    let isRunning = false;
    let isDue = false;
    let timer = null;
    let notBefore = 0;
    let retryMs = RETRY_MS;
    const plan = (act, waitMs) => {
      clearTimeout(timer);
      timer = setTimeout(act, waitMs);
    };
    const run = async () => {
      isDue = false;
      isRunning = true;
      let next;
      let isRetried = false;
      try {
        const value = await newest.current(AbortSignal.any([end.signal, AbortSignal.timeout(ANSWER_MS_MAX)]));
        next = { of, value, problem: null };
        retryMs = RETRY_MS;
      } catch (problem) {
        isRetried = isUnknown(problem);
        problem.isRetried = isRetried;
        // A refusal leaves what was loaded before.
        next = (last) => ({ of, value: last.of === of ? last.value : null, problem });
      }
      if (end.signal.aborted) return;
      set(next);
      isRunning = false;
      notBefore = performance.now() + PAUSE_MS;
      if (isDue) ask.current();
      else if (isRetried) {
        plan(retry, retryMs);
        retryMs = Math.min(2 * retryMs, RETRY_MS_MAX);
      }
    };
    const retry = async () => {
      await shown();
      if (!end.signal.aborted) ask.current();
    };
    ask.current = () => {
      isDue = true;
      if (!isRunning) plan(run, Math.max(0, notBefore - performance.now()));
    };
    return () => {
      end.abort();
      clearTimeout(timer);
    };
  }, [of]);
  useEffect(() => ask.current(), [of, again, ...keys]);
  const { value, problem } = loaded.of === of ? loaded : { value: null, problem: null };
  return { value, problem, reload, isLoading: value === null && problem === null };
}

/** Time for which lines of a stream are gathered: many come at once, and are drawn together. */
const GATHER_MS = 200;

/**
 * Follows a stream: the newest `keptMax` of its lines, newest first and numbered, and the state of its connection (`follow` in
 * api.js). One that was refused is asked for again. `isWanted` gets each line with the last one that was kept.
 */
export function useFollowed(address, { keptMax, isWanted, parse }) {
  const [lines, setLines] = useState([]);
  const [connection, setConnection] = useState({ state: "opening", problem: null });
  const wanted = useRef(isWanted);
  wanted.current = isWanted;
  useEffect(() => {
    const end = new AbortController();
    let gathered = [];
    let timer = null;
    let last = null;
    setLines([]);
    setConnection({ state: "opening", problem: null });
    const show = () => {
      const come = gathered.reverse();
      gathered = [];
      timer = null;
      setLines((shown) => [...come, ...shown].slice(0, keptMax));
    };
    const take = (line) => {
      if (!wanted.current(line, last)) return;
      last = { ...line, number: (last?.number ?? 0) + 1 };
      gathered.push(last);
      timer ??= setTimeout(show, GATHER_MS);
    };
    const state = (word, problem = null) => {
      if (word === "refused") problem.isRetried = true;
      // A refusal is shown until there is another answer.
      setConnection((last) => (last.state === "refused" && word === "opening" ? last : { state: word, problem }));
    };
    const run = async () => {
      while (!end.signal.aborted) {
        await follow(address, end.signal, take, state, parse);
        await new Promise((done) => setTimeout(done, REFUSED_MS));
      }
    };
    run();
    return () => {
      end.abort();
      clearTimeout(timer);
    };
  }, [address]);
  return { lines, connection };
}

/** Focuses the element when the view is first drawn. */
export function useFocus() {
  const element = useRef(null);
  useEffect(() => element.current?.focus(), []);
  return element;
}
