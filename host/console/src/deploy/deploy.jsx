// A deployment: drop a module and a spec, check, try on the newest records, deploy, and watch.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { UNLESS_THERE, change, exact, get, isUnknown, path, send, unlessChanged } from "../api.js";
import { bytes, named, quoted, visible } from "../format.js";
import { useCaller, useLoad } from "../hooks.js";
import { tell } from "../notices.js";
import { go, transformLink } from "../router.js";
import { currentCaller, reason } from "../session.js";
import { Action, Boundary, Command, Mark, ProblemBox, WithCodes } from "../ui.jsx";
import { DiffText, text as specText } from "../transform/diff_text.jsx";
import { readFiles } from "./files.js";
import { useLiveCheck } from "./live_check.js";
import { SpecEditor } from "./spec_editor.jsx";
import { Trial } from "./trial.jsx";

/** Numbers of records to choose from for a trial. The last one is the host's limit. */
const TRIALS = [20, 100, 1000];
/** The code of a refusal since another revision is live than the request expects. */
const CONFLICT = "E008";
const EXAMPLE = "inputs: [shop.orders]\noutputs: { orders: orders.orders }\nconfig: {}\n";

export function Deploy({ team: givenTeam, name: givenName }) {
  useCaller();
  const isKnown = Boolean(givenTeam && givenName);
  const deployed = useLoad((signal) => (isKnown ? get(path(`${givenTeam}/${givenName}`), signal) : Promise.resolve(undefined)), `${givenTeam}/${givenName}`);
  if (isKnown && deployed.isLoading) return <p class="quiet">Loading the deployed spec ...</p>;
  const known = deployed.value ?? null;
  // A spec that could not be read is not taken for none: the example would be deployed over it.
  if (!known && deployed.problem && deployed.problem.status !== 404) {
    return (
      <section>
        <h1>{visible(`Deploy ${givenTeam}/${givenName}`)}</h1>
        <ProblemBox problem={deployed.problem}>
          <button type="button" onClick={deployed.reload}>
            Load again
          </button>
        </ProblemBox>
      </section>
    );
  }
  return <Form key={known ? "known" : "new"} known={known} team={givenTeam} name={givenName} />;
}

