import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packageRoot } from "../../src/paths.ts";
import { testApi } from "../support/api.ts";
import { chromium, openBrowser } from "../support/chromium.ts";
import { testDatabase } from "../support/database.ts";

/* The clients for browsers, as published, on a page of another origin than the server's. */

const scripts: Readonly<Record<string, string>> = {
  "/segment.js": "@segment/analytics-next/dist/umd/index.js",
  "/posthog.js": "posthog-js/dist/array.full.no-external.js",
};

describe.skipIf(chromium === undefined)("in a browser (needs chromium)", async () => {
  const database = await testDatabase();
  const { url } = await testApi(database);
  const pages = createServer(async (request, response) => {
    const file = scripts[request.url ?? ""];
    if (file === undefined)
      response.setHeader("content-type", "text/html").end("<!doctype html><title>Lesson 1</title>");
    else {
      response.setHeader("content-type", "text/javascript");
      response.end(await readFile(join(packageRoot, "node_modules", file)));
    }
  });
  await once(pages.listen(0, "127.0.0.1"), "listening");
  const site = `http://127.0.0.1:${(pages.address() as AddressInfo).port}`;
  const key = await database.value<string>(
    "select write_key from track.create_write_key('web', scopes => '{events,features}', origins => array[$1])",
    [site],
  );
  let browser: Awaited<ReturnType<typeof openBrowser>>;
  beforeAll(async () => {
    browser = await openBrowser(chromium ?? "");
  }, 60_000);
  afterAll(async () => {
    await browser?.close();
    pages.close();
  });

  /** The events of a browser, by time. */
  const stored = () =>
    database.rows<{ event: string; kind: string; item: string | null }>(
      `select event_type.name as event, identity.kind, item.external_id as item
       from track.event
       join track.event_type using (event_type_id)
       join track.identity using (identity_id)
       left join track.item using (item_id)
       order by event.occurred_at, event.event_id`,
    );
  const load = (path: string) =>
    `new Promise((done, fail) => { const script = document.createElement("script"); script.src = "${path}"; script.onload = () => done(true); script.onerror = fail; document.head.append(script); })`;

  test("Segment's analytics-next", async () => {
    await database.query("delete from track.event");
    const { page } = browser;
    await page.open(`${site}/lessons/1?utm_source=mail`);
    await page.until(`document.title === "Lesson 1"`);
    await page.until(load("/segment.js"));
    await page.until(`(async () => {
      const { AnalyticsBrowser } = window.AnalyticsNext;
      window.client = AnalyticsBrowser.load(
        { writeKey: "${key}", cdnURL: "${url}" },
        { integrations: { "Segment.io": { apiHost: "${url.replace("http://", "")}/v1", protocol: "http" } } },
      );
      await window.client.page();
      await window.client.track("Task Started", { item: "task-1" });
      await window.client.identify("ada", { plan: "pro" });
      await window.client.track("Task Submitted", { item: "task-1", score: 0.8 });
      return true;
    })()`);
    await expect.poll(stored, { timeout: 20_000 }).toEqual([
      { event: "Page Viewed", kind: "anonymous", item: "/lessons/1" },
      { event: "Task Started", kind: "anonymous", item: "task-1" },
      { event: "Task Submitted", kind: "anonymous", item: "task-1" },
    ]);
    expect(page.complaints.filter((complaint) => !complaint.includes("favicon"))).toEqual([]);
  });

  test("posthog-js", async () => {
    await database.query("delete from track.event");
    await database.query(`
      select track.ingest('{"type": "track", "event": "Task Started", "userId": "ben", "messageId": "first"}');
      delete from track.event;
      select experiment.define_feature('player', 'The new player of videos.');
      select experiment.define_metric('started', 'proportion', '{Task Started}', period => '7 days');
      select experiment.define_experiment('{"key": "new-player", "feature": "player", "goals": ["started"],
        "variations": [{"key": "control", "value": false}, {"key": "new", "value": true}], "hash_attribute": "anonymousId"}');
      select experiment.start('new-player')`);
    const { page } = browser;
    await page.open(`${site}/lessons/2`);
    await page.until(`document.title === "Lesson 1"`);
    await page.until(load("/posthog.js"));
    const variation = await page.until<string>(`new Promise((done) => {
      window.posthog.init("${key}", {
        api_host: "${url}", opt_out_useragent_filter: true, capture_pageview: true, disable_session_recording: true,
        request_batching: false,
      });
      window.posthog.capture("Task Started", { item: "task-2" });
      window.posthog.onFeatureFlags(() => done(String(window.posthog.getFeatureFlag("player"))));
    })`);
    expect(["control", "new"]).toContain(variation);
    await expect
      .poll(async () => (await stored()).map(({ event, kind, item }) => [event, kind, item]).sort(), {
        timeout: 20_000,
      })
      .toEqual([
        ["Experiment Viewed", "anonymous", null],
        ["Page Viewed", "anonymous", "/lessons/2"],
        ["Task Started", "anonymous", "task-2"],
      ]);
    expect(
      await database.value("select properties ->> 'variationId' from track.event where properties ? 'variationId'"),
    ).toBe(variation);
    expect(page.complaints.filter((complaint) => !complaint.includes("favicon"))).toEqual([]);
  });
});
