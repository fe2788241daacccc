import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { bundleScript } from "../../src/api/browser-client.ts";
import { testApi } from "../support/api.ts";
import { type Browser, chromium, openBrowser, type Page } from "../support/chromium.ts";
import { testDatabase } from "../support/database.ts";

/* The client for browsers, in a browser, on pages of another origin than the server's. */

const database = await testDatabase();
const { url, token } = await testApi(database, { INSIGHTS_ADDRESS_RATE: "100000" });

describe("/insights.js", () => {
  test("has less than 4 kB, compressed", async () => {
    expect(gzipSync(await bundleScript("/insights.js"), { level: 9 }).length).toBeLessThan(4096);
  });

  test("may be kept for an hour, and then be asked for by its tag", async () => {
    const first = await fetch(`${url}/insights.js`, { headers: { "accept-encoding": "identity" } });
    expect(first.status).toBe(200);
    expect(await first.text()).toBe(await bundleScript("/insights.js"));
    expect(Object.fromEntries(first.headers)).toMatchObject({
      "content-type": "text/javascript; charset=utf-8",
      "cache-control": "public, max-age=3600, stale-while-revalidate=86400",
      "access-control-allow-origin": "*",
      "cross-origin-resource-policy": "cross-origin",
    });
    const tag = first.headers.get("etag") ?? "";
    const zipped = await fetch(`${url}/insights.js`, { headers: { "accept-encoding": "gzip" } });
    expect(zipped.headers.get("content-encoding")).toBe("gzip");
    expect(await zipped.text()).toBe(await bundleScript("/insights.js"));
    const second = await fetch(`${url}/insights.js`, { headers: { "if-none-match": tag } });
    expect(second.status).toBe(304);
    expect(await second.text()).toBe("");
  });
});

