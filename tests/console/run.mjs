// Runs one flow of the console: node run.mjs FLOW BASE [JSON]. It ends with 0 if all that the flow expects is shown.

import { launch } from "./browser.mjs";
import * as flows from "./flows.mjs";

const [name, base, given = "{}"] = process.argv.slice(2);
const flow = flows[name];
if (!flow) throw new Error(`there is no flow ${name}`);
const browser = await launch();
try {
  await flow(browser, base, JSON.parse(given));
  console.log(`${name}: all is shown as expected`);
} catch (error) {
  const folder = process.env.SANDBAR_SHOTS;
  const pages = browser.contexts().flatMap((context) => context.pages());
  for (const [index, page] of pages.entries()) {
    if (folder) await page.screenshot({ path: `${folder}/${name}-${index}.png` }).catch(() => {});
    console.error(`--- page ${index}: ${page.url()}\n${await page.locator("body").innerText().catch(() => "")}`);
  }
  console.error(error);
  process.exitCode = 1;
} finally {
  await browser.close();
}
