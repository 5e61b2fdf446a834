// Builds the console into dist: `make console` runs it. The built files are committed, so that `cargo build` needs no Node.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const BYTES_MAX = 250_000;
const root = dirname(fileURLToPath(import.meta.url));
const dist = join(root, "dist");
rmSync(dist, { recursive: true, force: true });
mkdirSync(dist);

const shared = { absWorkingDir: root, bundle: true, minify: true, target: "es2022", legalComments: "none", charset: "utf8" };
const jsx = { jsx: "automatic", jsxImportSource: "preact" };
const meta = await Promise.all([
  build({ ...shared, ...jsx, entryPoints: { console: "src/main.jsx" }, outdir: "dist", format: "esm", metafile: true }),
  build({ ...shared, entryPoints: { layout: "src/flow/layout_worker.js" }, outdir: "dist", format: "iife", metafile: true }),
  build({ ...shared, entryPoints: { console: "src/console.css" }, outdir: "dist", metafile: true }),
]);
for (const name of ["index.html", "icon.svg"]) {
  writeFileSync(join(dist, name), readFileSync(join(root, "src", name)));
}

// The licences of every package that has code in the built files.
const packages = new Set();
for (const { metafile } of meta) {
  for (const input of Object.keys(metafile.inputs)) {
    const found = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
    if (found) packages.add(found[1]);
  }
}
const licences = [...packages].sort().map((name) => {
  const folder = join(root, "node_modules", name);
  const { version, license } = JSON.parse(readFileSync(join(folder, "package.json")));
  const file = readdirSync(folder).find((file) => /^licen[sc]e/i.test(file));
  const text = file ? readFileSync(join(folder, file), "utf8").trim() : `Licence: ${license}`;
  return `${name} ${version} (${license})\n\n${text}\n`;
});
writeFileSync(join(dist, "licences.txt"), licences.join("\n" + "=".repeat(80) + "\n\n"));

// A test of the host compares this digest with the sources: an old dist is noticed without Node.
const sources = (folder) =>
  readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? sources(path) : [path];
  });
const files = [...sources(join(root, "src")), ...["build.mjs", "package.json", "package-lock.json"].map((name) => join(root, name))];
const digest = createHash("sha256");
for (const path of files.map((file) => relative(root, file)).sort()) {
  const content = readFileSync(join(root, path));
  digest.update(`${path} ${content.length}\n`);
  digest.update(content);
}
writeFileSync(join(dist, "sources.sha256"), digest.digest("hex") + "\n");

let total = 0;
let compressed = 0;
for (const name of readdirSync(dist).filter((name) => name !== "licences.txt" && name !== "sources.sha256")) {
  const content = readFileSync(join(dist, name));
  total += content.length;
  compressed += gzipSync(content).length;
}
console.log(`console: ${total} bytes, ${compressed} compressed`);
if (total > BYTES_MAX) throw new Error(`the console has more than ${BYTES_MAX} bytes`);
