// The flows of the console, each as a person goes through it, with what is shown at each step.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { checkAxe, checkEnd, open, until } from "./browser.mjs";
import { start } from "./synthetic.mjs";

const SLIM = "orders/slim";

async function shows(locator, text) {
  await locator.filter({ hasText: text }).first().waitFor();
}

/** Changes the host's answers on their way to the page. */
async function rewrite(page, address, change) {
  await page.route(address, async (route) => {
    const body = change(await (await route.fetch()).text());
    // A request that the page has given up has no answer.
    await route.fulfill({ contentType: "application/json", body }).catch(() => {});
  });
}

/** Makes a change by the API, beside the page. */
async function change(page, method, address, data) {
  const answer = await page.request.fetch(address, { method, data, headers: { "sandbar-request": "1" } });
  assert.ok(answer.ok(), `${method} ${address}: ${await answer.text()}`);
  return answer.json();
}

/** Deploys a spec with the module of `orders/slim`. */
async function deploySpec(page, base, id, spec) {
  const [team, name] = id.split("/");
  const { module } = await (await page.request.get(`${base}/v1/teams/orders/transforms/slim`)).json();
  await change(page, "PUT", `${base}/v1/teams/${team}/transforms/${name}`, { module, ...spec });
}

/** Waits until all that the page knows is drawn. */
function drawn(page) {
  return page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
}

/** A gate that requests wait at, until it is opened. */
function gate() {
  let openIt;
  const opened = new Promise((done) => {
    openIt = done;
  });
  return { opened, open: openIt };
}

/** The start: the graph of all topics and transforms, with rates, trouble and filters. */
export async function flow(browser, base) {
  const opened = await open(browser, base);
  const { page } = opened;
  const answer = await page.request.get(`${base}/`);
  const policy = answer.headers()["content-security-policy"];
  for (const rule of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "form-action 'none'"]) {
    assert.ok(policy.split("; ").includes(rule), `${rule} in ${policy}`);
  }
  assert.ok(!policy.includes("unsafe"), policy);
  assert.equal(answer.headers()["x-content-type-options"], "nosniff");
  assert.equal(answer.headers()["referrer-policy"], "no-referrer");

  await shows(page.locator(".summary"), "3 transforms of 2 teams");
  await shows(page.locator(".summary"), "None in trouble");
  for (const topic of ["shop.orders", "orders.slim", "orders.audit", "stock.counts"]) await page.getByRole("button", { name: `topic ${topic}`, exact: true }).waitFor();
  const slim = page.getByRole("button", { name: new RegExp(`^transform ${SLIM}: .*runs revision 1 on 1 host`) });
  await slim.waitFor();
  // Records flow: the rates are those of now, also on the edges.
  await page.locator(".edge-rate").filter({ hasText: /\/(s|min)$/ }).first().waitFor();
  await page.getByRole("button", { name: new RegExp(`^transform ${SLIM}: .*[1-9]\\d*/(s|min) in, `) }).waitFor();

  await slim.click();
  const beside = page.getByRole("complementary");
  await shows(beside.getByRole("heading"), SLIM);
  await shows(beside, "Latency p99");
  assert.match(page.url(), /node=transform/, "the view has an address");
  // A proxy before the host may know its users by a cookie.
  await opened.context.addCookies([{ name: "proxy", value: "user-1", url: base }]);
  const [asked] = await Promise.all([page.waitForRequest(`${base}/v1/whoami`), page.reload()]);
  assert.match((await asked.allHeaders()).cookie ?? "", /proxy=user-1/);
  await shows(page.getByRole("complementary").getByRole("heading"), SLIM);
  await page.getByRole("button", { name: "Close", exact: true }).click();
  await page.getByRole("button", { name: "topic orders.slim", exact: true }).click();
  await shows(beside, "Written by");
  await shows(beside, "orders/audit");
  await page.getByRole("button", { name: "Close", exact: true }).click();

  await page.getByLabel("Find").fill("stock");
  await page.getByRole("button", { name: "topic orders.audit" }).waitFor({ state: "detached" });
  await page.getByRole("button", { name: "topic stock.counts" }).waitFor();
  await page.getByLabel("Find").fill("");
  await page.getByLabel("Team").selectOption("orders");
  await page.getByRole("button", { name: "topic stock.counts" }).waitFor({ state: "detached" });
  await page.getByLabel("Team").selectOption("");
  await page.getByLabel("Trouble only").check();
  await shows(page.locator("main"), "No transform is in trouble.");
  await page.getByLabel("Trouble only").uncheck();
  await checkAxe(page, "graph");
  await page.getByRole("button", { name: "list", exact: true }).click();
  await page.getByRole("columnheader", { name: "Lag" }).getByRole("button").click();
  assert.equal(await page.getByRole("columnheader", { name: "Lag" }).getAttribute("aria-sort"), "descending");
  assert.equal(await page.getByRole("row").count(), 4);
  await checkEnd(opened, "flow");
}

