import { once } from "node:events";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { build } from "rolldown";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packageRoot } from "../../src/paths.ts";
import { testApi } from "../support/api.ts";
import { type Browser, chromium, openBrowser } from "../support/chromium.ts";
import { testDatabase } from "../support/database.ts";
import { makeWorld, refresh } from "../support/world.ts";

/* examples/recommendations, bundled as an application would, on a server that passes /graphql on to the API. */

const bundle = async (): Promise<string> => {
  const { output } = await build({
    input: join(packageRoot, "examples/recommendations/page.tsx"),
    platform: "browser",
    write: false,
    resolve: { alias: { "canvas-flow-insights/client": join(packageRoot, "src/client/client.ts") } },
    transform: { define: { "process.env.NODE_ENV": '"production"' } },
    output: { format: "esm" },
  });
  return output[0].code;
};

describe.skipIf(chromium === undefined)("the page of recommendations, in a browser (needs chromium)", async () => {
  const database = await testDatabase();
  await makeWorld(database);
  await database.query("select recommend.train()");
  const { url, token } = await testApi(database);
  const code = await bundle();
  const pass = (from: IncomingMessage, to: ServerResponse): void => {
    const { method, headers } = from;
    const passed = request(`${url}${from.url}`, { method, headers }, (answer) => {
      to.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(to);
    });
    from.pipe(passed);
  };
  const site = createServer((from, to) => {
    if (from.url === "/graphql") pass(from, to);
    else if (from.url === "/page.js") to.setHeader("content-type", "text/javascript").end(code);
    else {
      to.setHeader("content-type", "text/html");
      to.end(
        `<!doctype html><title>Courses</title><div id="root"></div><script type="module" src="/page.js"></script>`,
      );
    }
  });
  let browser: Browser;
  let address: string;
  beforeAll(async () => {
    await once(site.listen(0, "127.0.0.1"), "listening");
    address = `http://127.0.0.1:${(site.address() as AddressInfo).port}`;
    browser = await openBrowser(chromium ?? "");
  }, 60_000);
  afterAll(async () => {
    await browser?.close();
    site.close();
  });

  test("shows the rows of the signed-in person; seen, clicked and dismissed ones are stored", async () => {
    const { page } = browser;
    await page.open(address);
    // A visitor has no list of her own.
    await page.until(`document.querySelector("h1") !== null`);
    await page.until(`(sessionStorage.setItem("token", "${await token("learner", "ada")}"), true)`);
    await page.open(address);
    const titles = `[...document.querySelectorAll("li a")].map((link) => link.textContent)`;
    await page.until(`document.querySelectorAll("li").length === 3`);
    const [first, second] = await page.until<string[]>(titles);
    await page.until(`(document.querySelector("li a").click(), true)`);
    await page.until(`(document.querySelectorAll("li button")[1].click(), true)`);
    await page.until(`!${titles}.includes(${JSON.stringify(second)}) && ${titles}.includes(${JSON.stringify(first)})`);
    const state = async () => {
      await refresh(database);
      return await database.rows(
        `select count(*) filter (where seen_at is not null)::int >= 3 as seen,
           count(clicked_at)::int as clicked, count(dismissed_at)::int as dismissed
         from recommend.impression`,
      );
    };
    await expect.poll(state, { timeout: 20_000 }).toEqual([{ seen: true, clicked: 1, dismissed: 1 }]);
    expect(page.complaints.filter((complaint) => !complaint.includes("favicon"))).toEqual([]);

    await page.until(`(document.getElementById("opt-out").click(), true)`);
    await expect
      .poll(() =>
        database.rows(
          `select granted from privacy.current_consent
           join track.identity using (person_id)
           where external_id = 'ada' and purpose = 'personalization'`,
        ),
      )
      .toEqual([{ granted: false }]);
    expect(await page.until(`String(document.querySelector("[role=alert]"))`)).toBe("null");
  });

  test("an error of the API is shown with its hint", async () => {
    const { page } = browser;
    await page.open(address);
    await page.until(`(sessionStorage.setItem("token", "invalid"), true)`);
    await page.open(address);
    expect(await page.until(`document.querySelector("[role=alert]")?.textContent`)).toMatch(/token/);
  });
});
