// The editor of a spec: the host checks it while somebody types, and its schema completes the names of fields.

import { useEffect, useRef, useState } from "preact/hooks";
import { get, path, send } from "../api.js";
import { visible } from "../format.js";
import { useLoad } from "../hooks.js";
import { Code, Mark } from "../ui.jsx";
import { complete } from "./completion.js";

/** Time without a key after which the host is asked. */
const PAUSE_MS = 400;

/** The spec as a part of a form. */
export function specBlob(spec) {
  return new Blob([spec], { type: isJson(spec) ? "application/json" : "application/yaml" });
}

function isJson(text) {
  return /^\s*\{/.test(text);
}

/** What the host says of the spec alone, some time after the last change. An answer about an older text is not waited for. */
function useChecked(id, spec, mayCheck) {
  const [checked, set] = useState({ spec: null, problem: null });
  const first = useRef(spec);
  useEffect(() => {
    // A spec that nobody has changed is not asked about.
    if (!id || !mayCheck || spec === first.current) return undefined;
    const end = new AbortController();
    const ask = async () => {
      const body = new FormData();
      body.append("spec", specBlob(spec));
      let problem = null;
      try {
        await send("PUT", path(id, "?dry_run=true"), { body, signal: end.signal });
      } catch (refused) {
        problem = withoutModule(refused);
      }
      if (!end.signal.aborted) set({ spec, problem });
    };
    const timer = setTimeout(ask, PAUSE_MS);
    return () => {
      clearTimeout(timer);
      end.abort();
    };
  }, [id, spec, mayCheck]);
  return checked;
}

/** What is left of a refusal if a module will be sent, by whoever checks, tries or deploys. */
function withoutModule(refused) {
  const errors = refused.errors.filter(({ field }) => field !== "module");
  const isAll = refused.errors.length > 0 && errors.length === 0;
  return isAll ? null : Object.assign(refused, { errors });
}

/** The spec with its problems, each at its line: those of the check that somebody asked for, or of the text as it is. */
export function SpecEditor({ id, mayCheck, spec, setSpec, problem: asked }) {
  const area = useRef(null);
  const checked = useChecked(id, spec, mayCheck);
  const schema = useLoad((signal) => get("/transform.schema.json", signal), "schema").value;
  const [offer, setOffer] = useState(null);
  const problem = asked ?? checked.problem;
  const errors = problem?.errors?.length > 0 || asked || !problem ? (problem?.errors ?? []) : [{ field: "", message: problem.message, code: problem.code }];
  const problems = errors.map((error) => ({ ...error, line: lineOf(spec, error.field) }));

  const suggest = (isAsked) => {
    const { value, selectionStart, selectionEnd } = area.current;
    const found = schema && selectionStart === selectionEnd ? complete(schema, value, selectionStart) : null;
    const isWanted = found && found.items.length > 0 && (isAsked || found.word !== "");
    setOffer(isWanted ? { ...found, at: isAsked ? 0 : -1 } : null);
  };
  const take = ({ text }) => {
    const { from, to } = offer;
    setSpec(spec.slice(0, from) + text + spec.slice(to));
    setOffer(null);
    requestAnimationFrame(() => {
      area.current.focus();
      area.current.setSelectionRange(from + text.length, from + text.length);
    });
  };
  const pressed = (event) => {
    if (event.key === " " && event.ctrlKey) {
      event.preventDefault();
      suggest(true);
      return;
    }
    if (!offer) return;
    const { items, at } = offer;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      setOffer({ ...offer, at: at < 0 && step < 0 ? items.length - 1 : (at + step + items.length) % items.length });
    } else if (event.key === "Enter" && at >= 0) {
      event.preventDefault();
      take(items[at]);
    } else if (event.key === "Escape") {
      event.preventDefault();
      setOffer(null);
    }
  };
  const show = (line) => {
    const lines = spec.split("\n");
    const start = lines.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
    area.current.focus();
    area.current.setSelectionRange(start, start + lines[line - 1].length);
  };
  const typed = (event) => {
    setSpec(event.currentTarget.value);
    suggest(false);
  };
  const rows = Math.min(24, Math.max(8, spec.split("\n").length + 1));
  return (
    <>
      <label class="editor">
        <span>Spec</span>
        <textarea
          id="spec"
          ref={area}
          rows={rows}
          spellcheck={false}
          autocomplete="off"
          value={spec}
          aria-invalid={problems.length > 0}
          aria-describedby="spec-problems spec-keys"
          aria-autocomplete="list"
          aria-controls="spec-offer"
          aria-activedescendant={offer && offer.at >= 0 ? `offer-${offer.at}` : undefined}
          onInput={typed}
          onKeyDown={pressed}
          onBlur={() => setOffer(null)}
        />
      </label>
      <Offer offer={offer} take={take} />
      <p id="spec-keys" class="quiet">
        <kbd>Ctrl</kbd>+<kbd>Space</kbd> shows what fits here. {status(id, spec, checked, asked)}
      </p>
      <ul id="spec-problems" class="problems">
        {problems.map(({ field, message, code, line }) => (
          <li>
            <Mark of="bad" />{" "}
            {line ? (
              <button type="button" class="small" onClick={() => show(line)}>
                line {line}
              </button>
            ) : null}{" "}
            {code && <Code of={code} />} {field && <code>{visible(field)}</code>} {visible(message)}
          </li>
        ))}
      </ul>
      {problem && !asked && problem.hint && <p class="quiet">{visible(problem.hint)}</p>}
    </>
  );
}

function status(id, spec, checked, asked) {
  if (!id || asked || checked.spec !== spec || checked.problem) return "";
  return "The host finds no fault in this spec.";
}

/** The names that fit at the caret, and their meaning. */
function Offer({ offer, take }) {
  return (
    <ul id="spec-offer" class="offer" role="listbox" aria-label="What fits here" hidden={!offer}>
      {(offer?.items ?? []).map((item, index) => (
        <li
          id={`offer-${index}`}
          key={item.name}
          role="option"
          aria-selected={index === offer.at}
          // The editor keeps the focus.
          onMouseDown={(event) => event.preventDefault()}
          onClick={() => take(item)}
        >
          <code>{item.name}</code> <span class="quiet">{visible(item.description)}</span>
        </li>
      ))}
    </ul>
  );
}

/** The line of a field such as `limits.memory` or `inputs[1]`; 0 if there is none. */
export function lineOf(spec, field) {
  const names = field.split(/[.[\]]+/).filter(Boolean);
  const lines = spec.split("\n");
  let from = 0;
  let found = 0;
  for (const name of names) {
    const quotedName = name.replace(/[^\w-]/g, "\\$&");
    const at = lines.slice(from).findIndex((line) => new RegExp(`(^|[\\s{,"'])${quotedName}["']?\\s*:`).test(line));
    if (at < 0) break;
    from += at;
    found = from + 1;
  }
  return found;
}