/** A transform: plots, partitions, the verbs, revisions with their difference, and the way back. */
export async function transform(browser, base) {
  const opened = await open(browser, base, { path: `#/t/${SLIM}` });
  const { page } = opened;
  const headline = page.locator(".headline");
  await shows(headline, /runs revision \d+ on 1 host/);
  await until("six plots are drawn", async () => (await page.locator(".plot canvas").count()) === 6);
  await page.getByRole("img", { name: /^Records over the last minutes: in now [1-9].*\/(s|min), highest/ }).waitFor();
  await page.getByRole("img", { name: /^Latency over the last minutes: p50 now \d/ }).waitFor();
  await page.getByRole("img", { name: /^Memory over the last minutes: of .* now \d/ }).waitFor();
  await page.getByRole("rowheader", { name: "shop.orders/3" }).waitFor();
  assert.equal(await page.getByRole("region", { name: "Partitions" }).getByRole("row").count(), 5);
  await page.getByRole("columnheader", { name: "Partition" }).getByRole("button").click();
  const firstRow = page.getByRole("region", { name: "Partitions" }).getByRole("row").nth(1);
  await shows(firstRow, "shop.orders/3");
  assert.match(page.url(), /sort=-partition/, "the order has an address");
  await page.reload();
  await shows(firstRow, "shop.orders/3");
  const lastError = page.getByRole("columnheader", { name: "Last error" });
  await lastError.getByRole("button").click();
  assert.equal(await lastError.getAttribute("aria-sort"), "ascending");
  await shows(firstRow, /E101 [^]* \(offset \d+\)/);
  // The newest error has its place, and the way to its record.
  await shows(page.locator("header .state.bad"), /E101 [^]* \(shop\.orders\/\d @ \d+\)/);
  assert.match(await page.getByRole("link", { name: "show its dead letter" }).getAttribute("href"), /#\/t\/orders\/slim\/dead-letters$/);
  await checkAxe(page, "overview");

  await page.getByRole("button", { name: "Pause", exact: true }).click();
  const dialog = page.getByRole("dialog");
  await shows(dialog, "Records wait in the inputs");
  await shows(dialog, `sandbar pause ${SLIM}`);
  await checkAxe(page, "the question");
  await dialog.getByRole("button", { name: "Cancel", exact: true }).click();
  await dialog.waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Pause", exact: true }).click();
  await dialog.getByRole("button", { name: "Pause", exact: true }).click();
  await shows(headline, "paused at revision");
  await page.getByRole("button", { name: "Resume", exact: true }).click();
  await dialog.getByRole("button", { name: "Resume", exact: true }).click();
  await shows(headline, /runs revision \d+ on 1 host/);

  await page.getByRole("link", { name: "Spec", exact: true }).click();
  await shows(page.locator("pre"), '"shop.orders"');
  await checkEnd(opened, "transform");
}

/** A deployment by dropping files: a refused module, a bad spec, the trial, the new revision; then the way back. */
export async function deploy(browser, base, { module, spec }) {
  const opened = await open(browser, base, { path: `#/deploy/${SLIM}`, expected: [400, 409, 422, 503] });
  const { page } = opened;
  const drop = page.locator("input[type=file]");
  const text = page.getByRole("textbox", { name: "Spec" });
  await shows(page.getByRole("heading"), `Deploy ${SLIM}`);
  assert.match(await text.inputValue(), /"shop.orders"/);

  await drop.setInputFiles({ name: "broken.wasm", mimeType: "application/wasm", buffer: Buffer.from("no module at all") });
  await page.getByRole("button", { name: "Check", exact: true }).click();
  await shows(page.getByRole("alert"), "E010");
  await shows(page.getByRole("alert"), "it is not WebAssembly");
  await checkAxe(page, "a refused module");

  await drop.setInputFiles({ name: "candidate.wasm", mimeType: "application/wasm", buffer: readFileSync(module) });
  await text.fill(spec.replace("shop.orders", "no.such.topic").replace("inputs:", "\ninputs:"));
  await page.getByRole("button", { name: "Check", exact: true }).click();
  await shows(page.getByRole("alert"), "no.such.topic");
  await page.getByRole("button", { name: /^line \d+$/ }).first().click();
  assert.match(await page.evaluate(() => getSelection().toString() || document.activeElement.value.slice(document.activeElement.selectionStart, document.activeElement.selectionEnd)), /inputs/);

  // Dropped as a person drops it: the event has the file.
  const transfer = await page.evaluateHandle((content) => {
    const data = new DataTransfer();
    data.items.add(new File([content], "transform.yaml", { type: "application/yaml" }));
    return data;
  }, spec);
  await page.locator(".drop").dispatchEvent("drop", { dataTransfer: transfer });
  await until("the spec is that of the file", async () => (await text.inputValue()) === spec);
  await page.getByRole("button", { name: "Check", exact: true }).click();
  await shows(page.locator(".verdict"), "The host takes it as revision 2");
  await shows(page.locator(".diff .new"), "json-strip");

  await page.getByRole("button", { name: /^Try it on the newest/ }).click();
  const trial = page.getByRole("region", { name: "The dry run" });
  await shows(trial, /20 records, \d+ outputs, \d+ failed\. .*a record, .* of memory/);
  // Failures come first, the input stands beside the output, and both are marked where they differ.
  await shows(trial.locator("mark.gone"), "customer");
  await shows(trial.locator("mark.new"), "customer_id");
  assert.ok((await trial.getByRole("listitem").count()) >= 20);
  await checkAxe(page, "the trial");
  // Results of another text do not stay beside the spec.
  await text.press("Control+End");
  await text.press("Enter");
  await trial.waitFor({ state: "detached" });

  await page.getByRole("button", { name: "Deploy", exact: true }).click();
  await shows(page.locator(".headline"), /runs revision 2 on 1 host/);
  await page.getByRole("link", { name: "Revisions" }).click();
  await shows(page.getByRole("heading", { level: 2 }), "Changes from revision 1 to 2");
  await shows(page.locator(".diff .gone"), '"mode": "fail"');
  await shows(page.locator(".diff .new"), '"mode": "json-strip"');
  await shows(page.locator("main"), "sandbar diff orders/slim 1 2");
  await page.getByRole("button", { name: "Roll back to 1", exact: true }).click();
  const dialog = page.getByRole("dialog");
  await shows(dialog, "Revision 3 gets the spec and the module of revision 1");
  await shows(dialog, "sandbar rollback orders/slim --to 1");
  await dialog.getByRole("button", { name: "Roll back", exact: true }).click();
  await shows(page.locator(".headline"), /runs revision 3 on 1 host/);
  await shows(page.getByRole("row"), "rollback to 1");

  // Somebody else's change, which came since this page loaded the spec, is not lost.
  await page.goto(`${base}/#/deploy/${SLIM}`);
  await until("the deployed spec is there", async () => (await text.inputValue()).includes('"mode": "fail"'));
  const address = `${base}/v1/teams/orders/transforms/slim`;
  const rollBackTo = async (revision) => {
    const others = await page.request.post(`${address}/rollback`, { data: { revision } });
    assert.ok(others.ok(), await others.text());
  };
  const deployed = async () => (await (await page.request.get(address)).json()).revision;
  await rollBackTo(2);
  await page.getByRole("button", { name: "Deploy", exact: true }).click();
  await shows(page.getByRole("alert"), "E008");
  assert.equal(await deployed(), 4);
  await page.getByRole("button", { name: "Show what is live now", exact: true }).click();
  await shows(page.locator(".verdict"), `Revision 4 of ${SLIM} is live now`);

  // Nor is one that comes while a question is open: the answer is about the revision that was asked about.
  await page.goto(`${base}/#/t/${SLIM}/revisions`);
  await shows(page.locator(".headline"), /runs revision 4 on 1 host/);
  await page.getByRole("button", { name: "Roll back to 1", exact: true }).click();
  await shows(dialog, "Revision 5 gets the spec and the module of revision 1");
  await rollBackTo(3);
  await shows(page.locator(".headline"), /runs revision 5 on 1 host/);
  await dialog.getByRole("button", { name: "Roll back", exact: true }).click();
  await shows(dialog.getByRole("alert"), "E008");
  assert.equal(await deployed(), 5);
  await dialog.getByRole("button", { name: "Cancel", exact: true }).click();
  await dialog.waitFor({ state: "detached" });

  // A spec that cannot be read is not taken for none, and the page asks for it again by itself.
  await page.route(address, (route) => route.fulfill({ status: 503, contentType: "application/problem+json", body: JSON.stringify({ code: "E032", detail: "the host is busy" }) }));
  await page.goto(`${base}/#/deploy/${SLIM}`);
  await shows(page.getByRole("alert"), "the host is busy");
  assert.equal(await text.count(), 0);
  await Promise.all([page.waitForRequest(address), page.getByRole("button", { name: "Load again", exact: true }).click()]);
  await page.unroute(address);
  await until("the deployed spec is there", async () => (await text.inputValue()).includes('"mode": "fail"'));
  await checkEnd(opened, "changes that came between");
}

/** Files that are written again after they were chosen, dropped beside the box, or none that the page takes. */
export async function files(browser, base, { module, spec }) {
  const opened = await open(browser, base, { path: `#/deploy/${SLIM}`, expected: [400, 409, 422, 503] });
  const { page } = opened;
  const input = page.locator("input[type=file]");
  const box = page.locator(".drop");
  const text = page.getByRole("textbox", { name: "Spec" });
  const check = page.getByRole("button", { name: "Check", exact: true });
  const rebuilt = join(dirname(module), "rebuilt.wasm");
  writeFileSync(rebuilt, "no module at all");
  await input.setInputFiles(rebuilt);
  await shows(box, "rebuilt.wasm, 16 B");
  // A browser sends no file that was written again. The page has its bytes from before, until the file is chosen again.
  writeFileSync(rebuilt, readFileSync(module));
  await check.click();
  await shows(page.getByRole("alert"), "it is not WebAssembly");
  assert.equal(await input.evaluate(({ files }) => files.length), 0, "the same file can be chosen again");
  await input.setInputFiles(rebuilt);
  await shows(box, /rebuilt\.wasm, .* [KM]iB/);
  await text.fill(spec);
  await check.click();
  await shows(page.locator(".verdict"), /The host takes it as revision \d+|Nothing would change/);

  const drop = async (target, name, content) => {
    const dataTransfer = await page.evaluateHandle(
      ([name, content]) => {
        const data = new DataTransfer();
        data.items.add(new File([content], name));
        return data;
      },
      [name, content],
    );
    await target.dispatchEvent("drop", { dataTransfer });
  };
  const beside = `${spec}# beside the box\n`;
  await drop(page.locator("h1"), "beside.yml", beside);
  await until("the spec is that of the file", async () => (await text.inputValue()) === beside);
  await drop(page.locator("header.bar"), "notes.txt", "no spec");
  await shows(page.getByRole("alert"), /notes\.txt is no module \(\.wasm\), spec/);
  await drop(box, "large.yaml", "#".repeat(2 * 1024 * 1024));
  await shows(page.getByRole("alert"), "large.yaml has 2.0 MiB: a spec has 1.0 MiB at most");
  assert.equal(await text.inputValue(), beside);
  assert.match(page.url(), /#\/deploy\//, "the browser shows no file in the place of the page");
  await checkEnd(opened, "files");
}

/** The spec as it is written: the host's problems at their lines, one request at a time, and the fields that fit at the caret. */
export async function editor(browser, base, { spec: given }) {
  const opened = await open(browser, base, { path: `#/deploy/${SLIM}`, expected: [400, 422] });
  const { page } = opened;
  const deployed = await (await page.request.get(`${base}/v1/teams/orders/transforms/slim`)).json();
  const spec = `${given}module: ${deployed.module}\n`;
  /** Time that a check takes in addition: somebody who types on could start others meanwhile. */
  let slowMs = 0;
  let running = 0;
  let most = 0;
  const asked = [];
  await page.route(/dry_run=true/, async (route) => {
    running += 1;
    most = Math.max(most, running);
    asked.push(route.request().postDataBuffer()?.toString("utf8") ?? "");
    await new Promise((done) => setTimeout(done, slowMs));
    // A request that the page has given up has no answer.
    await route.fulfill({ response: await route.fetch() }).catch(() => {});
    running -= 1;
  });
  const text = page.getByRole("textbox", { name: "Spec" });
  const state = page.locator(".live-check");
  const problems = page.locator(".problems > li");
  await text.fill(spec);
  await shows(state, /Checked: (nothing would change|the host would take it as revision \d+)\./);
  assert.equal(await text.getAttribute("aria-invalid"), "false");

  const lines = spec.trimEnd().split("\n").length;
  await text.fill(`${spec.trimEnd()}\nlimits:\n  memroy: 1MiB\nworkers: 99\n`);
  await shows(problems, "limits.memroy");
  const own = problems.filter({ hasText: "limits.memroy" });
  await shows(own.getByRole("button"), `line ${lines + 2}`);
  await shows(own.getByRole("link"), "E020");
  await shows(page.locator("#spec-problems"), "Hint: ");
  assert.equal(await text.getAttribute("aria-invalid"), "true");
  await own.getByRole("button").click();
  assert.equal(await text.evaluate((area) => area.value.slice(area.selectionStart, area.selectionEnd)), "  memroy: 1MiB");
  // The mark stands beside the line: 20 pixels for each one before it.
  assert.equal(await page.locator(".editor-mark").first().evaluate((mark) => mark.offsetTop), 8 + 20 * (lines + 1));
  await checkAxe(page, "problems in the editor");

  // YAML that cannot be read has its problem at its line as well.
  await text.fill(`${spec.trimEnd()}\nlimits: [1\n`);
  await shows(problems, "E007");
  await shows(problems.getByRole("button"), /line \d+/);

  await text.fill(`${spec.trimEnd()}\n`);
  await shows(state, "Checked: ");
  const before = asked.length;
  await text.press("Control+End");
  slowMs = 2000;
  await page.keyboard.type("workers: 1");
  await until("a check runs", () => running === 1);
  // Pauses of a second: each would be the time for another check.
  await page.keyboard.type("23", { delay: 1000 });
  await page.keyboard.type("4567890123456789", { delay: 20 });
  await until("the last text is checked", () => asked.at(-1).includes("workers: 1234567890123456789"));
  slowMs = 0;
  await shows(problems, "workers");
  assert.equal(most, 1, "one request at a time");
  assert.equal(asked.length - before, 2, "texts in between are left out");

  const options = page.getByRole("listbox", { name: "What fits at the caret" });
  const option = (name) => options.getByRole("option", { name, exact: false });
  const active = () => text.evaluate((area) => document.getElementById(area.getAttribute("aria-activedescendant"))?.innerText ?? "");
  await text.fill(`${spec.trimEnd()}\n`);
  await text.press("Control+End");
  await page.keyboard.type("lim");
  await option("limits").waitFor();
  await page.keyboard.press("Enter");
  assert.ok((await text.inputValue()).endsWith("\nlimits:\n  "), "the field has its next line");
  await page.keyboard.press("Control+Space");
  await option("memory").waitFor();
  assert.match(await active(), /^batch_bytes/);
  await page.keyboard.press("ArrowDown");
  assert.match(await active(), /^batch_records/);
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("ArrowUp");
  assert.match(await active(), /^state_bytes_per_call/, "the list goes around");
  await checkAxe(page, "the list of fields");
  const [box, area] = [await options.boundingBox(), await text.boundingBox()];
  assert.ok(box.y > area.y && box.x >= area.x, "the list is below the caret");
  await page.keyboard.type("mem");
  await until("one field is left", async () => (await options.getByRole("option").count()) === 1);
  await page.keyboard.press("Enter");
  await page.keyboard.type("64MiB\non_error: { then: ");
  await page.keyboard.press("Control+Space");
  await option("dead-letter").waitFor();
  await page.keyboard.press("Escape");
  await options.waitFor({ state: "detached" });
  assert.equal(await page.evaluate(() => document.activeElement.id), "spec", "the text keeps the focus");
  await page.keyboard.press("Control+Space");
  await option("skip").click();
  await page.keyboard.type(" }\n");
  assert.ok((await text.inputValue()).endsWith("\nlimits:\n  memory: 64MiB\non_error: { then: skip }\n"), await text.inputValue());
  // Fields that are there already are not offered again.
  await page.keyboard.press("Control+Space");
  await option("delivery").waitFor();
  assert.equal(await option("limits").count(), 0);
  await page.keyboard.press("Escape");
  await shows(state, /Checked: the host would take it as revision \d+\./);
  await page.keyboard.press("Control+z");
  assert.notEqual(await text.inputValue(), "", "undo takes back a step");

  // JSON has the same list, with its quotes.
  await text.fill('{"inputs": ["shop.orders"], "outputs": {"slim": "orders.slim"}, "delivery": }');
  await text.evaluate((area) => area.setSelectionRange(area.value.length - 1, area.value.length - 1));
  await page.keyboard.press("Control+Space");
  await option("at-least-once").click();
  assert.ok((await text.inputValue()).endsWith('"delivery": "at-least-once"}'), await text.inputValue());
  await checkEnd(opened, "editor");
}

/** Records as they come, log lines, and dead letters, each with its filters. */
export async function records(browser, base) {
  const opened = await open(browser, base, { path: `#/t/${SLIM}/records`, expected: [503] });
  const { page } = opened;
  const items = page.locator("ol.plain > li");
  await shows(items, "→ orders.slim");
  await shows(items.locator("pre"), '"status": "paid"');
  await page.getByLabel("Failed only").check();
  await shows(items, "the value contains poison");
  await until("only failures are shown", async () => (await items.count()) > 0 && (await items.count()) === (await items.filter({ hasText: "Failed" }).count()));
  assert.match(page.url(), /failed=1/, "the filter has an address");
  await page.getByLabel("Failed only").uncheck();
  await page.getByLabel("Text").fill("no record has this");
  const summary = page.locator("main p.quiet");
  await shows(summary, /The newest 0 of \d+ samples/);
  await page.reload();
  assert.equal(await page.getByLabel("Text").inputValue(), "no record has this");
  await shows(summary, /The newest 0 of \d+ samples/);
  await page.getByLabel("Text").fill("");
  await page.getByRole("button", { name: "Hold", exact: true }).click();
  await checkAxe(page, "records");

  await page.getByRole("link", { name: "Logs" }).click();
  await shows(page.locator(".log"), "started");
  await page.getByLabel("Events only").check();
  await page.getByLabel("Text").fill("no line has this");
  await shows(summary, /^0 of \d+ lines/);
  await page.getByLabel("Text").fill("");
  await page.getByLabel("Revision").fill("99");
  await page.getByRole("combobox", { name: /^Level/ }).selectOption("info");
  await page.reload();
  assert.match(page.url(), /revision=99/, "the filter has an address");
  await shows(summary, /^0 of \d+ lines/);
  assert.ok(await page.getByLabel("Events only").isChecked());
  assert.equal(await page.getByRole("combobox", { name: /^Level/ }).inputValue(), "info");
  await checkAxe(page, "logs");

  // A producer may have written the time in nanoseconds: a number that a double does not keep, and no calendar has.
  const address = /\/dead-letters\?/;
  const asked = { letters: 0, statuses: 0 };
  page.on("request", (request) => {
    if (address.test(request.url())) asked.letters += 1;
    if (request.url().endsWith("/status")) asked.statuses += 1;
  });
  await rewrite(page, address, (json) => json.replace(/"timestamp":\d+/g, '"timestamp":1753000000123456789'));
  await page.getByRole("link", { name: "Dead letters" }).click();
  const letters = page.locator("ol.plain > li");
  await shows(letters, "the value contains poison");
  await shows(letters, /shop\.orders\/\d @ \d+, revision 1, 1753000000123456789/);
  // Foreign text is text: nothing of it is an element of the page.
  await shows(letters.locator("pre"), "<img src=x onerror=alert(1)>");
  await shows(letters.locator("pre"), "\\u{1b}[31m");
  assert.equal(await page.locator("pre img").count(), 0);
  // Records fail all the time: the list says so, and stays as it is until somebody asks for another one.
  const { statuses } = asked;
  await shows(page.getByRole("status"), "There are newer ones: load again.");
  await until("more statuses have come", () => asked.statuses >= statuses + 3);
  assert.equal(asked.letters, 1);
  await checkAxe(page, "dead letters");
  await page.getByRole("button", { name: "Load again", exact: true }).click();
  await until("they are loaded again", () => asked.letters === 2);
  await page.getByLabel("Filter", { exact: true }).fill("no letter has this");
  await shows(page.getByRole("status"), /^0 of the newest/);
  // A list that could not be loaded can be asked for again, and its filter is in the address.
  const refuse = (route) => route.fulfill({ status: 503, contentType: "application/problem+json", body: JSON.stringify({ code: "E043", detail: "the topic was not read in time" }) });
  await page.route(address, refuse);
  await page.reload();
  await shows(page.getByRole("alert"), "E043");
  await page.unroute(address, refuse);
  await page.getByRole("button", { name: "Load again", exact: true }).click();
  await shows(page.getByRole("status"), /^0 of the newest/);
  assert.equal(await page.getByLabel("Filter", { exact: true }).inputValue(), "no letter has this");
  await page.getByLabel("Filter", { exact: true }).fill("");
  await letters.first().getByRole("link", { name: /^E\d{3}$/ }).click();
  await shows(page.getByRole("article"), /record/);
  await checkEnd(opened, "an error's page");
}

/** What differs in a record and its outputs: lines as they are, not as they are shown. */
export async function differences(browser, base) {
  const opened = await open(browser, base);
  const { page } = opened;
  const sample = (offset, value, output) => {
    const record = (text) => ({ timestamp: 1753000000123, key: "k", value: text });
    return { at: 1753000000123, host: "host-a", revision: 1, topic: "shop.orders", partition: 0, offset, input: record(value), outputs: [{ topic: "orders.slim", ...record(output) }] };
  };
  const samples = [
    sample(1, "\ufeffname\r\nsame\r\nold\r\n", "\ufeffname\r\nsame\r\nnew\r\n"),
    // Both are longer than what is shown.
    sample(2, `first\n${"x".repeat(25_000)}`, `other\n${"x".repeat(25_000)}`),
  ];
  const body = samples.map((line) => `${JSON.stringify(line)}\n`).join("");
  // A stream that has ended is opened again: the same samples come once more.
  await page.route(/\/tail\?follow/, (route) => route.fulfill({ contentType: "application/x-ndjson", body }));
  await page.goto(`${base}/#/t/${SLIM}/records`);
  for (const [offset, gone, come] of [
    [1, "old\\u{d}", "new\\u{d}"],
    [2, "first", "other"],
  ]) {
    const item = page.locator("ol.plain > li").filter({ hasText: `shop.orders/0 @ ${offset}` }).first();
    await item.waitFor();
    assert.deepEqual(await item.locator("mark.gone").allTextContents(), [`only in the input: ${gone}`]);
    assert.deepEqual(await item.locator("mark.new").allTextContents(), [`only in the output: ${come}`]);
  }
  await shows(page.locator("ol.plain pre"), /5,0\d\d more characters/);
  // Colour is not the only sign.
  const style = (mark) => page.locator(mark).first().evaluate((shown) => [getComputedStyle(shown).boxShadow, getComputedStyle(shown).textDecorationStyle]);
  const [[bar], [, line]] = [await style("mark.gone"), await style("mark.new")];
  assert.match(bar, /inset/);
  assert.equal(line, "dashed");
  await checkEnd(opened, "differences");
}

/** The state of a key, and the dry run of a move. */
export async function state(browser, base, { key }) {
  const opened = await open(browser, base, { path: "#/t/stock/counts/state", expected: [404] });
  const { page } = opened;
  await shows(page.locator("main"), /sums: \d+ entries/);
  const field = page.getByLabel("Key, as the transform writes it");
  await field.fill(key);
  await page.getByRole("button", { name: "Look up", exact: true }).click();
  await shows(page.getByLabel("The entry"), /\S/);
  await shows(page.locator(".command"), `sandbar state get stock/counts sums ${key}`);
  // An answer that was overtaken does not stand below the next key, and an answer keeps its key while another one is written.
  const late = gate();
  await page.route(/\/state\/sums\/late$/, async (route) => {
    await late.opened;
    await route.fulfill({ contentType: "application/json", body: JSON.stringify({ store: "sums", partition: 0, host: "host-a", value: "too late" }) });
  });
  await field.fill("late");
  await field.press("Enter");
  await shows(page.getByRole("status"), "late in sums: looking it up");
  await field.fill(key);
  await field.press("Enter");
  const entry = page.getByRole("status").filter({ hasText: `${key} in sums: partition` });
  await entry.waitFor();
  const [answer] = await Promise.all([page.waitForResponse(/\/state\/sums\/late$/), late.open()]);
  await answer.finished();
  await drawn(page);
  assert.ok(await entry.isVisible());
  assert.equal(await page.getByText("too late").count(), 0);
  await field.fill("nobody");
  assert.ok(await entry.isVisible());
  await page.getByRole("button", { name: "Look up", exact: true }).click();
  await shows(page.getByRole("alert"), "E054");
  await checkAxe(page, "state");

  await page.getByRole("link", { name: "Offsets" }).click();
  await page.getByRole("rowheader", { name: "shop.payments/0" }).waitFor();
  assert.match(await page.getByRole("button", { name: /^Move/ }).getAttribute("title"), /pause it first/);
  const dialog = page.getByRole("dialog");
  await page.getByRole("button", { name: "Pause it", exact: true }).click();
  await shows(dialog, "Records wait in the inputs");
  await shows(dialog, "sandbar pause stock/counts");
  await dialog.getByRole("button", { name: "Pause", exact: true }).click();
  await shows(page.locator(".headline"), "paused at revision");
  // The move is the one that the dry run named, also if there are more records by then.
  const committed = async () => (await (await page.request.get(`${base}/v1/teams/stock/transforms/counts/offsets`)).json()).offsets;
  await until("records wait in both partitions", async () => (await committed()).every(({ lag }) => lag > 0));
  const to = page.getByRole("combobox", { name: /^To/ });
  const dryRun = page.getByRole("button", { name: "Dry run", exact: true });
  const planned = page.getByRole("status").filter({ hasText: /Moves 2 partitions on by [\d,]+ records, which are skipped\./ });
  await to.selectOption("latest");
  await dryRun.click();
  await planned.waitFor();
  // A dry run is of one pause: the transform goes on from there, and is at other offsets at the next one.
  for (const [verb, words] of [
    ["resume", /runs revision \d+/],
    ["pause", "paused at revision"],
  ]) {
    await change(page, "POST", `${base}/v1/teams/stock/transforms/counts/${verb}`);
    await shows(page.locator(".headline"), words);
  }
  assert.equal(await planned.count(), 0);
  await until("records wait in both partitions again", async () => (await committed()).every(({ lag }) => lag > 0));
  // Nor does the answer to an earlier one take the place of that to the last one.
  const first = gate();
  const held = /\/offsets\?dry_run=true$/;
  await page.route(held, async (route) => {
    await first.opened;
    await route.continue();
  }, { times: 1 });
  await to.selectOption("earliest");
  await dryRun.click();
  await to.selectOption("latest");
  await dryRun.click();
  await planned.waitFor();
  const [overtaken] = await Promise.all([page.waitForResponse(held), first.open()]);
  await overtaken.finished();
  await drawn(page);
  assert.equal(await planned.count(), 1);
  const rows = await page.getByRole("region", { name: "The dry run" }).getByRole("row").allInnerTexts();
  const plan = rows.slice(1).map((row) => Number(row.split(/\s+/)[2].replaceAll(",", "")));
  await until("there are more records", async () => (await committed()).every(({ end_offset: end }, index) => end > plan[index]));
  await page.getByRole("button", { name: "Move", exact: true }).click();
  await shows(dialog.locator(".command"), `sandbar offsets set stock/counts --offset shop.payments:0:${plan[0]} --offset shop.payments:1:${plan[1]}`);
  await dialog.getByRole("button", { name: "Move", exact: true }).click();
  await dialog.waitFor({ state: "detached" });
  assert.deepEqual((await committed()).map(({ offset }) => offset), plan);

  await page.getByRole("combobox", { name: /^To/ }).selectOption("earliest");
  await page.getByRole("button", { name: "Dry run", exact: true }).click();
  await shows(page.getByRole("status"), /Moves 2 partitions back by [\d,]+ records, which are processed again\./);
  await checkAxe(page, "offsets");
  await page.getByRole("button", { name: "Move", exact: true }).click();
  await shows(dialog, /Moves 2 partitions back by [\d,]+ records/);
  await dialog.getByRole("button", { name: "Move", exact: true }).click();
  await dialog.waitFor({ state: "detached" });
  await until("both partitions are at their first offset", async () => {
    const rows = await page.getByRole("region", { name: "Offsets" }).getByRole("row").allInnerTexts();
    return rows.slice(1).every((row) => /^shop\.payments\/\d\s+0\s/.test(row));
  });
  // A ceiling may be larger than a double can tell.
  await rewrite(page, `${base}/v1/teams`, (json) => json.replace(/"max":\d+/g, '"max":18446744073709551615'));
  await page.getByRole("link", { name: "Hosts" }).click();
  await shows(page.getByRole("region", { name: "Hosts" }), /now|s ago/);
  await shows(page.getByRole("region", { name: "Limits in use" }), "transforms_max");
  await shows(page.getByRole("region", { name: "Limits in use" }), "18,446,744,073,709,55");
  await checkEnd(opened, "hosts");
}

/** The row of a team in the table of teams. */
function teamRow(page, team) {
  const rows = page.getByRole("region", { name: "Teams" }).getByRole("row");
  return rows.filter({ has: page.getByRole("rowheader", { name: team, exact: true }) });
}

/** The figure of a team's CPU, in CPUs. */
async function cpuOf(page, team) {
  const [, cpus] = /\s([\d,.]+) CPU\s/.exec(await teamRow(page, team).innerText()) ?? [];
  return Number(cpus?.replaceAll(",", ""));
}

/** The hosts: what runs on each, and what it costs its team. */
export async function hosts(browser, base) {
  const opened = await open(browser, base, { path: "#/hosts" });
  const { page } = opened;
  const [{ host }] = (await (await page.request.get(`${base}/v1/hosts`)).json()).hosts;
  const disclosure = page.locator("details").filter({ hasText: host });
  const row = (id) => disclosure.getByRole("listitem").filter({ has: page.getByRole("link", { name: id, exact: true }) });
  await shows(page.getByRole("region", { name: "Hosts" }), host);
  await shows(disclosure.locator("summary"), /3 transforms, \d+ partitions/);
  assert.equal(await disclosure.getByRole("link").count(), 0, "a list that is closed is not made");

  await disclosure.locator("summary").focus();
  await page.keyboard.press("Enter");
  for (const [id, partitions] of [
    [SLIM, 4],
    ["orders/audit", 4],
    ["stock/counts", 2],
  ]) {
    await shows(row(id), `${partitions} partitions`);
    assert.equal(await row(id).getByRole("link").getAttribute("href"), `#/t/${id}`);
    assert.equal(await row(id).getByRole("img").count(), 1, "it has the mark of its state");
  }
  await row(SLIM).getByRole("img", { name: /^(works|warning)$/ }).waitFor();
  assert.deepEqual(await disclosure.getByRole("term").allInnerTexts(), ["orders", "stock"]);

  // Records run, so their teams use a CPU, and the page says when it is counted.
  for (const team of ["orders", "stock"]) await until(`team ${team} uses a CPU`, async () => (await cpuOf(page, team)) > 0);
  const figures = /^orders\s+2\s+[\d.]+ CPU\s+[1-9]\d*\/(s|min)\s+[\d.]+ [KM]iB\s+[\d.]+ [KMG]iB of 1\.0 TiB$/;
  await until("the team has all figures", async () => figures.test((await teamRow(page, "orders").innerText()).trim()));
  await shows(page.locator("main p.quiet"), "counted when a transaction commits");
  await shows(page.getByRole("region", { name: "Limits in use" }), "memory_bytes_max");
  await checkAxe(page, "an open host");

  assert.match(page.url(), /#\/hosts\?open=/, "what is open has an address");
  await page.reload();
  await row(SLIM).getByRole("link").click();
  await shows(page.locator(".headline"), /runs revision \d+ on 1 host/);
  await page.goBack();
  await row(SLIM).waitFor();
  await disclosure.locator("summary").focus();
  await page.keyboard.press("Space");
  await row(SLIM).waitFor({ state: "detached" });
  await until("nothing is open in the address", () => !page.url().includes("open="));
  await checkEnd(opened, "hosts");
}

/** 300 transforms on three hosts, and a host that tells the flow nothing: each list opens at once, stays as it is, and goes on. */
export async function hosts_crowd(browser, _, { dist, frames_min: framesMin, gap_p99_ms_max: gapMax }) {
  const host = await start(dist, 300);
  try {
    const opened = await open(browser, host.url, { path: "#/hosts" });
    const { page } = opened;
    const disclosure = (name) => page.locator("details").filter({ hasText: name });
    const teams = page.getByRole("region", { name: "Teams" });
    const order = async () => (await teams.getByRole("rowheader").allInnerTexts()).map((name) => Number(name.replace("team-", "")));
    const sortBy = (name) => teams.getByRole("columnheader", { name }).getByRole("button").click();
    for (const name of ["host-a", "host-b", "host-c"]) await shows(disclosure(name).locator("summary"), "200 transforms, 1,000 partitions");
    await shows(disclosure("host-a").locator("summary"), "2 in trouble");
    await shows(disclosure("host-d").locator("summary"), "7 transforms, 9 partitions");
    assert.equal(await page.locator("details a").count(), 0);

    // The most CPU comes first; `team-00` is idle.
    await until("all teams are shown", async () => (await order()).length === 12);
    assert.equal(await teams.getByRole("columnheader", { name: "CPU" }).getAttribute("aria-sort"), "descending");
    assert.deepEqual(await order(), [7, 2, 9, 4, 11, 6, 1, 8, 3, 10, 5, 0]);
    assert.deepEqual([await cpuOf(page, "team-07"), await cpuOf(page, "team-05"), await cpuOf(page, "team-00")], [2.2, 0.2, 0]);
    const figures = /^team-07\s+25\s+2\.20 CPU\s+[\d,.K]+\/s\s+3\.0 MiB\s+8\.0 GiB of 1\.0 TiB$/;
    await until("the team has all figures", async () => figures.test((await teamRow(page, "team-07").innerText()).trim()));
    await sortBy("CPU");
    assert.equal(await teams.getByRole("columnheader", { name: "CPU" }).getAttribute("aria-sort"), "ascending");
    assert.deepEqual(await order(), [0, 5, 10, 3, 8, 1, 6, 11, 4, 9, 2, 7]);
    assert.match(page.url(), /sort=cpu/, "the order has an address");
    await sortBy("Memory reserved");
    assert.deepEqual(await order(), [11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    // All are equal in this column: they stay in the order of their names.
    await sortBy("Transforms");
    assert.deepEqual(await order(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    await shows(page.getByRole("region", { name: "Limits in use" }), /transaction_time_max\s*1\.5 s\s*10 s/);

    await disclosure("host-d").locator("summary").click();
    await shows(disclosure("host-d"), "The flow names none of its transforms.");
    for (const name of ["host-a", "host-b", "host-c"]) {
      await disclosure(name).locator("summary").click();
      await until(`the list of ${name} is there`, async () => (await disclosure(name).getByRole("link").count()) === 200);
      assert.equal(await disclosure(name).getByRole("term").count(), 12);
    }
    const named = page.getByRole("link", { name: "team-00/transform-0", exact: true });
    const link = disclosure("host-a").getByRole("link", { name: "team-00/transform-0", exact: true });
    await shows(disclosure("host-a").getByRole("listitem").filter({ has: named }), "5 partitions");
    assert.equal(await link.getAttribute("href"), "#/t/team-00/transform-0");
    assert.equal(await disclosure("host-c").getByRole("link", { name: "team-00/transform-0", exact: true }).count(), 0);
    assert.equal(await disclosure("host-a").getByRole("img", { name: "trouble" }).count(), 2);

    // All of it changes each second, and the lists stay: open, with the focus, and without a row that is made again.
    await link.focus();
    const watched = await page.evaluate(async () => {
      const shown = () => document.querySelector("[aria-label=Teams] tbody").innerText;
      const focused = document.activeElement;
      const before = shown();
      let changes = 0;
      const watch = new MutationObserver((records) => (changes += records.length));
      document.querySelectorAll("details").forEach((list) => watch.observe(list, { subtree: true, childList: true, characterData: true, attributes: true }));
      const until = performance.now() + 20_000;
      while (shown() === before && performance.now() < until) await new Promise((done) => setTimeout(done, 100));
      watch.disconnect();
      return { wentOn: shown() !== before, changes, hasFocus: document.activeElement === focused };
    });
    assert.deepEqual(watched, { wentOn: true, changes: 0, hasFocus: true });
    assert.equal(await page.locator("details[open]").count(), 4);
    await isSmooth(page, "html", { framesMin, gapMax });
    await checkAxe(page, "600 rows of hosts");

    // A host whose list is open goes, and comes back.
    const address = `${host.url}/v1/hosts`;
    await rewrite(page, address, (json) => JSON.stringify({ hosts: JSON.parse(json).hosts.filter((shown) => shown.host !== "host-b") }));
    await disclosure("host-b").waitFor({ state: "detached" });
    await page.unroute(address);
    await until("its list is open again", async () => (await disclosure("host-b").getByRole("link").count()) === 200);
    assert.deepEqual(opened.troubles, []);
    await opened.context.close();
  } finally {
    host.close();
  }
}

/** A transform that stopped before a record that failed: it is trouble, in part and as a whole, and Resume is there. */
export async function stopped(browser, base) {
  const opened = await open(browser, base);
  const { page } = opened;
  const id = "orders/returns";
  for (const topic of ["shop.returns", "orders.returns"]) await change(page, "PUT", `${base}/v1/topics/${topic}`, { partitions: 2 });
  const spec = { inputs: ["shop.returns"], outputs: { returns: "orders.returns" }, config: { mode: "fail" }, start: "earliest" };
  await deploySpec(page, base, id, { ...spec, on_error: { then: "pause" } });
  const poison = (partition) => change(page, "POST", `${base}/v1/topics/shop.returns/records`, [{ key: "k", value: "poison", partition }]);

  await page.goto(`${base}/#/t/${id}`);
  const headline = page.locator(".headline");
  const resume = page.getByRole("button", { name: "Resume", exact: true });
  const row = (partition) => page.getByRole("row").filter({ has: page.getByRole("rowheader", { name: `shop.returns/${partition}` }) });
  await shows(headline, "runs revision 1 on 1 host");
  assert.equal(await resume.count(), 0);

  // One partition waits, and the other goes on.
  await poison(0);
  await shows(headline, "works with a problem (E101), 1 partition stopped until Resume: runs revision 1 on 1 host");
  await shows(row(0), "waits for Resume");
  await shows(row(0).locator(".state.bad"), "waits for Resume");
  await shows(page.locator("header .state.bad"), /E101 [^]* \(shop\.returns\/0 @ 0\)/);
  for (const button of [resume, page.getByRole("button", { name: "Pause", exact: true })]) await button.waitFor();

  // Nothing of it works any more.
  await poison(1);
  await shows(headline, "stopped before a record that failed (E101): it waits for Resume");
  await headline.getByRole("img", { name: "trouble" }).waitFor();
  await checkAxe(page, "a stopped transform");
  await page.goto(`${base}/#/?trouble=1&view=list`);
  await shows(page.locator(".summary"), "1 in trouble");
  await shows(page.getByRole("row"), /orders\/returns.*stopped before a record that failed/);

  // The author mends it, and it goes on.
  await page.goto(`${base}/#/t/${id}`);
  await resume.click();
  const dialog = page.getByRole("dialog");
  await shows(dialog, "also with partitions that stopped before a bad record");
  await shows(dialog, `sandbar resume ${id}`);
  await deploySpec(page, base, id, spec);
  await dialog.getByRole("button", { name: "Resume", exact: true }).click();
  await dialog.waitFor({ state: "detached" });
  await shows(headline, /^.\s*runs revision 2 on 1 host/);
  await resume.waitFor({ state: "detached" });
  await checkEnd(opened, "a transform that was stopped");
}

/** A transform that its host keeps off, since it died in its calls: the head says so, and offers Resume. */
export async function quarantined(browser, base) {
  const opened = await open(browser, base, { path: `#/t/${SLIM}` });
  const { page } = opened;
  const headline = page.locator(".headline");
  const resume = page.getByRole("button", { name: "Resume", exact: true });
  await shows(headline, "kept off by a host that died in its calls (E213): it waits for Resume; nothing runs");
  await headline.getByRole("img", { name: "trouble" }).waitFor();
  await shows(page.locator("header .state.bad"), /E213 it was in a call at 3 abnormal ends of this host in a row/);
  await shows(page.locator(".rollout"), /Revision \d+ waits for Resume/);
  for (const button of [resume, page.getByRole("button", { name: "Pause", exact: true })]) await button.waitFor();
  await resume.click();
  const dialog = page.getByRole("dialog");
  await shows(dialog, /It is quarantined on .* \(E213\), and is started there again\. If the cause is still there, the host dies up to three times more/);
  await shows(dialog, `sandbar resume ${SLIM}`);
  await checkAxe(page, "a quarantined transform");
  await dialog.getByRole("button", { name: "Resume", exact: true }).click();
  await dialog.waitFor({ state: "detached" });
  await shows(headline, /runs revision \d+ on 1 host/);
  await resume.waitFor({ state: "detached" });
  await checkEnd(opened, "a transform that was quarantined");
}

/** The way back from the head: to the newest earlier revision that differs, by its number, and never to one that was left before. */
export async function rollback_target(browser, base) {
  const opened = await open(browser, base);
  const { page } = opened;
  const id = "orders/turns";
  await change(page, "PUT", `${base}/v1/topics/orders.turns`, { partitions: 1 });
  const deployWith = (interval) => deploySpec(page, base, id, { inputs: ["shop.payments"], outputs: { turns: "orders.turns" }, config: { mode: "echo" }, commit_interval: interval });
  await deployWith("100ms");
  await deployWith("200ms");
  await page.goto(`${base}/#/t/${id}`);
  const headline = page.locator(".headline");
  const dialog = page.getByRole("dialog");
  const rollBack = page.getByRole("button", { name: "Roll back", exact: true });
  await shows(headline, "runs revision 2 on 1 host");
  await rollBack.click();
  await shows(dialog, "Revision 3 gets the spec and the module of revision 1.");
  await shows(dialog, `sandbar rollback ${id} --to 1`);
  await shows(dialog.locator(".diff .gone"), '"commit_interval": "200ms"');
  await shows(dialog.locator(".diff .new"), '"commit_interval": "100ms"');
  await checkAxe(page, "a rollback with its changes");
  const [request] = await Promise.all([page.waitForRequest(/\/rollback$/), dialog.getByRole("button", { name: "Roll back", exact: true }).click()]);
  assert.deepEqual(request.postDataJSON(), { revision: 1 });
  await dialog.waitFor({ state: "detached" });

  // Another press does not lead to the revision that was just left.
  await shows(headline, "runs revision 3 on 1 host");
  await rollBack.click();
  await shows(dialog, "Revision 3 is revision 1 again.");
  assert.equal(await dialog.getByRole("button", { name: "Roll back", exact: true }).count(), 0);
  await dialog.getByRole("button", { name: "Show the revisions", exact: true }).click();
  await dialog.waitFor({ state: "detached" });

  // The revision whose changes are shown is a part of the address, and one that is not there has none.
  const heading = page.getByRole("heading", { level: 2 });
  await page.getByRole("row").filter({ hasText: /^2 / }).getByRole("button", { name: "Changes", exact: true }).click();
  await shows(heading, "Changes from revision 1 to 2");
  assert.match(page.url(), /\/revisions\?revision=2$/);
  await page.reload();
  await shows(heading, "Changes from revision 1 to 2");
  await page.goto(`${base}/#/t/${id}/revisions?revision=99`);
  await shows(page.locator("main"), "Revision 99 is not among those that are kept.");
  assert.equal(await heading.count(), 0);

  // A rollback from a new revision leads to the newest one before it, also to one that a rollback made.
  await deployWith("300ms");
  await shows(headline, "runs revision 4 on 1 host");
  await rollBack.click();
  await shows(dialog, "Revision 5 gets the spec and the module of revision 3.");
  await dialog.getByRole("button", { name: "Cancel", exact: true }).click();
  await dialog.waitFor({ state: "detached" });
  await checkEnd(opened, "the way back");
}

/** The error codes: from a code in a sentence to its page, and by a search that is a part of the address. */
export async function errors(browser, base) {
  const opened = await open(browser, base, { path: "#/errors", expected: [404] });
  const { page } = opened;
  const { errors: listed } = await (await page.request.get(`${base}/errors`)).json();
  const main = page.locator("main");
  const codes = page.locator(".codes > li");
  await shows(page.getByRole("status"), `${listed.length} codes.`);
  assert.equal(await codes.count(), listed.length);
  const row = codes.filter({ hasText: "E105" }).first();
  const known = listed.find(({ code }) => code === "E105");
  for (const text of [known.title, "One record became more output records", known.hint]) await shows(row, text);
  assert.equal(await page.getByRole("region", { name: "E0xx" }).count(), 1);
  await checkAxe(page, "all errors");

  await page.keyboard.press("/");
  await page.keyboard.type("output LIMIT record");
  await until("the search leaves some", async () => (await codes.count()) > 0 && (await codes.count()) < 20);
  assert.match(page.url(), /#\/errors\?q=output/, "the search has an address");
  await page.reload();
  await shows(page.getByRole("status"), new RegExp(`^\\d+ of ${listed.length} codes`));
  assert.equal(await page.getByLabel("Find").inputValue(), "output LIMIT record");
  await page.getByLabel("Find").fill("nothing-like-this");
  await shows(page.getByRole("status"), `0 of ${listed.length} codes.`);
  await page.getByLabel("Find").fill("e105");
  await page.keyboard.press("Enter");
  await shows(page.getByRole("heading", { level: 1 }), `E105: ${known.title}`);
  assert.match(page.url(), /#\/errors\/E105$/);
  await shows(main, `Hint: ${known.hint}.`);
  await shows(page.getByRole("heading", { level: 2 }), "What to do");
  await checkAxe(page, "one error");
  await page.getByRole("link", { name: "All errors" }).click();
  await shows(page.getByRole("status"), `${listed.length} codes.`);

  await page.goto(`${base}/#/errors/E999`);
  await shows(page.getByRole("alert"), "is not a code");
  // A code in a sentence leads to its page.
  await page.getByRole("alert").getByRole("link", { name: "E002" }).click();
  await shows(page.getByRole("heading", { level: 1 }), "E002: There is no such route");
  await checkEnd(opened, "errors");
}

/** Signing in with tokens of other rights. */
export async function signIn(browser, base, { viewer }) {
  const opened = await open(browser, base, { path: `#/t/${SLIM}`, expected: [401, 403] });
  const { page } = opened;
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.type), "password");
  await checkAxe(page, "sign-in");
  await page.keyboard.type("sbr_nobody");
  await page.keyboard.press("Enter");
  await shows(page.getByRole("alert"), "E075");
  await page.getByRole("textbox", { name: "Token" }).fill(viewer);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await shows(page.locator(".headline"), /runs revision 1/);
  const pause = page.getByRole("button", { name: /^Pause/ });
  assert.equal(await pause.getAttribute("aria-disabled"), "true");
  assert.equal(await pause.getAttribute("title"), "needs the role operate in team orders");
  await pause.click({ force: true });
  assert.equal(await page.getByRole("dialog").count(), 0);
  await page.getByRole("link", { name: "Records" }).click();
  await shows(page.getByRole("alert"), "E076");
  await shows(page.locator("main p.quiet"), "needs the role data in team orders");
  await page.getByRole("link", { name: "Flow" }).click();
  await page.getByRole("button", { name: /^transform orders\/slim/ }).waitFor();
  // The viewer of one team sees that team alone.
  assert.equal(await page.getByRole("button", { name: /^transform stock/ }).count(), 0);
  await page.getByRole("link", { name: "Hosts", exact: true }).click();
  await page.locator("details > summary").click();
  await page.getByRole("link", { name: SLIM, exact: true }).waitFor();
  assert.equal(await page.getByRole("link", { name: "stock/counts", exact: true }).count(), 0);
  await shows(page.locator("details"), "Transforms of teams that you may not see are not listed.");
  // The token is of this tab, and no cookie has it.
  assert.deepEqual(await opened.context.cookies(), []);
  assert.equal(await page.evaluate(() => localStorage.length), 0);
  await page.getByRole("button", { name: "Sign out", exact: true }).click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  await checkEnd(opened, "sign-in");
}

/** Everything by keys alone. */
export async function keyboard(browser, base) {
  const opened = await open(browser, base);
  const { page } = opened;
  const press = (key) => page.keyboard.press(key);
  const focused = () => page.evaluate(() => document.activeElement.getAttribute("aria-label") ?? document.activeElement.innerText.trim());
  await page.getByRole("button", { name: /^transform orders\/slim/ }).waitFor();
  await press("Tab");
  assert.equal(await focused(), "Skip to the content");
  await press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  await press("/");
  assert.equal(await page.evaluate(() => document.activeElement.type), "search");
  await page.keyboard.type("audit");
  await page.getByRole("button", { name: "topic stock.counts" }).waitFor({ state: "detached" });
  await until("Tab reaches the transform", async () => {
    await press("Tab");
    return (await focused()).startsWith("transform orders/audit");
  });
  assert.notEqual(await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle), "none", "the focus is visible");
  await press("Enter");
  await until("Tab reaches the link beside the graph", async () => {
    await press("Tab");
    return (await focused()) === "orders/audit";
  });
  await press("Enter");
  await shows(page.locator(".headline"), /runs revision/);
  await until("Tab reaches Pause", async () => {
    await press("Tab");
    return (await focused()) === "Pause";
  });
  await press("Enter");
  await page.getByRole("dialog").waitFor();
  assert.ok(await page.evaluate(() => document.activeElement.closest("dialog") !== null), "the focus is in the question");
  await press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  assert.equal(await focused(), "Pause", "the focus is back");
  await press("g");
  await press("h");
  await page.getByRole("heading", { name: "Hosts" }).waitFor();
  await checkEnd(opened, "keyboard");
}

/** A phone: nothing is wider than the screen. */
export async function phone(browser, base) {
  for (const path of ["#/", `#/t/${SLIM}`, `#/t/${SLIM}/records`, `#/t/${SLIM}/revisions`, `#/deploy/${SLIM}`, "#/hosts", "#/errors", "#/errors/E105"]) {
    const opened = await open(browser, base, { path, options: { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true } });
    const { page } = opened;
    await page.locator("h1").first().waitFor({ state: "attached" });
    if (path === "#/") await page.getByRole("link", { name: SLIM }).waitFor();
    if (path.endsWith(SLIM) && path.startsWith("#/t")) await until("the plots are drawn", async () => (await page.locator(".plot canvas").count()) === 6);
    const [inner, outer] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(inner <= outer, `${path} is ${inner} px wide`);
    await checkEnd(opened, `phone ${path}`);
  }
}

/** A small screen, and names as long as they may be: nothing is wider than the screen. */
export async function narrow(browser, base) {
  const width = 360;
  const opened = await open(browser, base, { options: { viewport: { width, height: 740 } } });
  const { page } = opened;
  const id = `orders/${"n".repeat(63)}`;
  const topic = `orders.${"t".repeat(150)}`;
  await change(page, "PUT", `${base}/v1/topics/${topic}`, { partitions: 1 });
  await deploySpec(page, base, id, { inputs: ["orders.slim"], outputs: { audit: topic }, config: { mode: "echo" }, start: "earliest" });
  await page.getByRole("link", { name: id }).waitFor();
  const [{ host }] = (await (await page.request.get(`${base}/v1/hosts`)).json()).hosts;
  const beside = (node) => `#/?view=graph&node=${encodeURIComponent(node)}`;
  const tabs = ["", "/records", "/logs", "/revisions", "/state", "/offsets", "/spec"].map((tab) => `#/t/${id}${tab}`);
  for (const path of [...tabs, `#/deploy/${id}`, `#/hosts?open=${host}`, beside(`topic ${topic}`), beside(`transform ${id}`), "#/"]) {
    await page.goto(`${base}/${path}`);
    if (path.includes("node=")) await page.getByRole("complementary").getByRole("link", { name: id, exact: true }).waitFor();
    else await shows(page.locator("main"), id.split("/")[1]);
    await until("all is loaded", async () => (await page.locator("h1").count()) > 0 && (await page.getByText(/^(Loading|Laying out) /).count()) === 0);
    const shown = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(shown <= width, `${path} is ${shown} px wide`);
  }
  await checkEnd(opened, "long names");
}

/** Scrolls for five seconds, prints the figures of this machine, and fails if too few frames are drawn. */
async function isSmooth(page, area, { framesMin, gapMax }) {
  const frames = await page.evaluate(async (selector) => {
    const area = document.querySelector(selector);
    const times = [];
    const from = performance.now();
    await new Promise((done) => {
      const frame = (now) => {
        times.push(now);
        area.scrollTop += 7;
        if (now - from < 5000) requestAnimationFrame(frame);
        else done();
      };
      requestAnimationFrame(frame);
    });
    const gaps = times.slice(1).map((time, index) => time - times[index]).sort((a, b) => a - b);
    return { perSecond: (1000 * gaps.length) / (times.at(-1) - times[0]), median: gaps[Math.floor(gaps.length / 2)], p99: gaps[Math.floor(gaps.length * 0.99)], longest: gaps.at(-1) };
  }, area);
  console.log(`frames a second ${frames.perSecond.toFixed(1)}, between two: median ${frames.median.toFixed(1)} ms, p99 ${frames.p99.toFixed(1)} ms, longest ${frames.longest.toFixed(0)} ms`);
  assert.ok(frames.perSecond >= framesMin, `${frames.perSecond} frames a second`);
  assert.ok(frames.p99 <= gapMax, `${frames.p99} ms between two frames, p99`);
}

/** 300 transforms with 3,000 partitions, all of which change each second, while the page is scrolled. */
export async function many(browser, _, { dist, frames_min: framesMin, gap_p99_ms_max: gapMax }) {
  const host = await start(dist, 300);
  try {
    const opened = await open(browser, host.url);
    const { page } = opened;
    await shows(page.locator(".summary"), "300 transforms of 12 teams");
    await page.getByRole("button", { name: /^transform team-00\/transform-0:/ }).waitFor();
    assert.equal(await page.locator(".node.transform").count(), 300);
    const before = await page.locator(".node.transform").first().innerText();
    await isSmooth(page, ".graph-scroll", { framesMin, gapMax });
    assert.notEqual(await page.locator(".node.transform").first().innerText(), before, "it went on while it was scrolled");
    await page.getByLabel("Trouble only").check();
    await shows(page.locator(".summary"), "3 in trouble");
    await until("those around the trouble are left", async () => (await page.locator(".node.transform").count()) < 100);
    assert.deepEqual(opened.troubles, []);
    await opened.context.close();
  } finally {
    host.close();
  }
}

/** The keys in a graph of 300 transforms, without a filter: from a node to what is beside the graph, and back. */
export async function crowd(browser, _, { dist }) {
  const host = await start(dist, 300);
  try {
    const opened = await open(browser, host.url);
    const { page } = opened;
    const press = (key) => page.keyboard.press(key);
    const focused = () => page.evaluate(() => document.activeElement.getAttribute("aria-label") ?? document.activeElement.innerText.trim());
    const id = "team-00/transform-0";
    const node = page.getByRole("button", { name: new RegExp(`^transform ${id}:`) });
    const aside = page.getByRole("complementary");
    const isBack = () => until("the focus is back at the node", async () => (await focused()).startsWith(`transform ${id}:`));
    await node.waitFor();
    assert.equal(await page.locator(".node.transform").count(), 300);
    // There are too many edges for rates beside each of them: the titles have them.
    assert.equal(await page.locator(".edge-rate").count(), 0);
    assert.match(await node.getAttribute("title"), /\n[\d,.K]+\/s in, [\d,.K]+\/s out$/);
    assert.match(await page.locator(".graph title").first().textContent(), /^chain-\d+\.step-\d → team-\d+\/transform-\d+: [\d,.K]+\/s$/);

    await node.focus();
    await press("Enter");
    await until("the focus is beside the graph", async () => (await focused()) === `transform ${id}`);
    await press("Escape");
    await aside.waitFor({ state: "detached" });
    await isBack();
    await press("Enter");
    await until("the focus is beside the graph", async () => (await focused()) === `transform ${id}`);
    await press("Tab");
    assert.equal(await focused(), "Close");
    await press("Enter");
    await aside.waitFor({ state: "detached" });
    await isBack();
    await press("Enter");
    await until("the focus is beside the graph", async () => (await focused()) === `transform ${id}`);
    await press("Tab");
    await press("Tab");
    assert.equal(await focused(), id);
    await press("Enter");
    await page.locator(".headline").waitFor();
    await until("the focus is in the view", () => page.evaluate(() => document.activeElement.id === "main"));
    await shows(page.getByRole("status"), "team-00 · transform-0");
    assert.equal(await page.title(), "team-00 · transform-0 · Sandbar");

    // Each letter in the search is another graph: the worker has one at a time.
    await page.evaluate(() => {
      globalThis.layouts = { running: 0, most: 0 };
      const post = Worker.prototype.postMessage;
      Worker.prototype.postMessage = function (...given) {
        // The page may post in the listener of the answer before, which goes first.
        setTimeout(() => {
          globalThis.layouts.running += 1;
          globalThis.layouts.most = Math.max(globalThis.layouts.most, globalThis.layouts.running);
        });
        this.addEventListener("message", () => (globalThis.layouts.running -= 1), { once: true });
        post.apply(this, given);
      };
    });
    await page.getByRole("link", { name: "Flow", exact: true }).click();
    await page.getByLabel("Find").pressSequentially("chain-59.");
    await until("those of one chain are left", async () => (await page.locator(".node.transform").count()) === 5);
    await page.getByRole("button", { name: "topic chain-59.step-5" }).waitFor();
    assert.equal(await page.evaluate(() => globalThis.layouts.most), 1);

    // Without a layout there is the list.
    await page.evaluate(() => {
      Worker.prototype.postMessage = function () {
        this.dispatchEvent(new Event("error"));
      };
    });
    const show = (view) => page.getByRole("button", { name: view, exact: true }).click();
    await show("list");
    await show("graph");
    await shows(page.getByRole("status"), "The graph cannot be laid out");
    assert.equal(await page.getByRole("row").count(), 6);
    assert.deepEqual(opened.troubles, []);
    await opened.context.close();
  } finally {
    host.close();
  }
}

/** A flow without a transform: the way to the first one, and what a caller without a role sees. */
export async function empty(browser, _, { dist }) {
  const host = await start(dist, 0);
  try {
    const opened = await open(browser, host.url);
    const { page } = opened;
    await page.getByRole("heading", { name: "No transform yet" }).waitFor();
    await shows(page.locator(".command"), "sandbar new");
    await checkAxe(page, "no transform");
    await page.route(`${host.url}/v1/whoami`, (route) => route.fulfill({ json: { kind: "oidc", id: "1", name: "Ada <b>", grants: [] } }));
    await page.reload();
    await page.getByRole("heading", { name: "You have no role yet" }).waitFor();
    await shows(page.locator("main"), "The host knows you as Ada <b>.");
    assert.equal(await page.getByRole("heading", { name: "No transform yet" }).count(), 0);
    await checkEnd(opened, "no role");
  } finally {
    host.close();
  }
}

/** Answers that are late, lost, or those of a proxy: what is written stays, and nothing of it is taken for a refusal by the host. */
export async function answers(browser, _, { dist }) {
  const host = await start(dist, 5);
  try {
    const transform = "team-00/transform-0";
    const opened = await open(browser, host.url, { path: `#/deploy/${transform}`, expected: [404, 409, 502, 503] });
    const { page } = opened;
    const text = page.getByRole("textbox", { name: "Spec" });
    const state = page.locator(".live-check");
    const problem = (status, code, detail) => ({ status, contentType: "application/problem+json", body: JSON.stringify({ code, detail }) });
    let answer = { contentType: "text/html", body: "<html>Please wait</html>" };
    // A request that the page has given up has no answer.
    await page.route(/dry_run=true$/, (route) => route.fulfill(answer).catch(() => {}));
    await text.fill("inputs: [half.written]\n");
    await shows(state, "Not checked: the answer cannot be read. The page tries again.");
    await page.getByRole("button", { name: "Check", exact: true }).click();
    await shows(page.getByRole("alert"), "the answer cannot be read");
    answer = { contentType: "application/json", body: "null" };
    await Promise.all([page.waitForResponse(/dry_run=true$/), text.fill("inputs: [half.written.too]\n")]);
    await shows(state, "Not checked: the answer cannot be read. The page tries again.");
    answer = { status: 502, contentType: "text/html", body: "<html>Bad gateway</html>" };
    await shows(state, "Not checked: the host answered 502. The page tries again.");
    assert.equal(await text.getAttribute("aria-invalid"), "false");
    assert.equal(await page.locator(".editor-mark").count(), 0);
    answer = { json: { outcome: "changed", revision: 2, dry_run: true, creates: [], warnings: ["a record may come twice (E105)"], module: "sha256:0", spec: {} } };
    await shows(state, "Checked: the host would take it as revision 2.");
    await shows(page.getByRole("status"), "a record may come twice");
    assert.equal(await text.inputValue(), "inputs: [half.written.too]\n");
    await checkAxe(page, "a warning beside the spec");

    // Somebody who leaves while the host accepts the deployment is not called back.
    const accepted = gate();
    const address = /\/transforms\/transform-0$/;
    await page.route(address, async (route) => {
      if (route.request().method() !== "PUT") return route.fallback();
      await accepted.opened;
      return route.fulfill({ ...answer, status: 202 });
    });
    await page.getByRole("button", { name: "Deploy", exact: true }).click();
    await shows(page.getByRole("status"), "The host checks and accepts it ...");
    // The list of errors is asked for again by itself.
    answer = { json: { outcome: "changed", revision: 2 } };
    let errors = problem(503, "E032", "the host is busy");
    await page.route(`${host.url}/errors`, (route) => route.fulfill(errors));
    await page.getByRole("link", { name: "Errors", exact: true }).click();
    await shows(page.getByRole("alert"), "The page tries again by itself.");
    const [deployed] = await Promise.all([page.waitForResponse(address), accepted.open()]);
    await deployed.finished();
    await drawn(page);
    assert.match(page.url(), /#\/errors$/);
    errors = { json: { errors: [{ code: "E105", status: 422, title: "Too many outputs", meaning: "One record became more.", hint: "raise the limit" }] } };
    await shows(page.locator(".codes > li"), "E105 Too many outputs");

    // A question stays until its answer is there: it may be a refusal.
    const refused = gate();
    await page.route(/\/pause$/, async (route) => {
      await refused.opened;
      await route.fulfill(problem(409, "E033", "its state does not allow this"));
    });
    await page.goto(`${host.url}/#/t/${transform}`);
    await page.getByRole("button", { name: "Pause", exact: true }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("button", { name: "Pause", exact: true }).click();
    await dialog.getByRole("button", { name: "Cancel (the host has not answered yet)" }).waitFor();
    for (let times = 0; times < 3; times += 1) await page.keyboard.press("Escape");
    await drawn(page);
    assert.ok(await dialog.isVisible());
    refused.open();
    await shows(dialog.getByRole("alert"), "E033");
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });

    // A page without https has no clipboard.
    await page.evaluate(() => Object.defineProperty(navigator, "clipboard", { value: undefined }));
    await page.getByRole("button", { name: "copy the command sandbar status", exact: false }).click();
    await shows(page.getByRole("status"), /^(copied|selected: copy it by keys)$/);
    assert.equal(await page.evaluate(() => getSelection().toString()), `sandbar status ${transform}`);
    await checkEnd(opened, "answers");
  } finally {
    host.close();
  }
}

/** A refusal that comes when somebody has left the page: every page shows it until it is dismissed. */
export async function left(browser, _, { dist }) {
  const host = await start(dist, 5);
  try {
    const opened = await open(browser, host.url, { expected: [404, 409] });
    const { page } = opened;
    const transform = "team-00/transform-0";
    const address = /\/transforms\/transform-0$/;
    const refusal = { status: 409, contentType: "application/problem+json", body: JSON.stringify({ code: "E008", detail: "somebody else has changed it", hint: "load it again" }) };
    const unreadable = { contentType: "text/html", body: "<html>Please wait</html>" };
    const notices = page.locator(".notices [role=alert]");
    const deploy = page.getByRole("button", { name: "Deploy", exact: true });
    /** Does something whose answer comes after the page was left. */
    const leaves = async (asked, method, answer, act, leave) => {
      const held = gate();
      await page.route(asked, async (route) => {
        if (route.request().method() !== method) return route.fallback();
        await held.opened;
        return route.fulfill(answer);
      });
      await Promise.all([page.waitForRequest((request) => asked.test(request.url()) && request.method() === method), act()]);
      await leave();
      await page.getByRole("heading", { name: "Errors", exact: true }).waitFor();
      assert.equal(await notices.count(), 0);
      held.open();
      await notices.first().waitFor();
      await page.unroute(asked);
    };
    const errors = () => page.getByRole("link", { name: "Errors", exact: true }).click();
    await page.route(`${host.url}/errors`, (route) => route.fulfill({ json: { errors: [] } }));

    await page.goto(`${host.url}/#/deploy/${transform}`);
    await leaves(address, "PUT", refusal, () => deploy.click(), errors);
    await shows(notices, `Deploy ${transform}: you had left when the answer came.`);
    await shows(notices, "somebody else has changed it");
    await shows(notices, "load it again");
    assert.match(await notices.getByRole("link", { name: "E008" }).getAttribute("href"), /#\/errors\/E008$/);
    assert.match(page.url(), /#\/errors$/);
    await checkAxe(page, "a refusal that came late");
    await page.getByRole("link", { name: "Hosts", exact: true }).click();
    await page.getByRole("heading", { name: "Hosts", exact: true }).waitFor();
    await shows(notices, transform);
    await notices.getByRole("button", { name: `Dismiss: Deploy ${transform}` }).click();
    await notices.waitFor({ state: "detached" });
    assert.equal(await page.evaluate(() => document.activeElement.id), "main");

    // An answer that cannot be read, and the names that stay as they are while one is on its way.
    await page.goto(`${host.url}/#/deploy`);
    await page.getByRole("textbox", { name: "Team", exact: true }).fill("team-00");
    await page.getByRole("textbox", { name: "Name", exact: true }).fill("transform-0");
    await leaves(address, "PUT", unreadable, () => deploy.click(), async () => {
      for (const name of ["Team", "Name"]) await until("the names are fixed", () => page.getByRole("textbox", { name, exact: true }).evaluate((input) => input.readOnly));
      await errors();
    });
    await shows(notices, "the answer cannot be read");
    await shows(notices, "look if the change was made before you ask for it again");
    await notices.getByRole("button", { name: "Dismiss" }).click();

    // The browser's way back leaves a question as well.
    await page.goto(`${host.url}/#/t/${transform}`);
    await page.getByRole("button", { name: "Pause", exact: true }).click();
    const dialog = page.getByRole("dialog");
    await leaves(/\/pause$/, "POST", refusal, () => dialog.getByRole("button", { name: "Pause", exact: true }).click(), () => page.goBack());
    await shows(notices, `Pause ${transform}: you had left when the answer came.`);
    await checkEnd(opened, "refusals that came late");
  } finally {
    host.close();
  }
}

/** Deployments of others, which are replaced only by somebody who has seen them: what is written stays. */
export async function overtaken(browser, _, { dist }) {
  const host = await start(dist, 5);
  try {
    const opened = await open(browser, host.url, { path: "#/deploy/team-00/transform-0", expected: [404, 409] });
    const { page } = opened;
    const id = "team-00/transform-0";
    const text = page.getByRole("textbox", { name: "Spec" });
    const button = (name) => page.getByRole("button", { name, exact: true });
    const now = page.locator(".verdict");
    const revision = (of) => host.deployed.get(of)?.revision;
    const ours = '{ "inputs": ["ours"] }';
    const live = (number, input) => ({ revision: number, module: "sha256:0", spec: { inputs: [input] } });
    await text.fill(ours);
    await page.locator(".live-check.ok").waitFor();

    // Twice: each one that comes is to be seen.
    for (const [number, from] of [[8, 1], [9, 8]]) {
      host.deployed.set(id, live(number, `theirs-${number}`));
      await button("Deploy").click();
      await shows(page.getByRole("alert"), "E008");
      await button("Deploy").click();
      await shows(page.getByRole("alert"), `it is at revision ${number}`);
      await button("Show what is live now").click();
      await shows(now, `Revision ${number} of ${id} is live now, which this page had not loaded.`);
      await shows(now, `Changes from revision ${from} to ${number}:`);
      await shows(now.locator(".diff .new"), `theirs-${number}`);
      await button("Show what is live now").waitFor({ state: "detached" });
      assert.equal(await text.inputValue(), ours);
      assert.equal(revision(id), number);
    }
    await checkAxe(page, "what is live now");
    await button("Check").click();
    await shows(now, "The host takes it as revision 10");
    await shows(now.last().locator(".diff .gone"), "theirs-9");
    await shows(now.last().locator(".diff .new"), "ours");
    await button("Deploy").click();
    await page.waitForURL(/#\/t\/team-00\/transform-0$/);
    assert.equal(revision(id), 10);

    // One that was deleted meanwhile.
    await page.goto(`${host.url}/#/deploy/${id}`);
    await text.fill(ours);
    await page.locator(".live-check.ok").waitFor();
    host.deployed.set(id, null);
    await button("Deploy").click();
    await shows(page.getByRole("alert"), "E008");
    await button("Show what is live now").click();
    await shows(now, `${id} is deleted by now. Deploy makes it again.`);
    await button("Deploy").click();
    await page.waitForURL(/#\/t\/team-00\/transform-0$/);
    assert.equal(revision(id), 1);

    // A new name that is the name of a transform.
    await page.goto(`${host.url}/#/deploy`);
    const name = page.getByRole("textbox", { name: "Name", exact: true });
    await page.getByRole("textbox", { name: "Team", exact: true }).fill("team-00");
    await name.fill("transform-1");
    await text.fill(ours);
    await shows(page.locator(".problems > li"), "E008");
    await button("Deploy").click();
    await shows(page.getByRole("alert"), "it is at revision 2");
    assert.equal(revision("team-00/transform-1"), undefined);
    await button("Show what is live now").click();
    await shows(now, "Revision 2 of team-00/transform-1 is live now, which this page had not loaded.");
    assert.equal(await text.inputValue(), ours);
    // Another name is not taken for that one.
    await name.fill("transform-2");
    await now.waitFor({ state: "detached" });
    await shows(page.locator(".problems > li"), "it is at revision 3");
    await name.fill("new-one");
    await page.locator(".live-check.ok").waitFor();
    await name.fill("transform-1");
    await shows(now, "Revision 2 of team-00/transform-1 is live now");
    await button("Deploy").click();
    await page.waitForURL(/#\/t\/team-00\/transform-1$/);
    assert.equal(revision("team-00/transform-1"), 3);

    // A new one is made.
    await page.goto(`${host.url}/#/deploy`);
    await page.getByRole("textbox", { name: "Team", exact: true }).fill("team-00");
    await name.fill("new-one");
    await button("Deploy").click();
    await page.waitForURL(/#\/t\/team-00\/new-one$/);
    assert.equal(revision("team-00/new-one"), 1);
    await page.goto(`${host.url}/#/deploy`);
    await page.getByRole("heading", { name: "Deploy", exact: true }).waitFor();
    await checkEnd(opened, "deployments of others");
  } finally {
    host.close();
  }
}

/** Rights that come and go while the page is shown, and streams that were refused. */
export async function rights(browser, _, { dist }) {
  const host = await start(dist, 5);
  try {
    const transform = `${host.url}/#/t/team-00/transform-0`;
    host.grants = ["*:view"];
    const opened = await open(browser, host.url, { path: "#/t/team-00/transform-0", expected: [403, 404, 503], hasClock: true });
    const { page } = opened;
    const pause = page.getByRole("button", { name: /^Pause/ });
    const isAllowed = (word) => until(`Pause is ${word ? "allowed" : "not allowed"}`, async () => ((await pause.getAttribute("aria-disabled")) !== "true") === word);
    const hide = (isHidden) =>
      page.evaluate((value) => {
        Object.defineProperty(document, "hidden", { configurable: true, get: () => value });
        document.dispatchEvent(new Event("visibilitychange"));
      }, isHidden);
    await isAllowed(false);
    host.grants = ["*:view", "team-00:operate"];
    await page.clock.fastForward(61_000);
    await isAllowed(true);
    // A hidden page asks for nothing, and asks at once when it is shown.
    host.grants = ["*:view"];
    let asked = 0;
    page.on("request", (request) => {
      if (request.url().endsWith("/v1/whoami")) asked += 1;
    });
    await hide(true);
    await page.clock.fastForward(130_000);
    await drawn(page);
    assert.equal(asked, 0);
    await hide(false);
    await isAllowed(false);
    assert.equal(asked, 1);

    // Streams that were refused are asked for again, and the refusal is shown until then.
    for (const [tab, stream, status, found] of [
      ["records", "tail", 403, page.locator("ol.plain > li")],
      ["logs", "logs", 404, page.locator("main p.quiet", { hasText: "No lines in the last hour." })],
    ]) {
      host.refusal = { path: `/v1/teams/team-00/transforms/transform-0/${stream}`, status };
      await page.goto(`${transform}/${tab}`);
      const alert = page.getByRole("alert");
      await shows(alert, "the host takes no such token");
      await shows(alert, "The page tries again by itself.");
      await Promise.all([page.waitForResponse((answer) => answer.url().includes(`/${stream}?`) && answer.status() === status), page.clock.fastForward(31_000)]);
      await drawn(page);
      assert.equal(await alert.count(), 1);
      host.refusal = null;
      await page.clock.fastForward(31_000);
      await found.first().waitFor();
      await alert.waitFor({ state: "detached" });
    }

    // The newest problem of the connection counts.
    const connection = page.locator(".connection");
    await connection.locator(".live").waitFor();
    for (const code of ["E032", "E043"]) {
      host.refusal = { path: "/v1/flow", status: 503, code };
      host.streams.forEach((response) => response.end());
      await page.clock.fastForward(11_000);
      await shows(connection, `connection lost, trying again ${code}`);
    }
    assert.deepEqual(opened.troubles, []);
    await opened.context.close();
  } finally {
    host.close();
  }
}

/** A host that is slow, silent, or refuses: the page says so, asks no more than it should, and goes on by itself. */
export async function unsteady(browser, _, { dist }) {
  const host = await start(dist, 5);
  try {
    const transform = `${host.url}/#/t/team-00/transform-0`;
    host.held = /\/logs$/;
    const opened = await open(browser, host.url, { path: "#/t/team-00/transform-0/logs", expected: [401, 403, 404], hasClock: true });
    const { page } = opened;
    const summary = page.locator("main p.quiet");
    const connection = page.locator(".connection");
    const live = connection.locator(".live");

    // "No lines" is said when the host has said so: not before, and not while the connection is lost.
    await shows(summary, /^\s*Connecting \.\.\.$/);
    host.held = null;
    await shows(summary, /^No lines in the last hour\.\s*$/);
    await live.waitFor();
    Object.assign(host, { isSilent: true, held: /./ });
    await page.clock.fastForward(31_000);
    await shows(page.getByRole("alert"), "this host says nothing any more");
    await shows(summary, /^\s*Connection lost, trying again\.$/);
    await shows(connection, "connection lost, trying again");
    host.held = null;
    await shows(summary, /^No lines in the last hour\.\s*$/);
    // All that the flow shows is old until its first view.
    await until("the flow is open again", () => host.streams.size === 2);
    assert.equal(await live.count(), 0);
    host.isSilent = false;
    await live.waitFor();

    // A time in nanoseconds.
    await page.goto(`${transform}/records`);
    await shows(page.locator("ol.plain > li"), "chain-0.step-0/0 @ 7 · 1753000000123456789");

    // The lag changes each second, and an answer takes longer.
    await page.goto(`${transform}/offsets`);
    await page.getByRole("rowheader", { name: "chain-0.step-0/0" }).waitFor();
    await until("they are loaded again", () => host.offsets.given >= 3);
    assert.equal(host.offsets.most, 1, "one request at a time");

    // Numbers that change each second are not read out each second.
    await page.goto(transform);
    await until("six plots are drawn", async () => (await page.locator(".plot canvas").count()) === 6);
    const before = await page.locator(".headline").innerText();
    const spoken = await page.evaluate(async () => {
      const changed = [];
      const watch = new MutationObserver((records) => {
        for (const { target } of records) if ((target.closest ? target : target.parentElement)?.closest("[role=status], [role=alert], [aria-live]")) changed.push(target.textContent);
      });
      watch.observe(document.body, { subtree: true, childList: true, characterData: true });
      await new Promise((done) => setTimeout(done, 3500));
      watch.disconnect();
      return changed;
    });
    assert.notEqual(await page.locator(".headline").innerText(), before);
    assert.deepEqual(spoken, []);

    // A hidden page holds no connection.
    const hide = (isHidden) =>
      page.evaluate((value) => {
        Object.defineProperty(document, "hidden", { configurable: true, get: () => value });
        document.dispatchEvent(new Event("visibilitychange"));
      }, isHidden);
    await hide(true);
    await page.clock.fastForward(11_000);
    await until("no stream is open", () => host.streams.size === 0);
    await hide(false);
    await live.waitFor();
    assert.equal(host.streams.size, 1);

    // A right that comes back.
    const endStreams = () => host.streams.forEach((response) => response.end());
    host.refusal = { path: "/v1/flow", status: 403 };
    endStreams();
    await shows(connection, "refused");
    host.refusal = null;
    await page.clock.fastForward(31_000);
    await live.waitFor();

    // A token that ends while a spec is written.
    await page.goto(`${host.url}/#/deploy/team-00/transform-0`);
    const spec = page.locator("#spec");
    await spec.fill("inputs: [half.written]\n");
    host.refusal = { path: "/v1/", status: 401 };
    endStreams();
    await page.getByRole("heading", { name: "Sign in", exact: true }).waitFor();
    assert.equal(await spec.inputValue(), "inputs: [half.written]\n");
    assert.ok(await spec.evaluate((area) => area.closest("[inert]") !== null), "it cannot be reached");
    await checkAxe(page, "the sign-in above a spec");
    host.refusal = null;
    await page.getByRole("textbox", { name: "Token" }).fill("sbr_another");
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
    await live.waitFor();
    assert.equal(await spec.inputValue(), "inputs: [half.written]\n");
    assert.ok(await spec.evaluate((area) => area.closest("[inert]") === null));

    // A link may have an option in the place of a name: with `--url` a command would send the token to any server.
    const option = encodeURIComponent("--url=https://evil.example");
    for (const [address, command] of [
      [`#/?team=${option}`, "sandbar list TEAM"],
      [`#/deploy/${option}/transform-0`, "sandbar test TEAM/NAME --live 20"],
      [`#/deploy/team-00/${option}`, "sandbar test TEAM/NAME --live 20"],
    ]) {
      await page.goto(`${host.url}/${address}`);
      const commands = page.locator(".command code");
      await shows(commands, command);
      for (const text of await commands.allInnerTexts()) assert.ok(!text.includes("--url"), text);
    }
    assert.deepEqual(opened.troubles, []);
    await opened.context.close();
  } finally {
    host.close();
  }
}
