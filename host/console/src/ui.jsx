// The parts that views are made of.

import { Component } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ago, moment, plain, visible } from "./format.js";
import { link } from "./router.js";
import { useNow } from "./hooks.js";
import { tell } from "./notices.js";
import { health, inWords } from "./store.js";

const MARKS = { ok: "●", warn: "▲", bad: "■", off: "‖" };
const WORDS = { ok: "works", warn: "warning", bad: "trouble", off: "paused" };

/** A mark for a state: its form says as much as its colour. */
export function Mark({ of }) {
  return (
    <span class={`mark ${of}`} role="img" aria-label={WORDS[of]}>
      {MARKS[of]}
    </span>
  );
}

export function StateOf({ transform }) {
  const of = health(transform);
  return (
    <span class={`state ${of}`}>
      <Mark of={of} /> <WithCodes text={inWords(transform)} />
    </span>
  );
}

/** The time since a moment; the moment itself on hover. */
export function Ago({ at }) {
  const now = useNow();
  const ms = typeof at === "string" ? Date.parse(at) : plain(at ?? NaN);
  if (Number.isNaN(new Date(ms).getTime())) return <span>{moment(at)}</span>;
  return (
    <time dateTime={new Date(ms).toISOString()} title={moment(ms)}>
      {ago(ms, now)}
    </time>
  );
}

/** An error code as a link to its page. */
export function Code({ of }) {
  return (
    <a class="code" href={link("errors", of)}>
      {of}
    </a>
  );
}

/** Text of the host with its error codes as links. Text of a guest may name codes as well: a link to a page is all that it gets. */
export function WithCodes({ text }) {
  return visible(text)
    .split(/\b(E[012]\d{2})\b/)
    .map((part, index) => (index % 2 === 1 ? <Code of={part} /> : part));
}

/** A refusal: what is wrong, what helps, and the page of its code. `about` names the change, where the page does not. */
export function ProblemBox({ problem, about, children }) {
  if (!problem) return null;
  return (
    <div class="problem" role="alert">
      {about && (
        <p>
          <strong>{visible(about)}</strong>
        </p>
      )}
      <p>
        <Mark of="bad" /> {problem.code && <Code of={problem.code} />} <WithCodes text={problem.message} />
      </p>
      {problem.errors?.length > 0 && (
        <ul>
          {problem.errors.map(({ field, message }) => (
            <li>
              <code>{visible(field)}</code> <WithCodes text={message} />
            </li>
          ))}
        </ul>
      )}
      {problem.hint && <p class="quiet"><WithCodes text={problem.hint} /></p>}
      {problem.isRetried && <p class="quiet">The page tries again by itself.</p>}
      {children}
    </div>
  );
}

/** A view that fails leaves the others as they are. The browser's console has the whole error. */
export class Boundary extends Component {
  componentDidCatch(error) {
    console.error(error);
    this.setState({ error });
  }

  render({ children }, { error }) {
    if (!error) return children;
    return (
      <div class="problem" role="alert">
        <p>■ This view failed, which is a fault of the console: {visible(error.message)}</p>
        <button type="button" onClick={() => this.setState({ error: null })}>
          Show it again
        </button>
      </div>
    );
  }
}

/** The command that does the same as the view or the button beside it. */
export function Command({ children }) {
  const [said, say] = useState("");
  const words = useRef(null);
  // A name may come from the address, which anybody may have written: a shell must not take a part of it for a command.
  const text = visible([children].flat().join(""));
  const copy = async () => {
    const isCopied = await navigator.clipboard?.writeText(text).then(() => true, () => false);
    // A page without https has no clipboard, and copies what is selected.
    if (!isCopied) getSelection().selectAllChildren(words.current);
    say(isCopied || document.execCommand("copy") ? "copied" : "selected: copy it by keys");
    setTimeout(() => say(""), 3000);
  };
  return (
    <p class="command">
      <code ref={words}>{text}</code>
      <button type="button" class="small" onClick={copy} aria-label={said ? undefined : `copy the command ${text}`}>
        {said || "copy"}
      </button>
      <Spoken>{said}</Spoken>
    </p>
  );
}

/** A button that says why it cannot be pressed. One that cannot submits no form either. */
export function Action({ why, onClick, children, kind = "", type = "button" }) {
  return (
    <button type={why ? "button" : type} class={kind} aria-disabled={why ? "true" : undefined} title={why} onClick={why ? undefined : onClick}>
      {children}
      {why && <span class="unseen"> ({why})</span>}
    </button>
  );
}

