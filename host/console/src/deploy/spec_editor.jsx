// The text of a spec with the host's problems at their lines, and a list of what may stand at the caret.

import { useRef, useState } from "preact/hooks";
import { get } from "../api.js";
import { plural, visible } from "../format.js";
import { useLoad } from "../hooks.js";
import { Code, Mark, WithCodes } from "../ui.jsx";
import { completionAt, textOf } from "./completion.js";
import { linesOf } from "./spec_text.js";

/** Sizes in the text area, as the style has them. */
const LINE_PX = 20;
const PADDING_PX = 8;
const ROWS_MIN = 8;
const ROWS_MAX = 24;
/** Options that are shown at once. */
const SHOWN_MAX = 8;
/** Lines whose numbers are shown: a larger text has none. */
const NUMBERED_MAX = 5000;

/** `problem` is the last refusal of the text. */
export function SpecEditor({ spec, setSpec, isFixed, problem, live }) {
  const area = useRef(null);
  const under = useRef(null);
  const { list, keyDown, look, close } = useCompletion(area);
  const problems = problemsOf(spec, problem);
  const lines = spec.split("\n").length;
  const marked = [...new Set(problems.map(({ line }) => line).filter(Boolean))];
  const scrolled = () => {
    under.current.style.transform = `translateY(${-area.current.scrollTop}px)`;
    close();
  };
  const show = (line) => {
    const start = spec.split("\n", line - 1).join("\n").length + (line > 1 ? 1 : 0);
    const end = spec.indexOf("\n", start);
    area.current.focus();
    area.current.setSelectionRange(start, end < 0 ? spec.length : end);
    area.current.scrollTop = Math.max(0, (line - 3) * LINE_PX);
  };
  return (
    <>
      <div class="editor">
        <label for="spec">Spec</label>
        <div class="editor-frame">
          <div class="editor-under" aria-hidden="true">
            <div ref={under}>
              {marked.map((line) => (
                <span key={line} class="editor-mark" style={{ top: `${PADDING_PX + (line - 1) * LINE_PX}px` }}>
                  ■
                </span>
              ))}
              <div class="editor-numbers">{lines <= NUMBERED_MAX && numbers(lines)}</div>
            </div>
          </div>
          <textarea
            id="spec"
            ref={area}
            rows={Math.min(ROWS_MAX, Math.max(ROWS_MIN, lines + 1))}
            spellcheck={false}
            autocomplete="off"
            autocapitalize="off"
            value={spec}
            readOnly={isFixed}
            aria-invalid={problems.length > 0}
            aria-describedby="spec-problems spec-keys"
            aria-autocomplete="list"
            aria-haspopup="listbox"
            aria-controls={list ? "spec-options" : undefined}
            aria-activedescendant={list ? `spec-option-${list.at}` : undefined}
            onInput={(event) => {
              setSpec(event.currentTarget.value);
              look(false);
            }}
            onKeyDown={keyDown}
            onScroll={scrolled}
            onClick={close}
            onBlur={close}
          />
          {list && <Options list={list} />}
        </div>
        <p id="spec-keys" class="quiet">
          Ctrl-Space lists the fields that fit at the caret.
        </p>
      </div>
      <LiveState live={live} count={problems.length} />
      <Problems problems={problems} hint={problem?.hint} show={show} />
    </>
  );
}

function numbers(lines) {
  return Array.from({ length: lines }, (_, index) => index + 1).join("\n");
}

/** The problems with their lines, in their order. */
function problemsOf(spec, problem) {
  if (!problem) return [];
  const lineOf = linesOf(spec);
  if (problem.errors.length === 0) {
    const line = Number(/\bline (\d+)/.exec(problem.message)?.[1] ?? 0);
    return [{ field: "", message: problem.message, code: problem.code, line }];
  }
  // A problem of another rule than the first has its own code in brackets.
  const codeOf = (message) => (/\(E\d{3}\)$/.test(message) ? null : problem.code);
  const all = problem.errors.map(({ field, message }) => ({ field, message, code: codeOf(message), line: lineOf(field) }));
  return all.sort((a, b) => a.line - b.line);
}

/** The last word of the host about the text, with its warnings. */
function LiveState({ live, count }) {
  const { state, problem, view } = live;
  const words = {
    off: "",
    asking: "The host checks it ...",
    accepted: view?.outcome === "unchanged" ? "Checked: nothing would change." : `Checked: the host would take it as revision ${view?.revision}.`,
    refused: `Checked: ${plural(count, "problem")}.`,
    unknown: `Not checked: ${problem?.message}. The page tries again.`,
  };
  const marks = { accepted: "ok", refused: "bad", unknown: "warn" };
  return (
    <div role="status">
      <p class={`live-check state ${marks[state] ?? ""}`}>
        {marks[state] && <Mark of={marks[state]} />} {state === "unknown" && problem.code && <Code of={problem.code} />} <WithCodes text={words[state]} />
      </p>
      {(view?.warnings ?? []).map((warning) => (
        <p class="state warn">
          <Mark of="warn" /> <WithCodes text={warning} />
        </p>
      ))}
    </div>
  );
}

