// The flows of the console, each as a person goes through it, with what is shown at each step.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
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
  await shows(page.getByRole("region", { name: "Partitions" }).getByRole("row").nth(1), "shop.orders/3");
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

  // A spec that cannot be read is not taken for none.
  await page.route(address, (route) => route.fulfill({ status: 503, contentType: "application/problem+json", body: JSON.stringify({ code: "E032", detail: "the host is busy" }) }));
  await page.goto(`${base}/#/deploy/${SLIM}`);
  await shows(page.getByRole("alert"), "the host is busy");
  assert.equal(await text.count(), 0);
  await page.unroute(address);
  await page.getByRole("button", { name: "Load again", exact: true }).click();
  await until("the deployed spec is there", async () => (await text.inputValue()).includes('"mode": "fail"'));
  await checkEnd(opened, "changes that came between");
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
  const opened = await open(browser, base, { path: `#/t/${SLIM}/records` });
  const { page } = opened;
  const items = page.locator("ol.plain > li");
  await shows(items, "→ orders.slim");
  await shows(items.locator("pre"), '"status": "paid"');
  await page.getByLabel("Failed only").check();
  await shows(items, "the value contains poison");
  await until("only failures are shown", async () => (await items.count()) > 0 && (await items.count()) === (await items.filter({ hasText: "Failed" }).count()));
  await page.getByLabel("Failed only").uncheck();
  await page.getByLabel("Text").fill("no record has this");
  const summary = page.locator("main p.quiet");
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
  await shows(summary, /^0 of \d+ lines/);
  await checkAxe(page, "logs");

  // A producer may have written the time in nanoseconds: a number that a double does not keep, and no calendar has.
  await rewrite(page, /\/dead-letters\?/, (json) => json.replace(/"timestamp":\d+/g, '"timestamp":1753000000123456789'));
  await page.getByRole("link", { name: "Dead letters" }).click();
  const letters = page.locator("ol.plain > li");
  await shows(letters, "the value contains poison");
  await shows(letters, /shop\.orders\/\d @ \d+, revision 1, 1753000000123456789/);
  // Foreign text is text: nothing of it is an element of the page.
  await shows(letters.locator("pre"), "<img src=x onerror=alert(1)>");
  await shows(letters.locator("pre"), "\\u{1b}[31m");
  assert.equal(await page.locator("pre img").count(), 0);
  await page.getByLabel("Filter", { exact: true }).fill("no letter has this");
  await shows(page.getByRole("status"), /^0 of the newest/);
  await page.getByLabel("Filter", { exact: true }).fill("");
  await letters.first().getByRole("link", { name: /^E\d{3}$/ }).click();
  await shows(page.getByRole("article"), /record/);
  await checkEnd(opened, "an error's page");
}

/** The state of a key, and the dry run of a move. */
export async function state(browser, base, { key }) {
  const opened = await open(browser, base, { path: "#/t/stock/counts/state", expected: [404] });
  const { page } = opened;
  await shows(page.locator("main"), /sums: \d+ entries/);
  await page.getByLabel("Key, as the transform writes it").fill(key);
  await page.getByRole("button", { name: "Look up", exact: true }).click();
  await shows(page.getByLabel("The entry"), /\S/);
  await shows(page.locator(".command"), `sandbar state get stock/counts sums ${key}`);
  await page.getByLabel("Key, as the transform writes it").fill("nobody");
  await page.getByRole("button", { name: "Look up", exact: true }).click();
  await shows(page.getByRole("alert"), "E054");
  await checkAxe(page, "state");

  await page.getByRole("link", { name: "Offsets" }).click();
  await page.getByRole("rowheader", { name: "shop.payments/0" }).waitFor();
  assert.match(await page.getByRole("button", { name: /^Move/ }).getAttribute("title"), /pause it first/);
  await page.getByRole("button", { name: "Pause it", exact: true }).click();
  await shows(page.locator(".headline"), "paused at revision");
  // The move is the one that the dry run named, also if there are more records by then.
  const committed = async () => (await (await page.request.get(`${base}/v1/teams/stock/transforms/counts/offsets`)).json()).offsets;
  await until("records wait in both partitions", async () => (await committed()).every(({ lag }) => lag > 0));
  await page.getByRole("combobox", { name: /^To/ }).selectOption("latest");
  await page.getByRole("button", { name: "Dry run", exact: true }).click();
  await shows(page.getByRole("status"), /Moves 2 partitions on by [\d,]+ records, which are skipped\./);
  const rows = await page.getByRole("region", { name: "The dry run" }).getByRole("row").allInnerTexts();
  const plan = rows.slice(1).map((row) => Number(row.split(/\s+/)[2].replaceAll(",", "")));
  await until("there are more records", async () => (await committed()).every(({ end_offset: end }, index) => end > plan[index]));
  const dialog = page.getByRole("dialog");
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
  await shows(page.getByRole("region", { name: "Teams" }), "transforms_max");
  await shows(page.getByRole("region", { name: "Teams" }), "18,446,744,073,709,55");
  await checkEnd(opened, "hosts");
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
    const frames = await page.evaluate(async () => {
      const area = document.querySelector(".graph-scroll");
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
    });
    console.log(`frames a second ${frames.perSecond.toFixed(1)}, between two: median ${frames.median.toFixed(1)} ms, p99 ${frames.p99.toFixed(1)} ms, longest ${frames.longest.toFixed(0)} ms`);
    assert.notEqual(await page.locator(".node.transform").first().innerText(), before, "it went on while it was scrolled");
    assert.ok(frames.perSecond >= framesMin, `${frames.perSecond} frames a second`);
    assert.ok(frames.p99 <= gapMax, `${frames.p99} ms between two frames, p99`);
    await page.getByLabel("Trouble only").check();
    await shows(page.locator(".summary"), "3 in trouble");
    await until("those around the trouble are left", async () => (await page.locator(".node.transform").count()) < 100);
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
