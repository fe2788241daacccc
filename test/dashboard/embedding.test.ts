import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { signToken } from "../../src/api/authentication.ts";
import { bundleScript } from "../../src/api/browser-client.ts";
import { popularItems } from "../../src/dashboard/operations.ts";
import { secret, testApi } from "../support/api.ts";
import { chromium as program } from "../support/chromium.ts";
import { testDatabase } from "../support/database.ts";
import { openProvider } from "../support/provider.ts";
import { makeWorld } from "../support/world.ts";

/* Pages within pages of other sites, and sessions of people, in a real browser. */

/** A site at two origins: one by its address, one by its name. */
async function openSite(): Promise<{ listed: string; other: string; html: { text: string } }> {
  const html = { text: "" };
  const server = createServer((_request, response) => {
    response.setHeader("content-type", "text/html").end(html.text);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  afterAll(() => server.close());
  const { port } = server.address() as AddressInfo;
  return { listed: `http://127.0.0.1:${port}`, other: `http://localhost:${port}`, html };
}

test("the script for pages that contain pages is small", async () => {
  expect(gzipSync(await bundleScript("/embed.js"), { level: 9 }).length).toBeLessThan(2048);
});

describe.skipIf(program === undefined)("in a browser (needs chromium)", async () => {
  const database = await testDatabase();
  await makeWorld(database);
  const site = await openSite();
  const provider = await openProvider();
  const { url, token, post } = await testApi(database, {
    INSIGHTS_EMBED_ORIGINS: site.listed,
    INSIGHTS_OPENID_ISSUER: provider.issuer,
    INSIGHTS_OPENID_CLIENT_ID: provider.clientId,
    INSIGHTS_OPENID_CLIENT_SECRET: provider.clientSecret,
    INSIGHTS_OPENID_ROLE_CLAIM: "groups",
  });
  provider.allow(url);
  let browser: Browser;
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: `/usr/bin/${program}`, args: ["--no-sandbox"] });
  }, 60_000);
  afterAll(() => browser?.close());

  const viewToken = (view: string, expiresIn = "1h"): Promise<string> =>
    signToken({ role: "analyst", person: "eve", source: undefined, view }, { secret, expiresIn });

  /** Opens a page of the site; `complaints` has what the browser reports. */
  async function open(origin: string, body: string) {
    site.html.text = `<!doctype html><title>An application</title><body>${body}`;
    const context = await browser.newContext({ viewport: { width: 1000, height: 700 } });
    const page = await context.newPage();
    const complaints: string[] = [];
    page.on("console", (message) => {
      if (message.type() === "error") complaints.push(message.text());
    });
    await page.goto(origin);
    return { page, complaints, close: () => context.close() };
  }

  const element = (script: string, view = "overview"): string => `
    <canvas-flow-insights view="${view}" settings="days=90"></canvas-flow-insights>
    <script type="module" src="${url}/embed.js"></script>
    <script>
      const element = document.querySelector("canvas-flow-insights");
      const asked = [];
      element.addEventListener("tokenneeded", () => asked.push(1));
      ${script}
    </script>`;

  const shown = (page: Page) =>
    page.frameLocator("canvas-flow-insights iframe").getByRole("heading", { name: "Active people" });

  test("a listed site contains a page, which gets its token, and is as high as its content", async () => {
    const { page, complaints, close } = await open(
      site.listed,
      element(`element.addEventListener("tokenneeded", () => { element.token = "${await viewToken("overview")}"; });`),
    );
    await shown(page).waitFor();
    const frame = page.frames()[1];
    expect(frame?.url()).toBe(`${url}/embed/overview?days=90`);
    // Without the frame around all pages, their links, and the token in any storage.
    expect(await page.frameLocator("iframe").locator(".shell, nav").count()).toBe(0);
    expect(
      await frame?.evaluate("[JSON.stringify(sessionStorage), JSON.stringify(localStorage), document.cookie]"),
    ).toEqual(["{}", "{}", ""]);
    await expect
      .poll(() => page.evaluate("document.querySelector('iframe').offsetHeight"), { timeout: 20_000 })
      .toBeGreaterThan(700);
    await expect
      .poll(() => frame?.evaluate("document.documentElement.scrollHeight - innerHeight"), { timeout: 20_000 })
      .toBeLessThanOrEqual(1);
    expect(complaints).toEqual([]);
    await close();
  });

  test("a site that is not listed contains nothing", async () => {
    const { page, complaints, close } = await open(
      site.other,
      element(`element.token = "${await viewToken("overview")}";`),
    );
    await expect.poll(() => complaints.join(), { timeout: 20_000 }).toMatch(/frame-ancestors/);
    expect(await shown(page).count()).toBe(0);
    await close();
    // Nor does a listed one contain the page with its shell, or one of a server without the setting.
    const whole = await open(site.listed, `<iframe src="${url}/overview"></iframe>`);
    await expect.poll(() => whole.complaints.join(), { timeout: 20_000 }).toMatch(/frame-ancestors 'none'/);
    await whole.close();
    const { headers } = await fetch(`${url}/embed/overview`);
    expect(headers.get("content-security-policy")).toContain(`frame-ancestors ${site.listed}`);
    expect((await fetch(`${url}/embed/queries`)).status).toBe(404);
  });

  test("forged messages are ignored: of another frame, of another origin, of another form", async () => {
    const good = await viewToken("overview");
    const { page, close } = await open(
      site.listed,
      `${element("")}<iframe id="forger" src="${site.other}/forger"></iframe>`,
    );
    // The page in the second frame comes from an origin that is not listed.
    const forger = page.frames().find((frame) => frame.url().startsWith(site.other));
    const target = page.frames().find((frame) => frame.url().startsWith(url));
    expect(forger && target).toBeDefined();
    await expect.poll(() => page.evaluate("asked.length")).toBe(1);
    const message = JSON.stringify({ type: "insights:token", token: good });
    await forger?.evaluate(`{
      for (const frame of [parent.frames[0], parent.frames[1]]) frame.postMessage(${message}, "*");
      parent.postMessage({ type: "insights:height", height: 5 }, "*");
      parent.postMessage({ type: "insights:ready" }, "*");
    }`);
    // Of the right window, but not a token.
    await page.evaluate(`for (const data of [null, 1, "x", {}, {type: "insights:token"}, {type: "insights:token", token: 7},
      {type: "insights:token", token: "x".repeat(20000)}]) document.querySelector("iframe").contentWindow.postMessage(data, "*")`);
    await page.waitForTimeout(500);
    expect(await shown(page).count()).toBe(0);
    expect(await page.evaluate("[asked.length, document.querySelector('iframe').style.height]")).toEqual([1, "300px"]);
    await page.evaluate(`element.token = "${good}"`);
    await shown(page).waitFor();
    await close();
  });

  test("a token for a page sends the operations of this page, and no others", async () => {
    const headers = { authorization: `Bearer ${await viewToken("overview")}` };
    const send = async (query: string, variables: object = {}) =>
      (await (await post(JSON.stringify({ query, variables }), headers)).json()) as {
        data?: object;
        errors?: { message: string }[];
      };
    const since = "2026-01-01T00:00:00Z";
    const allowed = await send(popularItems.text, { kind: "course", since, zone: "UTC" });
    expect(allowed.errors ?? []).toEqual([]);
    expect((await send("{ analyticsSavedQueries { totalCount } }")).errors?.[0]?.message).toMatch(
      /only the operations/,
    );
    expect((await send(`${popularItems.text} `)).data).toBeUndefined();
    for (const path of ["/v1/batch", "/xapi/statements"]) {
      const response = await fetch(url + path, {
        method: "POST",
        headers: { ...headers, "content-type": "application/json", "x-experience-api-version": "1.0.3" },
        body: JSON.stringify({ batch: [] }),
      });
      expect([path, response.status < 400]).toEqual([path, false]);
    }
    // A page of another name, and a name that every object has.
    for (const view of ["courses", "constructor", "__proto__"]) {
      const other = { authorization: `Bearer ${await viewToken(view)}` };
      const body = JSON.stringify({ query: popularItems.text, variables: { kind: "course", since, zone: "UTC" } });
      expect([view, ((await (await post(body, other)).json()) as { data?: object }).data]).toEqual([view, undefined]);
    }
    // The element shows that the token is for another page.
    const { page, close } = await open(site.listed, element(`element.token = "${await viewToken("courses")}";`));
    await page.frameLocator("iframe").getByRole("alert").waitFor();
    expect(await shown(page).count()).toBe(0);
    await close();
  });

  test("a token that expires within another site is asked for again, and the page continues", async () => {
    const { page, close } = await open(
      site.listed,
      // Clocks may differ by ten seconds: this token is accepted for about twelve.
      element(`element.token = "${await viewToken("overview", "2s")}";`),
    );
    await shown(page).waitFor();
    const alerts = () => page.frameLocator("iframe").getByRole("alert").allTextContents();
    // The live cards load again by themselves, at the latest after a minute.
    await expect.poll(() => page.evaluate("asked.length"), { timeout: 90_000 }).toBe(1);
    await page.evaluate(`element.token = "${await viewToken("overview")}"`);
    await expect
      .poll(() => page.frameLocator("iframe").locator("[aria-busy=true]").count(), { timeout: 20_000 })
      .toBe(0);
    // Figures that analysts may not read are refused with a token too.
    expect((await alerts()).filter((text) => !text.startsWith("not allowed"))).toEqual([]);
    await close();
  });

  test("people sign in with their organisation, and out again", async () => {
    provider.people.set("eve", { groups: ["analyst"] });
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(`${url}/overview?days=90`);
    await page.getByRole("link", { name: "Sign in with your organisation" }).click();
    await page.getByLabel("Name").fill("eve");
    await page.getByRole("button", { name: "Continue" }).click();
    await page.waitForURL(`${url}/overview?days=90`);
    await page.getByRole("heading", { name: "Active people" }).waitFor();
    expect(await page.textContent("#who")).toBe("eve, analyst");
    expect(await page.evaluate("document.cookie + JSON.stringify(sessionStorage)")).toBe("{}");
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.waitForURL(new RegExp(`^${provider.issuer}/session/end`));
    expect((await context.cookies(url)).map(({ name }) => name)).not.toContain("insights_session");
    await context.close();
  });

  test("a session that ends while a page is open is calm, and nothing typed is lost", async () => {
    provider.people.set("ivy", { groups: ["analyst"] });
    const context = await browser.newContext();
    const page = await context.newPage();
    const signIn = async (tab: Page): Promise<void> => {
      await tab.getByLabel("Name").fill("ivy");
      await tab.getByRole("button", { name: "Continue" }).click();
    };
    await page.goto(`${url}/sign-in?to=/queries`);
    await signIn(page);
    const query = "{ analyticsSavedQueries { totalCount } }";
    await page.locator("#query").fill(query);
    await context.clearCookies({ name: "insights_session" });
    await context.addCookies([{ name: "insights_session", value: "a.b.c.d.e", url }]);
    await page.getByRole("button", { name: "Run" }).click();
    await page.getByText("Your session has ended").waitFor();
    expect(await page.locator("#query").inputValue()).toBe(query);
    const opened = context.waitForEvent("page");
    await page.getByRole("link", { name: "Sign in with your organisation" }).click();
    const tab = await opened;
    await tab.waitForLoadState();
    if (await tab.getByLabel("Name").count()) await signIn(tab);
    await tab.locator("#who").waitFor();
    await page.bringToFront();
    await page.evaluate("dispatchEvent(new Event('focus'))");
    // The request that was refused is repeated.
    await page.getByText("Your session has ended").waitFor({ state: "detached" });
    await page.getByText('"totalCount"').waitFor();
    expect(await page.locator("#query").inputValue()).toBe(query);
    expect(await token("analyst", "ivy")).toBeDefined();
    await context.close();
  });
});
