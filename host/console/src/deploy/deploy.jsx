// A deployment: drop a module and a spec, check, try on the newest records, deploy, and watch.

import { useMemo, useState } from "preact/hooks";
import { change, exact, get, path, send, unlessChanged } from "../api.js";
import { bytes, named, quoted, visible } from "../format.js";
import { useCaller, useLoad } from "../hooks.js";
import { go, transformLink } from "../router.js";
import { currentCaller, reason } from "../session.js";
import { Action, Command, Mark, ProblemBox, WithCodes } from "../ui.jsx";
import { DiffText, text as specText } from "../transform/revisions.jsx";
import { useLiveCheck } from "./live_check.js";
import { SpecEditor } from "./spec_editor.jsx";
import { Trial } from "./trial.jsx";

/** Longest spec that the page takes in: the host's own limit. */
const SPEC_BYTES_MAX = 1024 * 1024;
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
  // The newest verdict and trial, with the content that they are of.
  const [results, setResults] = useState({ of: null });
  const [busy, setBusy] = useState("");
  const id = `${team.trim()}/${name.trim()}`;
  const withModule = module ? ` --module=${quoted(module.name)}` : "";
  const hasName = team.trim() !== "" && name.trim() !== "";
  const notYet = hasName ? (busy ? "the host has not answered yet" : undefined) : "name the team and the transform";
  const content = useMemo(() => ({ id, spec, module, signature }), [id, spec, module, signature]);
  const { verdict, trial } = results.of === content ? results : {};

  const takeFiles = async (files) => {
    for (const file of files) {
      if (isModule(file)) {
        setModule(file);
        setSpec(withoutDigest);
      } else if (file.name.endsWith(".sig")) {
        setSignature(file);
      } else if (file.size <= SPEC_BYTES_MAX) {
        const text = await file.text();
        setSpec(module || files.some(isModule) ? withoutDigest(text) : text);
        const field = (word) => new RegExp(`^\\s*"?${word}"?\\s*:\\s*"?([a-z0-9-]+)"?`, "m").exec(text)?.[1];
        if (!givenTeam) {
          setTeam((last) => field("team") ?? last);
          setName((last) => field("name") ?? last);
        }
      }
    }
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
  // A deployment that came since the spec was loaded is not lost unseen.
  const headers = known ? unlessChanged(known.revision) : {};
  const given = useMemo(() => (mayAsk ? { id, form, headers } : null), [mayAsk, content, currentCaller()]);
  const live = useLiveCheck(given);
  const act = (word, run) => async () => {
    const show = (come) => setResults((last) => ({ ...(last.of === content ? last : {}), ...come, of: content }));
    setBusy(word);
    show(word === "try" ? { verdict: null, trial: null } : { verdict: null });
    try {
      show(await run());
    } catch (problem) {
      show({ verdict: { problem } });
    }
    setBusy("");
  };
  const check = act("check", async () => {
    const answer = await send("PUT", path(id, "?dry_run=true"), { body: form(), headers });
    return { verdict: { view: await answer.json() } };
  });
  const deploy = act("deploy", async () => {
    const view = await change("PUT", path(id), form(), headers);
    go(transformLink(id));
    return { verdict: { view } };
  });
  const tryIt = (number) =>
    act("try", async () => {
      const newest = new Blob([JSON.stringify({ records: number, inputs: true })], { type: "application/json" });
      const answer = await send("POST", path(id, "/test"), { body: form({ live: newest }) });
      return { trial: exact(await answer.text()) };
    });

  return (
    <section>
      <h1>{known ? visible(`Deploy ${givenTeam}/${givenName}`) : "Deploy"}</h1>
      <Drop take={takeFiles} module={module} signature={signature} known={known} />
      <div class="row tools">
        <label class="filter">
          <span>Team</span>
          <input value={team} readOnly={Boolean(givenTeam)} onInput={(event) => setTeam(event.currentTarget.value)} />
        </label>
        <label class="filter">
          <span>Name</span>
          <input value={name} readOnly={Boolean(givenName)} onInput={(event) => setName(event.currentTarget.value)} />
        </label>
      </div>
      <SpecEditor spec={spec} setSpec={setSpec} isFixed={busy === "deploy"} problem={verdict?.problem ?? live.problem} live={live} />
      <div class="row">
        <Action why={notYet ?? reason(team.trim(), "deploy")} onClick={check}>
          Check
        </Action>
        <Action why={notYet ?? reason(team.trim(), "data")} onClick={tryIt(20)}>
          Try it on the newest 20 records
        </Action>
        <Action kind="main" why={notYet ?? reason(team.trim(), "deploy")} onClick={deploy}>
          Deploy
        </Action>
        <span class="quiet" role="status">
          {!hasName && "First name the team and the transform."}
          {busy && { check: "The host checks it ...", try: "The host runs it ...", deploy: "The host checks and accepts it ..." }[busy]}
        </span>
      </div>
      <Verdict verdict={verdict} known={known} />
      {trial && <Trial report={trial} />}
      <Command>{`sandbar deploy -f transform.yaml${withModule}`}</Command>
      {hasName && <Command>{`sandbar test ${named(id)} --live 20 --spec transform.yaml${withModule}`}</Command>}
    </section>
  );
}

function isModule(file) {
  return file.name.endsWith(".wasm");
}

/** The spec without the digest of another module than the one that was dropped. */
function withoutDigest(text) {
  const json = /"module"\s*:\s*"sha256:[0-9a-f]*"/.source;
  return text
    .replace(new RegExp(`${json}\\s*,\\s*|\\s*,\\s*${json}`), "")
    .replace(/^module[ \t]*:[ \t]*["']?sha256:[0-9a-f]*["']?[ \t]*\r?\n/m, "");
}

function isJson(text) {
  return /^\s*\{/.test(text);
}

/** The place to drop files, which is also a button that chooses them. */
function Drop({ take, module, signature, known }) {
  const [isOver, setOver] = useState(false);
  const drop = (event) => {
    event.preventDefault();
    setOver(false);
    take([...event.dataTransfer.files]);
  };
  return (
    <label class={`drop ${isOver ? "over" : ""}`} onDragOver={(event) => { event.preventDefault(); setOver(true); }} onDragLeave={() => setOver(false)} onDrop={drop}>
      <strong>Drop a module (.wasm) and its spec (.yaml, .json) here</strong>, or choose files.{" "}
      <input type="file" multiple accept=".wasm,.yaml,.yml,.json,.sig" onChange={(event) => take([...event.currentTarget.files])} />
      <span class="quiet" role="status">
        {module ? `Module: ${visible(module.name)}, ${bytes(module.size)}` : known ? "Module: the one that the spec names" : "No module yet: the spec may name one by its digest"}
        {signature && `, signed by ${visible(signature.name)}`}
      </span>
    </label>
  );
}

function Verdict({ verdict, known }) {
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
      {known && view.dry_run && <DiffText before={specText(known.spec)} after={specText(view.spec)} />}
      {known && view.dry_run && known.module !== view.module && <p>Another module: {visible(view.module.slice(7, 19))}</p>}
    </div>
  );
}
