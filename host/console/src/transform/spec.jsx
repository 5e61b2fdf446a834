// The deployed spec, as a deployment takes it.

import { get, path } from "../api.js";
import { named, visible } from "../format.js";
import { useLoad } from "../hooks.js";
import { link } from "../router.js";
import { Command, Loaded } from "../ui.jsx";

export function Spec({ id, transform }) {
  const deployed = useLoad((signal) => get(path(id), signal), id, [transform.revision]);
  return (
    <section>
      <Loaded of="the spec" from={deployed}>
        {({ spec, revision, module, signed_by }) => (
          <>
            <p>
              Revision {revision}, module <code>{visible(module)}</code>
              {signed_by ? `, signed by ${visible(signed_by)}` : ""}. <a href={link("deploy", ...id.split("/"))}>Change it</a>
            </p>
            <pre tabIndex={0} aria-label="The spec">
              {visible(JSON.stringify(spec, null, 2))}
            </pre>
          </>
        )}
      </Loaded>
      <Command>sandbar describe {named(id)}</Command>
    </section>
  );
}