describe.skipIf(chromium === undefined)("in a browser (needs chromium)", () => {
  let key: string;
  let site: string;
  let browser: Browser;
  let page: Page;
  let before: string;
  /** The page's own account of when it was visible: a list of times, each with whether it was visible from then on. */
  const log = `<script>
    const times = [];
    const note = (visible) => {
      times.push([Date.now(), visible]);
      localStorage.setItem("log:" + location.pathname, JSON.stringify(times));
    };
    note(document.visibilityState === "visible");
    addEventListener("visibilitychange", () => note(document.visibilityState === "visible"));
    addEventListener("pagehide", () => note(false));
  </script>`;
  const pages = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://site");
    const script = searchParams.has("options")
      ? `<script type="module">
           import { load } from "${url}/insights.js";
           const options = ${searchParams.get("options")};
           if (options.token) { const text = options.token; options.token = async () => text; }
           window.insights = load({ url: "${url}", key: "${key}", ...options });
         </script>`
      : pathname === "/log"
        ? ""
        : `<script type="module" src="${url}/insights.js" data-insights-key="${key}"></script>`;
    response.setHeader("content-type", "text/html");
    response.end(
      `<!doctype html><title>${pathname}</title>${pathname === "/log" ? "" : log}${script}<div style="height: 4000px"></div>`,
    );
  });

  beforeAll(async () => {
    await once(pages.listen(0, "127.0.0.1"), "listening");
    site = `http://127.0.0.1:${(pages.address() as AddressInfo).port}`;
    key = await database.value<string>(
      "select write_key from track.create_write_key('web', 'signed_in', origins => array[$1])",
      [site],
    );
    browser = await openBrowser(chromium ?? "");
    page = browser.page;
  }, 60_000);
  afterAll(async () => {
    await browser?.close();
    pages.close();
  });
  beforeEach(async () => {
    await page.open("about:blank");
    await page.send("Storage.clearDataForOrigin", { origin: site, storageTypes: "all" });
    await page.send("Network.clearBrowserCookies");
    // Each test is another browser; what the former one still sends is not of this test.
    before = await database.value("select coalesce(max(identity_id), 0) from track.identity");
  });

  const visit = async (path: string, options?: object, tab = page): Promise<void> => {
    const query = options === undefined ? "" : `?options=${encodeURIComponent(JSON.stringify(options))}`;
    await tab.open(site + path + query);
    await tab.until(`document.title === "${path}" && window.insights !== undefined`);
  };
  const leave = async (tab = page): Promise<void> => {
    await tab.send("Page.navigate", { url: "about:blank" });
  };
  /** The seconds for which a page was visible since a time, by its own account. */
  const visibleTime = async (path: string, since: Date | undefined): Promise<number> => {
    await page.open(`${site}/log`);
    await page.until(`document.title === "/log"`);
    const times = await page.until<[number, boolean][]>(`JSON.parse(localStorage.getItem("log:${path}"))`);
    let sum = 0;
    for (const [index, [at, visible]] of times.entries()) {
      const from = Math.max(at, since?.getTime() ?? 0);
      const until = times[index + 1]?.[0] ?? from;
      if (visible && until > from) sum += (until - from) / 1000;
    }
    return sum;
  };
  interface Stored {
    event: string;
    item: string | null;
    at: Date;
    view: string | null;
    properties: Record<string, unknown>;
    who: string;
    kind: string;
  }
  const stored = (): Promise<Stored[]> =>
    database.rows<Stored>(
      `select event_type.name as event, item.external_id as item, event.occurred_at as at,
         event.properties ->> 'viewId' as view, event.properties, identity.external_id as who, identity.kind
       from track.event
       join track.event_type using (event_type_id)
       join track.identity using (identity_id)
       left join track.item using (item_id)
       where event.identity_id > $1
       order by event.occurred_at, event.event_id`,
      [before],
    );
  /** The events, once as many as expected are stored, and then no more of them. */
  const settled = async (isComplete: (events: Stored[]) => boolean): Promise<Stored[]> => {
    await expect.poll(async () => isComplete(await stored()), { timeout: 40_000 }).toBe(true);
    await wait(700);
    return await stored();
  };
  /** Names of the data that the client keeps on the page. */
  const ownKeys = `Object.keys(localStorage).filter((name) => name.startsWith("insights:")).join() || "nothing"`;
  const names = (events: Stored[]): string[] => events.map(({ event }) => event);
  /** Page views with their engaged seconds, by the database. */
  const views = async (...items: string[]): Promise<{ item: string; engaged: number }[]> => {
    await database.query("select track.refresh()");
    return await database.rows(
      `select item.external_id as item, extract(epoch from page_view.engaged)::float8 as engaged
       from track.page_view
       join track.item using (item_id)
       where item.external_id = any ($1)
       order by page_view.started_at`,
      [items],
    );
  };
  const isClean = (tab = page): void => {
    expect(tab.complaints.filter((complaint) => !complaint.includes("favicon"))).toEqual([]);
  };
  const seconds = (from: number, to: number): number => (to - from) / 1000;

  test("a page view has its time, right to the second, and how far the page was scrolled", async () => {
    await visit("/lessons/1");
    await wait(6500);
    await page.until("(window.scrollTo(0, 4000), true)");
    await wait(1500);
    await leave();
    const events = await settled((all) => all.filter(({ event }) => event === "Heartbeat").length === 2);
    expect(names(events)).toEqual(["Page Viewed", "Heartbeat", "Heartbeat"]);
    const [viewed, , last] = events;
    expect(viewed).toMatchObject({ item: "/lessons/1", kind: "anonymous" });
    expect(viewed?.properties["title"]).toBe("/lessons/1");
    expect(new Set(events.map(({ view }) => view)).size).toBe(1);
    expect(last?.properties["scrolled"]).toBe(1);
    expect(events[1]?.properties["scrolled"]).toBeLessThan(0.5);
    const [view, ...others] = await views("/lessons/1");
    expect(others).toEqual([]);
    isClean();
    expect(Math.abs((view?.engaged ?? 0) - (await visibleTime("/lessons/1", viewed?.at)))).toBeLessThan(1);
    // The id is signed by the server: its cookie proves it, and no script can read it.
    const { cookies } = (await page.send("Network.getCookies", { urls: [url] })) as {
      cookies: { name: string; httpOnly: boolean }[];
    };
    expect(cookies).toMatchObject([{ name: "insights_browser", httpOnly: true }]);
  });

  test("without activity the time ends", async () => {
    await visit("/lessons/2", { idle: 4 });
    await wait(8000);
    await leave();
    await settled((all) => all.length === 2);
    const [view] = await views("/lessons/2");
    expect(view?.engaged).toBeGreaterThan(3.5);
    expect(view?.engaged).toBeLessThan(5);
  });

  test("a tab in the background counts nothing, and one that was never seen is not a view", async () => {
    await visit("/lessons/3");
    await wait(3000);
    const tab = await browser.openTab();
    const unseen = await browser.openTab(true);
    await visit("/lessons/4", undefined, unseen);
    expect(await unseen.until("document.visibilityState")).toBe("hidden");
    await wait(5000);
    await unseen.close();
    await tab.close();
    await page.send("Page.bringToFront");
    await page.until(`document.visibilityState === "visible"`);
    await wait(2000);
    await leave();
    const events = await settled((all) => all.length >= 3);
    expect(events.map(({ item }) => item).filter((item) => item !== null)).toEqual(["/lessons/3"]);
    const [view, ...others] = await views("/lessons/3", "/lessons/4");
    expect(others).toEqual([]);
    expect(Math.abs((view?.engaged ?? 0) - (await visibleTime("/lessons/3", events[0]?.at)))).toBeLessThan(1);
  });

  test("a tab that is opened in the background is a view when it is seen", async () => {
    const tab = await browser.openTab(true);
    await visit("/lessons/5", undefined, tab);
    await wait(1500);
    expect(await stored()).toEqual([]);
    const seen = Date.now();
    await tab.send("Page.bringToFront");
    const [viewed] = await settled((all) => all.length >= 1);
    expect(viewed?.item).toBe("/lessons/5");
    expect(viewed?.at.getTime()).toBeGreaterThanOrEqual(seen);
    await tab.close();
  });

  test("two tabs are one browser; each has the time in which it was seen, and nothing is stored twice", async () => {
    await visit("/lessons/6");
    await page.until("(window.insights.track('Task Started', { item: 'task-1' }), true)");
    await wait(3000);
    const tab = await browser.openTab();
    await visit("/lessons/7", undefined, tab);
    await wait(4000);
    await page.send("Page.bringToFront");
    await page.until(`document.visibilityState === "visible"`);
    await wait(2000);
    await tab.close();
    await leave();
    const events = await settled((all) => all.filter(({ event }) => event === "Heartbeat").length >= 3);
    expect(new Set(events.map(({ who }) => who)).size).toBe(1);
    expect(names(events).filter((name) => name !== "Heartbeat")).toEqual([
      "Page Viewed",
      "Task Started",
      "Page Viewed",
    ]);
    const opened = events.filter(({ event }) => event === "Page Viewed").map(({ at }) => at);
    const times = await views("/lessons/6", "/lessons/7");
    expect(times.map(({ item }) => item)).toEqual(["/lessons/6", "/lessons/7"]);
    for (const [index, { item, engaged }] of times.entries()) {
      expect(Math.abs(engaged - (await visibleTime(item, opened[index])))).toBeLessThan(1);
    }
    const { messages, ids } = await database
      .rows<{ messages: number; ids: number }>(
        `select count(*)::int as messages,
           count(distinct (properties ->> 'viewId', event_type_id, client_at, occurred_at))::int as ids
         from track.event where identity_id > $1`,
        [before],
      )
      .then(([row]) => row as { messages: number; ids: number });
    expect(messages).toBe(ids);
  });

  test("a computer that sleeps, whose clock is wrong afterwards", async () => {
    await visit("/lessons/8");
    await wait(3500);
    const renderers = await browser.renderers();
    for (const pid of renderers) process.kill(pid, "SIGSTOP");
    await wait(6000);
    for (const pid of renderers) process.kill(pid, "SIGCONT");
    // An hour ahead from now on.
    await page.until("(() => { const real = Date.now; Date.now = () => real() + 3_600_000; return true; })()");
    await page.until("(window.dispatchEvent(new Event('pointermove')), true)");
    await wait(3500);
    await leave();
    const events = await settled((all) => all.length >= 3);
    expect(Math.max(...events.map(({ at }) => at.getTime()))).toBeLessThan(Date.now());
    const [view, ...others] = await views("/lessons/8");
    expect(others).toEqual([]);
    // The page's account contains the sleep, and the hour of its clock.
    const expected = (await visibleTime("/lessons/8", events[0]?.at)) - 3600 - 6;
    // Up to a second before the sleep, and the one after it, are not known.
    expect((view?.engaged ?? 0) - expected).toBeLessThan(1);
    expect((view?.engaged ?? 0) - expected).toBeGreaterThan(-3);
  });

  test("a page that is killed loses a second at most; another page sends it, once", async () => {
    await visit("/lessons/9");
    await wait(8200);
    const killed = Date.now();
    void page.send("Page.crash");
    await wait(500);
    await page.close();
    page = await browser.openTab();
    await wait(15_000);
    await visit("/lessons/10");
    const events = await settled(
      (all) => all.filter(({ item, event }) => event === "Page Viewed" && item === "/lessons/10").length === 1,
    );
    const of = events.filter(({ view }) => view === events[0]?.view);
    expect(names(of)).toEqual(["Page Viewed", "Heartbeat", "Heartbeat"]);
    const [view] = await views("/lessons/9");
    const lost = seconds(events[0]?.at.getTime() ?? 0, killed) - (view?.engaged ?? 0);
    expect(lost).toBeGreaterThan(-0.5);
    expect(lost).toBeLessThan(1.5);
  });

  test("without a connection, messages wait; an answer that is lost stores nothing twice", async () => {
    await visit("/lessons/11");
    await settled((all) => all.length === 1);
    await page.send("Network.enable");
    const conditions = { latency: 0, downloadThroughput: -1, uploadThroughput: -1 };
    await page.send("Network.emulateNetworkConditions", { offline: true, ...conditions });
    await page.until("[1, 2, 3].every((attempt) => (window.insights.track('Task Submitted', { attempt }), true))");
    await wait(2500);
    expect(names(await stored())).toEqual(["Page Viewed"]);
    // The next request arrives, and its answer does not.
    await page.until(`(() => {
      const real = window.fetch;
      window.fetch = async (...values) => { await real(...values); window.fetch = real; window.lost = true; throw new TypeError("lost"); };
      return true;
    })()`);
    await page.send("Network.emulateNetworkConditions", { offline: false, ...conditions });
    await page.until("window.lost === true");
    await page.until(`Object.keys(localStorage).filter((name) => name.startsWith("insights:m:")).length === 0`);
    const events = (await stored()).filter(({ event }) => event === "Task Submitted");
    expect(events.map(({ properties }) => properties["attempt"]).sort()).toEqual([1, 2, 3]);
    expect(new Set(events.map(({ view }) => view)).size).toBe(1);
  });

  test("what a page could not send is sent by the next one", async () => {
    await visit("/lessons/12");
    await settled((all) => all.length === 1);
    await page.until(`(() => {
      window.fetch = async () => { throw new TypeError("no connection"); };
      window.insights.track("Task Submitted", { attempt: 1 });
      return true;
    })()`);
    await wait(1000);
    await leave();
    await wait(500);
    expect(names(await stored())).toEqual(["Page Viewed"]);
    await visit("/lessons/13");
    const events = await settled((all) => all.some(({ event }) => event === "Task Submitted"));
    expect(events.filter(({ event }) => event === "Task Submitted").length).toBe(1);
    expect(new Set(events.map(({ who }) => who)).size).toBe(1);
  });

  test("an application of one page has a view per address", async () => {
    await visit("/courses/1", {});
    await wait(1500);
    await page.until("(history.pushState({}, '', '/courses/2'), document.title = 'Course 2', true)");
    await wait(2500);
    await page.until("(history.replaceState({ position: 1 }, '', '/courses/2'), true)");
    await wait(500);
    await page.until("(history.back(), true)");
    await wait(1500);
    await leave();
    const events = await settled((all) => all.filter(({ event }) => event === "Heartbeat").length >= 3);
    const opened = events.filter(({ event }) => event === "Page Viewed");
    expect(opened.map(({ item, properties }) => [item, properties["title"]])).toEqual([
      ["/courses/1", "/courses/1"],
      ["/courses/2", "Course 2"],
      ["/courses/1", "Course 2"],
    ]);
    expect(new Set(opened.map(({ view }) => view)).size).toBe(3);
    const times = await views("/courses/1", "/courses/2");
    const whole = seconds(opened[0]?.at.getTime() ?? 0, events.at(-1)?.at.getTime() ?? 0);
    expect(Math.abs(times.reduce((sum, { engaged }) => sum + engaged, 0) - whole)).toBeLessThan(1);
  });

  describe("Global Privacy Control", () => {
    let script: string;
    beforeEach(async () => {
      const source = "Object.defineProperty(navigator, 'globalPrivacyControl', { value: true })";
      ({ identifier: script } = (await page.send("Page.addScriptToEvaluateOnNewDocument", { source })) as {
        identifier: string;
      });
      return async () => {
        await page.send("Page.removeScriptToEvaluateOnNewDocument", { identifier: script });
      };
    });

    test("is recorded for the purposes that it concerns, and leaves no id in the browser", async () => {
      await visit("/lessons/14");
      await settled((all) => all.length === 1);
      expect(
        await database.rows(
          "select distinct purpose, granted, source from privacy.consent where source = 'gpc' order by purpose",
        ),
      ).toEqual(["advertising", "sale", "sharing"].map((purpose) => ({ purpose, granted: false, source: "gpc" })));
      expect(await page.until(ownKeys)).not.toContain("insights:id");
      expect(await page.send("Network.getCookies", { urls: [url] })).toEqual({ cookies: [] });
    });

    test("stops everything where the application is set so, until she agrees", async () => {
      await visit("/lessons/15", { gpc: "stop" });
      await page.until("(window.insights.track('Task Started'), true)");
      await wait(1500);
      expect(await stored()).toEqual([]);
      expect(await page.until(ownKeys)).toBe("nothing");
      await page.until("(window.insights.consent({ analytics: true }), true)");
      const events = await settled((all) => all.some(({ event }) => event === "Page Viewed"));
      expect(names(events)).not.toContain("Task Started");
    });
  });

  describe("consent", () => {
    const requests = "performance.getEntriesByType('resource').filter(({ name }) => name.includes('/v1/')).length";

    test("nothing is sent or kept before it is given, where it is needed", async () => {
      await visit("/lessons/16", { optIn: true });
      await page.until("(window.insights.track('Task Started'), true)");
      await wait(1500);
      expect(await page.until(`String(${requests})`)).toBe("0");
      expect(await page.until(ownKeys)).toBe("nothing");
      await page.until("(window.insights.consent({ analytics: true, personalization: false }), true)");
      await settled((all) => all.some(({ event }) => event === "Page Viewed"));
      const events = await settled((all) => all.length >= 2);
      expect(names(events).sort()).toEqual(["Page Viewed", "Segment Consent Preference Updated"]);
      expect(
        await database.rows(
          `select purpose, granted from privacy.current_consent
           join track.identity on identity.person_id = current_consent.person_id
           where identity.external_id = $1 order by purpose`,
          [events[0]?.who],
        ),
      ).toEqual([
        { purpose: "analytics", granted: true },
        { purpose: "personalization", granted: false },
      ]);
    });

    test("refused: the decision is sent, what waits is deleted, and nothing follows, on later pages either", async () => {
      await visit("/lessons/17");
      const [viewed] = await settled((all) => all.length === 1);
      await page.until(`(() => {
        window.insights.track("Task Started");
        window.insights.consent({ analytics: false });
        window.insights.track("Task Submitted");
        return true;
      })()`);
      const events = await settled((all) => all.length >= 2);
      expect(names(events)).toEqual(["Page Viewed", "Segment Consent Preference Updated"]);
      expect(events[1]?.who).toBe(viewed?.who);
      await wait(2000);
      await leave();
      await visit("/lessons/18");
      await wait(1500);
      expect(await page.until(`String(${requests})`)).toBe("0");
      expect(await page.until(ownKeys)).toBe("insights:consent");
      expect(names(await stored())).toEqual(["Page Viewed", "Segment Consent Preference Updated"]);
    });
  });

  test("a person who signs in has the past of her browser, and the next person on it has not", async () => {
    await visit("/lessons/19");
    await settled((all) => all.length === 1);
    const browserOf = (person: string) =>
      `(select person_id from track.identity where kind = 'user' and external_id = '${person}')`;
    await visit("/lessons/20", { token: await token("learner", "ada") });
    await page.until("(window.insights.identify('ada', { plan: 'pro' }), true)");
    await page.until("(async () => { await window.insights.flush(); return true; })()");
    const of = (person: string) =>
      database.rows<{ item: string }>(
        `select item.external_id as item from track.event
         join track.item using (item_id)
         where person_id = ${browserOf(person)}
         order by occurred_at`,
      );
    await expect.poll(() => of("ada"), { timeout: 20_000 }).toEqual([{ item: "/lessons/19" }, { item: "/lessons/20" }]);
    const before = await page.until("window.insights.anonymousId()");
    await page.until("(async () => { await window.insights.reset(); return true; })()");
    await visit("/lessons/21", { token: await token("learner", "ben") });
    await page.until("(window.insights.identify('ben'), true)");
    await expect.poll(() => of("ben"), { timeout: 20_000 }).toEqual([{ item: "/lessons/21" }]);
    expect(await page.until("window.insights.anonymousId()")).not.toBe(before);
    expect((await of("ada")).length).toBe(2);
    isClean();
  });

  test("500 messages are kept at most, without a store too, and long ones are left out", async () => {
    await visit("/lessons/22", { pages: false });
    const kept = `Object.keys(localStorage).filter((name) => name.startsWith("insights:m:")).length`;
    await page.until(`(() => {
      window.fetch = async () => { throw new TypeError("no connection"); };
      for (let index = 0; index < 600; index += 1) window.insights.track("Task Started", { index });
      window.insights.track("Task Submitted", { text: "x".repeat(20_000) });
      return true;
    })()`);
    expect(await page.until(kept)).toBe(500);
    const texts = await page.until<string[]>(
      `Object.entries(localStorage).filter(([name]) => name.startsWith("insights:m:")).map(([, text]) => text)`,
    );
    const numbers = texts.map((text) => JSON.parse(text).properties.index).sort((a, b) => a - b);
    expect(numbers[0]).toBe(100);
    expect(numbers.at(-1)).toBe(599);
  });
});
