// The revisions that are kept: what changed from one to the next, and the way back.

import { useState } from "preact/hooks";
import { get, path } from "../api.js";
import { bytes, named, visible } from "../format.js";
import { useLoad, useRoute } from "../hooks.js";
import { setQuery } from "../router.js";
import { reason } from "../session.js";
import { Action, Ago, Command, Loaded } from "../ui.jsx";
import { DiffText, text } from "./diff_text.jsx";
import { RollBack } from "./roll_back.jsx";

export function Revisions({ id, transform }) {
  const [team] = id.split("/");
  const { query } = useRoute();
  const [target, setTarget] = useState(null);
  const list = useLoad((signal) => get(path(id, "/revisions"), signal), id, [transform.revision, transform.running_revisions.join()]);
  return (
    <section>
      <Loaded of="the revisions" from={list}>
        {({ revisions }) => {
          const picked = query.get("revision");
          const index = picked === null ? 0 : revisions.findIndex(({ revision }) => String(revision) === picked);
          const after = revisions[index]?.revision;
          const before = revisions[index + 1]?.revision;
          return (
            <>
              <div class="scroll" tabIndex={0} role="region" aria-label="Revisions">
                <table>
                  <thead>
                    <tr>
                      {["Revision", "Made", "By", "Module", "", ""].map((head, column) => (head ? <th scope="col">{head}</th> : <td key={column} />))}
                    </tr>
                  </thead>
                  <tbody>
                    {revisions.map(({ revision, changed_at, cause, rolled_back_to, module, current, running, module_stored }) => (
                      <tr key={revision} class={revision === after ? "picked" : ""}>
                        <th scope="row">
                          {revision} {current && <span class="tag">deployed</span>} {running && <span class="tag ok">runs</span>}
                        </th>
                        <td>
                          <Ago at={changed_at} />
                        </td>
                        <td>
                          {visible(cause)}
                          {rolled_back_to && ` to ${rolled_back_to}`}
                        </td>
                        <td>
                          <code title={module}>{visible(module.replace("sha256:", "").slice(0, 12))}</code>
                        </td>
                        <td>
                          <button type="button" class="small" aria-pressed={revision === after} onClick={() => setQuery({ revision })}>
                            Changes
                          </button>
                        </td>
                        <td>
                          {!current && (
                            <Action kind="small" why={reason(team, "deploy") ?? (module_stored ? undefined : "its module is no longer stored")} onClick={() => setTarget(revision)}>
                              Roll back to {revision}
                            </Action>
                          )}
                        </td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </div>
              {index < 0 && <p class="state warn">Revision {visible(picked)} is not among those that are kept.</p>}
              {after !== undefined && <Changes id={id} before={before} after={after} />}
            </>
          );
        }}
      </Loaded>
      {target && <RollBack id={id} live={transform.revision} to={target} close={() => setTarget(null)} />}
      <Command>sandbar revisions {named(id)}</Command>
    </section>
  );
}

/** A revision beside the one before it. */
function Changes({ id, before, after }) {
  const pair = `${id} ${before} ${after}`;
  const load = async (signal) => {
    const one = (revision) => (revision === undefined ? null : get(path(id, `/revisions/${revision}`), signal));
    const [old, next] = await Promise.all([one(before), one(after)]);
    const module = async (revision) => {
      if (!revision) return null;
      try {
        return await get(`/v1/modules/${revision.module}`, signal);
      } catch (problem) {
        if (signal.aborted) throw problem;
        return { digest: revision.module };
      }
    };
    const isSame = old?.module === next.module;
    const modules = isSame ? [null, await module(next)] : await Promise.all([module(old), module(next)]);
    return { old, next, modules, isSame };
  };
  const loaded = useLoad(load, pair);
  return (
    <section>
      <h2>{before === undefined ? `Revision ${after}` : `Changes from revision ${before} to ${after}`}</h2>
      <Loaded of="both revisions" from={loaded}>
        {({ old, next, modules, isSame }) => (
          <>
            <p>
              {isSame ? "The same module: " : old ? "Another module: " : "Module: "}
              {modules.filter(Boolean).map((module, index, all) => (
                <>
                  {index > 0 && " → "}
                  <ModuleLine module={module} other={all[1 - index]} />
                </>
              ))}
            </p>
            <DiffText before={old ? text(old.spec) : ""} after={text(next.spec)} isFirst={!old} />
          </>
        )}
      </Loaded>
      {before !== undefined && <Command>{`sandbar diff ${named(id)} ${before} ${after}`}</Command>}
    </section>
  );
}

function ModuleLine({ module, other }) {
  const imports = module.imports ?? [];
  const more = imports.filter((name) => other?.imports && !other.imports.includes(name));
  return (
    <span>
      <code title={module.digest}>{visible(module.digest.replace("sha256:", "").slice(0, 12))}</code>
      {module.bytes !== undefined && ` ${bytes(module.bytes)}`}
      {imports.length > 0 && `, imports ${imports.map(visible).join(", ")}`}
      {more.length > 0 && <strong> (only here: {more.map(visible).join(", ")})</strong>}
    </span>
  );
}