function Form({ known, team: givenTeam, name: givenName }) {
  const [team, setTeam] = useState(givenTeam);
  const [name, setName] = useState(givenName);
  const [spec, setSpec] = useState(known ? JSON.stringify(known.spec, null, 2) : EXAMPLE);
  const [module, setModule] = useState(null);
  const [signature, setSignature] = useState(null);
  const [isReading, setReading] = useState(false);
  const [notTaken, setNotTaken] = useState(null);
  const [number, setNumber] = useState(TRIALS[0]);
  // The newest verdict and trial, with the content that they are of.
  const [results, setResults] = useState({ of: null });
  const [busy, setBusy] = useState("");
  // What somebody else has made live, once it was shown: `value` is null if the transform is deleted, and `before` is what it replaced.
  const [newer, setNewer] = useState({ of: "" });
  const isShown = useRef(true);
  useEffect(() => () => { isShown.current = false; }, []);
  const id = `${team.trim()}/${name.trim()}`;
  // What Deploy replaces, as far as the page knows; null for nothing.
  const base = newer.of === id ? newer.value : known;
  const withModule = module ? ` --module=${quoted(module.name)}` : "";
  const hasName = team.trim() !== "" && name.trim() !== "";
  const isWaiting = isReading ? "a file is being read" : busy ? "the host has not answered yet" : undefined;
  const notYet = hasName ? isWaiting : "name the team and the transform";
  const content = useMemo(() => ({ id, spec, module, signature, base }), [id, spec, module, signature, base]);
  const { verdict, trial } = results.of === content ? results : {};

  const takeFiles = async (files) => {
    if (isReading || busy === "deploy") {
      setNotTaken({ message: `No file is taken while ${isReading ? "others are read" : "the host accepts the deployment"}.` });
      return;
    }
    setReading(true);
    const taken = await readFiles(files);
    setReading(false);
    setNotTaken(taken.errors.length > 0 ? { message: "Not taken:", errors: taken.errors } : null);
    if (taken.module) setModule(taken.module);
    if (taken.signature) setSignature(taken.signature);
    if (taken.spec !== undefined) {
      setSpec(taken.spec);
      if (!givenTeam) {
        setTeam((last) => fieldOf(taken.spec, "team") ?? last);
        setName((last) => fieldOf(taken.spec, "name") ?? last);
      }
    }
    if (taken.module || (module && taken.spec !== undefined)) setSpec(withoutDigest);
  };
  const form = (rest = {}) => {
    const body = new FormData();
    body.append("spec", new Blob([spec], { type: isJson(spec) ? "application/json" : "application/yaml" }));
    if (module) body.append("module", module, "module.wasm");
    if (signature) body.append("signature", signature, "module.sig");
    for (const [field, value] of Object.entries(rest)) body.append(field, value);
    return body;
  };
  const mayAsk = hasName && !reason(team.trim(), "deploy");
  // A deployment that the page does not know is not lost unseen.
  const headers = base ? unlessChanged(base.revision) : UNLESS_THERE;
  const given = useMemo(() => (mayAsk ? { id, form, headers } : null), [mayAsk, content, currentCaller()]);
  const live = useLiveCheck(given);
  const refusal = [verdict?.problem, live.problem].find((problem) => problem && !isUnknown(problem));
  const act = (word, run) => async () => {
    const show = (come) => setResults((last) => ({ ...(last.of === content ? last : {}), ...come, of: content }));
    setBusy(word);
    show(word === "try" ? { verdict: null, trial: null } : { verdict: null });
    try {
      show(await run());
    } catch (problem) {
      // A check or a trial changes nothing: nobody who has left waits for its answer.
      if (word === "deploy" && !isShown.current) tell(`Deploy ${id}`, problem);
      show({ verdict: { problem } });
    }
    setBusy("");
  };
  const check = act("check", async () => {
    const answer = await send("PUT", path(id, "?dry_run=true"), { body: form(), headers });
    return { verdict: { view: answer.json() } };
  });
  const deploy = act("deploy", async () => {
    const view = await change("PUT", path(id), form(), headers);
    // Somebody who has left meanwhile is not called back.
    if (isShown.current) go(transformLink(id));
    return { verdict: { view } };
  });
  const showLive = act("show", async () => {
    const value = await get(path(id)).catch((problem) => {
      if (problem.status !== 404) throw problem;
      return null;
    });
    setNewer({ of: id, value, before: base });
    return {};
  });
  const tryIt = act("try", async () => {
    const newest = new Blob([JSON.stringify({ records: number, inputs: true })], { type: "application/json" });
    const answer = await send("POST", path(id, "/test"), { body: form({ live: newest }) });
    return { trial: answer.json(exact) };
  });

  return (
    <section>
      <h1>{known ? visible(`Deploy ${givenTeam}/${givenName}`) : "Deploy"}</h1>
      <Drop take={takeFiles} module={module} signature={signature} known={known} />
      <ProblemBox problem={notTaken} />
      <div class="row tools">
        <label class="filter">
          <span>Team</span>
          <input value={team} readOnly={Boolean(givenTeam) || busy === "deploy"} onInput={(event) => setTeam(event.currentTarget.value)} />
        </label>
        <label class="filter">
          <span>Name</span>
          <input value={name} readOnly={Boolean(givenName) || busy === "deploy"} onInput={(event) => setName(event.currentTarget.value)} />
        </label>
      </div>
      <SpecEditor spec={spec} setSpec={setSpec} isFixed={busy === "deploy"} problem={refusal} live={live} />
      {refusal?.code === CONFLICT && (
        <Action why={isWaiting} onClick={showLive}>
          Show what is live now
        </Action>
      )}
      {newer.of === id && <Newer {...newer} />}
      <div class="row tools">
        <Action why={notYet ?? reason(team.trim(), "deploy")} onClick={check}>
          Check
        </Action>
        <label class="filter">
          <span>Records to try</span>
          <select value={number} onChange={(event) => setNumber(Number(event.currentTarget.value))}>
            {TRIALS.map((records) => (
              <option value={records}>{records}</option>
            ))}
          </select>
        </label>
        <Action why={notYet ?? reason(team.trim(), "data")} onClick={tryIt}>
          Try it on the newest {number} records
        </Action>
        <Action kind="main" why={notYet ?? reason(team.trim(), "deploy")} onClick={deploy}>
          Deploy
        </Action>
        <span class="quiet" role="status">
          {!hasName && "First name the team and the transform."}
          {isReading && "The page reads the files ..."}
          {busy && { check: "The host checks it ...", show: "The page loads what is live ...", try: "The host runs it ...", deploy: "The host checks and accepts it ..." }[busy]}
        </span>
      </div>
      {(verdict || trial) && (
        // What is written stays, also if an answer is none that can be shown.
        <Boundary>
          <Verdict verdict={verdict} base={base} />
          {trial && <Trial report={trial} />}
        </Boundary>
      )}
      <Command>{`sandbar deploy -f transform.yaml${withModule}`}</Command>
      {hasName && <Command>{`sandbar test ${named(id)} --live ${number} --spec transform.yaml${withModule}`}</Command>}
    </section>
  );
}

