// State that views share: the flow, the caller, the address, the time.

import { useEffect, useReducer, useRef, useState } from "preact/hooks";
import { flow, hostNow, onFlow, onTransform } from "./store.js";
import { onCaller } from "./session.js";
import { route } from "./router.js";

function useTurn(subscribe, keys) {
  const [, turn] = useReducer((turns) => turns + 1, 0);
  useEffect(() => subscribe(turn), keys);
}

/** The flow; the view is drawn again when any of it has changed. */
export function useFlow() {
  useTurn(onFlow, []);
  return flow;
}

/** One transform of the flow; undefined while there is none. */
export function useTransform(id) {
  useTurn((turn) => onTransform(id, turn), [id]);
  return flow.transforms.get(id);
}

export function useCaller() {
  useTurn(onCaller, []);
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

/** The host's time, which moves on every few seconds. */
export function useNow(everyMs = 5000) {
  const [now, set] = useState(hostNow);
  useEffect(() => {
    const timer = setInterval(() => set(hostNow()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

/**
 * Loads something, and again when one of `keys` changes. What was loaded stays while the next is on its way; that of another
 * object (`of`) does not.
 */
export function useLoad(load, of, keys = []) {
  const [loaded, set] = useState({ of, value: null, problem: null });
  const [again, reload] = useReducer((turns) => turns + 1, 0);
  useEffect(() => {
    const end = new AbortController();
    load(end.signal).then(
      (value) => end.signal.aborted || set({ of, value, problem: null }),
      (problem) => end.signal.aborted || set((last) => ({ of, value: last.of === of ? last.value : null, problem })),
    );
    return () => end.abort();
  }, [of, again, ...keys]);
  const { value, problem } = loaded.of === of ? loaded : { value: null, problem: null };
  return { value, problem, reload, isLoading: value === null && problem === null };
}

/** Focuses the element when the view is first drawn. */
export function useFocus() {
  const element = useRef(null);
  useEffect(() => element.current?.focus(), []);
  return element;
}
