// The files that somebody drops or chooses: a module, its signature and a spec. Their bytes are read at once, since a browser sends
// no file that was written again after it was chosen.

import { bytes } from "../format.js";

/** What the page takes by the end of a name, with the longest file of each kind. A spec has the host's limit; a module may have another one on each host. */
const KINDS = [
  { kind: "module", ends: [".wasm"], bytesMax: 256 * 1024 * 1024 },
  { kind: "signature", ends: [".sig"], bytesMax: 64 * 1024 },
  { kind: "spec", ends: [".yaml", ".yml", ".json"], bytesMax: 1024 * 1024 },
];

/** Reads files: `module` and `signature` as files, `spec` as text, and in `errors` the reason for each file that is not taken. */
export async function readFiles(files) {
  const taken = { errors: [] };
  for (const file of files) {
    const refuse = (message) => taken.errors.push({ field: file.name, message });
    const found = KINDS.find(({ ends }) => ends.some((end) => file.name.toLowerCase().endsWith(end)));
    if (!found) {
      refuse(`is no module (${KINDS[0].ends}), spec (${KINDS[2].ends.join(", ")}) or signature (${KINDS[1].ends})`);
    } else if (file.size > found.bytesMax) {
      refuse(`has ${bytes(file.size)}: a ${found.kind} has ${bytes(found.bytesMax)} at most`);
    } else {
      try {
        taken[found.kind] = found.kind === "spec" ? await file.text() : new File([await file.arrayBuffer()], file.name);
      } catch {
        refuse("cannot be read: it may be a folder, or have been written again or removed just now");
      }
    }
  }
  return taken;
}