/** The spec without the digest of another module than the one that was dropped. */
function withoutDigest(text) {
  const json = /"module"\s*:\s*"sha256:[0-9a-f]*"/.source;
  return text
    .replace(new RegExp(`${json}\\s*,\\s*|\\s*,\\s*${json}`), "")
    .replace(/^module[ \t]*:[ \t]*["']?sha256:[0-9a-f]*["']?[ \t]*\r?\n/m, "");
}

/** The text of a field at the top of a spec. Others below it, such as labels, may have the same name. */
function fieldOf(text, word) {
  if (!isJson(text)) return new RegExp(`^["']?${word}["']?\\s*:\\s*["']?([a-z0-9-]+)`, "m").exec(text)?.[1];
  try {
    const value = JSON.parse(text)[word];
    return typeof value === "string" ? value : undefined;
  } catch {
    return undefined;
  }
}

function isJson(text) {
  return /^\s*\{/.test(text);
}

/** The place to drop files, which is also a button that chooses them. A drop anywhere else on the page counts as well. */
function Drop({ take, module, signature, known }) {
  const box = useRef(null);
  const isOver = useDrops(box, take);
  const choose = (event) => {
    take([...event.currentTarget.files]);
    // The same file is chosen again when it was written again.
    event.currentTarget.value = "";
  };
  return (
    <label ref={box} class={`drop ${isOver ? "over" : ""}`}>
      <strong>Drop a module (.wasm) and its spec (.yaml, .json) here</strong>, or choose files.{" "}
      <input type="file" multiple accept=".wasm,.yaml,.yml,.json,.sig" onChange={choose} />
      <span class="quiet" role="status">
        {module ? `Module: ${visible(module.name)}, ${bytes(module.size)}` : known ? "Module: the one that the spec names" : "No module yet: the spec may name one by its digest"}
        {signature && `, signed by ${visible(signature.name)}`}
      </span>
    </label>
  );
}

/** Takes files that are dropped anywhere: the browser would show them in the place of the page, and all that is written would be lost. */
function useDrops(box, take) {
  const [isOver, setOver] = useState(false);
  const newest = useRef(take);
  newest.current = take;
  useEffect(() => {
    const end = new AbortController();
    const on = (name, act) => addEventListener(name, act, { signal: end.signal });
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
    on("dragover", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setOver(true);
    });
    on("dragleave", (event) => {
      if (!event.relatedTarget) setOver(false);
    });
    on("drop", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setOver(false);
      // A page that waits for a sign-in takes nothing.
      if (!box.current.closest("[inert]")) newest.current([...event.dataTransfer.files]);
    });
    return () => end.abort();
  }, []);
  return isOver;
}

/** What is live now, and was not when the page was loaded: Deploy replaces it, with the text that was written before. */
function Newer({ of, value, before }) {
  const now = value ? `Revision ${value.revision} of ${of} is live now, which this page had not loaded` : `${of} is deleted by now`;
  const next = value ? "Deploy replaces it with the text above, and Check shows what that changes" : "Deploy makes it again";
  return (
    <div class="verdict" role="status">
      <p class="state warn">
        <Mark of="warn" /> {visible(`${now}. ${next}.`)}
      </p>
      {value && before && (
        <>
          <p>Changes from revision {before.revision} to {value.revision}:</p>
          <Changes before={before} after={value} />
        </>
      )}
    </div>
  );
}

function Changes({ before, after }) {
  return (
    <>
      <DiffText before={specText(before.spec)} after={specText(after.spec)} />
      {before.module !== after.module && <p>Another module: {visible(after.module.slice(7, 19))}</p>}
    </>
  );
}

function Verdict({ verdict, base }) {
  if (!verdict) return null;
  if (verdict.problem) return <ProblemBox problem={{ ...verdict.problem, message: verdict.problem.message, errors: [] }} />;
  const { view } = verdict;
  return (
    <div class="verdict" role="status">
      <p class="state ok">
        <Mark of="ok" /> {view.outcome === "unchanged" ? "Nothing would change." : `The host takes it as revision ${view.revision}${view.dry_run ? "" : ": it is on its way"}.`}
        {view.creates.length > 0 && ` It makes ${view.creates.length === 1 ? "the topic" : "the topics"} ${view.creates.map(visible).join(", ")}.`}
      </p>
      {view.warnings.map((warning) => (
        <p class="state warn">
          <Mark of="warn" /> <WithCodes text={warning} />
        </p>
      ))}
      {base && view.dry_run && <Changes before={base} after={view} />}
    </div>
  );
}