/** A question before something that cannot be undone by another click. */
export function Confirm({ title, children, verb, command, run, close }) {
  const dialog = useRef(null);
  const [problem, setProblem] = useState(null);
  const [isBusy, setBusy] = useState(false);
  const isShown = useRef(true);
  useEffect(() => {
    const opener = document.activeElement;
    const shown = dialog.current;
    shown.showModal();
    return () => {
      isShown.current = false;
      // Nothing outside can have the focus while it is open.
      shown.close();
      opener?.focus?.();
    };
  }, []);
  const act = async () => {
    setBusy(true);
    setProblem(null);
    try {
      await run();
      close();
    } catch (refused) {
      // The browser's way back leaves an open question as well.
      if (!isShown.current) tell(title.replace(/\?$/, ""), refused);
      setProblem(refused);
      setBusy(false);
    }
  };
  // What is under way is not taken back: the question stays until its answer is there.
  const why = isBusy ? "the host has not answered yet" : undefined;
  const cancel = (event) => {
    event.preventDefault();
    if (!isBusy) close();
  };
  // Browsers let nobody prevent the second cancel in a row, but each key.
  const keyDown = (event) => {
    if (event.key === "Escape" && isBusy) event.preventDefault();
  };
  return (
    <dialog ref={dialog} onClose={close} onCancel={cancel} onKeyDown={keyDown} aria-labelledby="question">
      <h2 id="question">{title}</h2>
      <div>{children}</div>
      <ProblemBox problem={problem} />
      {command && <Command>{command}</Command>}
      <div class="row end">
        <Action why={why} onClick={close}>
          Cancel
        </Action>
        <Action kind="main" why={why} onClick={act}>
          {verb}
        </Action>
      </div>
    </dialog>
  );
}

/** A line of the last minutes, without axes. */
export function Spark({ points, label }) {
  const values = (points ?? []).map((value) => value ?? 0);
  if (values.length < 2 || !values.some((value) => value > 0)) return <svg class="spark" viewBox="0 0 60 16" aria-hidden="true" />;
  const top = Math.max(...values);
  const at = (value, index) => `${((index / (values.length - 1)) * 60).toFixed(1)},${(15 - (value / top) * 14).toFixed(1)}`;
  return (
    <svg class="spark" viewBox="0 0 60 16" preserveAspectRatio="none" role={label ? "img" : undefined} aria-label={label} aria-hidden={label ? undefined : "true"}>
      <polyline points={values.map(at).join(" ")} />
    </svg>
  );
}

/** Text for people who listen, and for nobody's eyes: it is read out each time that it changes. */
export function Spoken({ children }) {
  return (
    <span class="unseen" role="status">
      {children || null}
    </span>
  );
}

/** The state of a stream's connection in words (`useFollowed`). */
export const CONNECTION = { opening: "Connecting ...", open: "Connected.", broken: "Connection lost, trying again.", refused: "Refused." };

/** A place for what is not there yet. It does not jump about. */
export function Loading({ of }) {
  return (
    <p class="quiet" role="status">
      Loading {of} ...
    </p>
  );
}

/** The state of a request: loading, refused, or its children. */
export function Loaded({ of, from, children }) {
  if (from.problem && from.value === null) return <ProblemBox problem={from.problem} />;
  if (from.isLoading) return <Loading of={of} />;
  return (
    <>
      {from.problem && <ProblemBox problem={from.problem} />}
      {children(from.value)}
    </>
  );
}

/** A heading of a column that sorts by it. */
export function SortHead({ name, label, sort, setSort, numeric }) {
  const isBy = sort.by === name;
  const direction = isBy ? (sort.down ? "descending" : "ascending") : undefined;
  return (
    <th scope="col" aria-sort={direction} class={numeric ? "number" : undefined}>
      <button type="button" class="sort" onClick={() => setSort({ by: name, down: isBy ? !sort.down : Boolean(numeric) })}>
        {label}
        <span aria-hidden="true">{isBy ? (sort.down ? " ↓" : " ↑") : ""}</span>
      </button>
    </th>
  );
}

export function sorted(rows, sort, value) {
  const order = [...rows].sort((a, b) => {
    const [left, right] = [plain(value(a, sort.by)), plain(value(b, sort.by))];
    if (left === right) return 0;
    if (left === null || left === undefined) return -1;
    if (right === null || right === undefined) return 1;
    return left < right ? -1 : 1;
  });
  return sort.down ? order.reverse() : order;
}

/** A box for text that filters a list. */
export function Filter({ label, value, onInput, wide, ...rest }) {
  return (
    <label class={wide ? "filter wide" : "filter"}>
      <span>{label}</span>
      <input type="search" value={value} onInput={(event) => onInput(event.currentTarget.value)} {...rest} />
    </label>
  );
}

export function Check({ label, value, onChange }) {
  return (
    <label class="check">
      <input type="checkbox" checked={value} onChange={(event) => onChange(event.currentTarget.checked)} /> {label}
    </label>
  );
}