function Problems({ problems, hint, show }) {
  return (
    <div id="spec-problems">
      <ul class="problems">
        {problems.map(({ field, message, line, code }) => (
          <li>
            <Mark of="bad" />{" "}
            {line > 0 && (
              <button type="button" class="small" onClick={() => show(line)}>
                line {line}
              </button>
            )}{" "}
            {code && <Code of={code} />} {field && <code>{visible(field)}</code>} <WithCodes text={message} />
          </li>
        ))}
      </ul>
      {problems.length > 0 && hint && <p class="quiet">Hint: <WithCodes text={hint} /></p>}
    </div>
  );
}

/** The list of options, its keys, and the text that a choice writes. */
function useCompletion(area) {
  const schema = useLoad((signal) => get("/transform.schema.json", signal), "schema");
  const [list, setList] = useState(null);
  const close = () => setList(null);
  /** Looks at the caret. A list comes by itself only for a word that has begun, and only for keys. */
  const look = (isAsked) => {
    const { value, selectionStart: caret, selectionEnd: end } = area.current;
    const found = caret === end ? completionAt(schema.value, value, caret) : null;
    const isDone = found?.options.length === 1 && found.options[0].name === found.word;
    const isWanted = isAsked || (found?.isKey && found.word !== "" && !isDone);
    setList(found && isWanted ? { ...found, at: 0, caret, ...caretPlace(area.current, caret) } : null);
  };
  const choose = (option) => {
    const { start, caret } = list;
    const { text, back } = textOf(option, list);
    const { value } = area.current;
    // A quote that the word had, or that follows it, is part of the text of the choice.
    const end = list.isJson && value[caret] === '"' ? caret + 1 : caret;
    const isKnown = list.isKey && /^["']?\s*:/.test(value.slice(caret, caret + 40));
    area.current.setSelectionRange(start, end);
    // The browser's own undo knows this insertion.
    document.execCommand("insertText", false, isKnown ? text.slice(0, text.indexOf(":")) : text);
    if (!isKnown) area.current.selectionStart = area.current.selectionEnd -= back;
    close();
  };
  const keyDown = (event) => {
    if (event.key === " " && event.ctrlKey) {
      event.preventDefault();
      look(true);
      return;
    }
    if (!list) return;
    const { options, at } = list;
    const moves = { ArrowDown: (at + 1) % options.length, ArrowUp: (at + options.length - 1) % options.length };
    if (event.key in moves) setList({ ...list, at: moves[event.key] });
    else if (event.key === "Enter" && !event.isComposing) choose(options[at]);
    else if (event.key === "Escape") close();
    else {
      if (["ArrowLeft", "ArrowRight", "Home", "End", "Tab"].includes(event.key)) close();
      return;
    }
    event.preventDefault();
  };
  return { list: list && { ...list, choose }, keyDown, look, close };
}

/** The pixels of the caret in the frame: below it the list opens. */
function caretPlace(area, caret) {
  const before = area.value.slice(0, caret).split("\n");
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = getComputedStyle(area).font;
  const x = area.offsetLeft + Number.parseFloat(getComputedStyle(area).paddingLeft) + pen.measureText(before.at(-1).slice(0, 1000)).width - area.scrollLeft;
  return { top: PADDING_PX + before.length * LINE_PX + 2 - area.scrollTop, left: Math.max(0, Math.min(x, area.offsetLeft + area.offsetWidth - 280)) };
}

function Options({ list }) {
  const { options, at, top, left, choose } = list;
  const from = Math.max(0, Math.min(at - SHOWN_MAX + 1, options.length - SHOWN_MAX));
  const shown = options.slice(from, from + SHOWN_MAX);
  return (
    <div class="options" style={{ top: `${top}px`, left: `${left}px` }}>
      <ul id="spec-options" role="listbox" aria-label="What fits at the caret">
        {shown.map((option, index) => (
          <li
            key={option.name}
            id={`spec-option-${from + index}`}
            role="option"
            aria-selected={from + index === at}
            aria-setsize={options.length}
            aria-posinset={from + index + 1}
            // A press must not take the focus from the text.
            onMouseDown={(event) => event.preventDefault()}
            onClick={() => choose(option)}
          >
            <code>{option.name}</code>
            {option.preset !== undefined && option.preset !== null && <span class="quiet"> {JSON.stringify(option.preset)}</span>}
          </li>
        ))}
      </ul>
      <p class="quiet">{options[at].meaning}</p>
    </div>
  );
}
