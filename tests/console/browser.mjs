// A page of the console in Chromium, and the checks that every flow makes at its end.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const packages = process.env.SANDBAR_BROWSER_PACKAGES;
const { chromium } = await import(pathToFileURL(join(packages, "playwright-core/index.mjs")));
const axeSource = readFileSync(join(packages, "axe-core/axe.min.js"), "utf8");

/** Patience for one step: it takes milliseconds on an idle machine. */
export const PATIENCE_MS = 60_000;
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update", "--no-first-run"];

/** Starts Chromium; the caller closes it. */
export function launch() {
  return chromium.launch({ executablePath: process.env.SANDBAR_CHROMIUM, args: FLAGS, timeout: PATIENCE_MS });
}

/**
 * Opens a page of the host. `expected` are statuses of refusals that a flow asks for: Chromium reports each as an error. With
 * `hasClock` the flow may move the page's clock on.
 */
export async function open(browser, base, { path = "#/", options = {}, expected = [], hasClock = false } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, colorScheme: "light", ...options });
  context.setDefaultTimeout(PATIENCE_MS);
  if (hasClock) await context.clock.install();
  const page = await context.newPage();
  const troubles = [];
  page.on("pageerror", (error) => troubles.push(`error: ${error.message}`));
  page.on("console", (message) => {
    const isExpected = expected.some((status) => message.text().includes(`status of ${status}`));
    if (["error", "warning"].includes(message.type()) && !isExpected) troubles.push(`${message.type()}: ${message.text()}`);
  });
  page.on("request", (request) => {
    const { origin, protocol } = new URL(request.url());
    if (origin !== new URL(base).origin && protocol !== "data:") troubles.push(`a request to ${request.url()}`);
  });
  await page.goto(`${base}/${path}`);
  return { page, context, troubles };
}

/** Fails if axe finds anything: contrast, names, roles, order of headings. */
export async function checkAxe(page, view) {
  await page.evaluate(axeSource);
  const violations = await page.evaluate(async () => {
    const { violations } = await globalThis.axe.run(document, { resultTypes: ["violations"] });
    return violations.map(({ id, help, nodes }) => `${id}: ${help}\n    ${nodes.slice(0, 5).map(({ html, failureSummary }) => `${html.slice(0, 300)} ${failureSummary.split("\n")[1]}`).join("\n    ")}`);
  });
  assert.deepEqual(violations, [], `axe, ${view}`);
}

/** The checks at the end of a flow. */
export async function checkEnd({ page, context, troubles }, view) {
  await checkAxe(page, view);
  await page.emulateMedia({ colorScheme: "dark" });
  await checkAxe(page, `${view}, dark`);
  assert.deepEqual(troubles, [], `${view}: the page reported`);
  await context.close();
}

/** Waits until a condition holds, in this process. */
export async function until(name, condition) {
  const deadline = Date.now() + PATIENCE_MS;
  let last;
  while (Date.now() < deadline) {
    try {
      const value = await condition();
      if (value) return value;
      last = value;
    } catch (error) {
      last = error;
    }
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`${name}: not within ${PATIENCE_MS} ms; the last word was: ${last}`);
}
