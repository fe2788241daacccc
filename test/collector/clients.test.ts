import RudderAnalytics from "@rudderstack/rudder-sdk-node";
import { Analytics } from "@segment/analytics-node";
import { buildSelfDescribingEvent, newTracker } from "@snowplow/node-tracker";
import { PostHog } from "posthog-node";
import { expect, test } from "vitest";
import { testApi } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";

const database = await testDatabase();
const { url } = await testApi(database);
const createKey = (source: string, level = "server") =>
  database.value<string>("select write_key from track.create_write_key($1, $2)", [source, level]);

/** The events of a source, in the order of their times. */
const stored = (source: string) =>
  database.rows(
    `select event_type.name as event, identity.kind, identity.external_id as who, item.external_id as item, event.properties
     from track.event
     join track.event_type using (event_type_id)
     join track.identity using (identity_id)
     join track.source using (source_id)
     left join track.item using (item_id)
     where source.name = $1
     order by event.occurred_at, event_type.name`,
    [source],
  );

test("Segment's client for Node", async () => {
  const analytics = new Analytics({ writeKey: await createKey("segment"), host: url, flushAt: 3 });
  analytics.identify({ userId: "ada", traits: { plan: "pro" } });
  analytics.page({ userId: "ada", properties: { url: "https://campus.example/lesson-1" } });
  analytics.track({ userId: "ada", event: "Task Submitted", properties: { item: "task-1", score: 0.8 } });
  await analytics.closeAndFlush();
  expect(await stored("segment")).toMatchObject([
    { event: "Page Viewed", kind: "user", who: "ada", item: "/lesson-1" },
    { event: "Task Submitted", who: "ada", item: "task-1", properties: { score: 0.8 } },
  ]);
});

test("RudderStack's client for Node, compressed as a form", async () => {
  const rudder = new RudderAnalytics(await createKey("rudder"), { dataPlaneUrl: url });
  rudder.identify({ userId: "ben", traits: { plan: "basic" } });
  rudder.track({ userId: "ben", event: "Task Started", properties: { item: "task-1" } });
  await rudder.flush();
  expect(await stored("rudder")).toMatchObject([{ event: "Task Started", who: "ben", item: "task-1" }]);
});

test.each(["", "v1"])("PostHog's client for Node, capture mode %j", async (mode) => {
  const source = `posthog ${mode}`;
  if (mode !== "") process.env["POSTHOG_CAPTURE_MODE"] = mode;
  const posthog = new PostHog(await createKey(source), { host: url, flushAt: 1 });
  posthog.identify({ distinctId: `eve${mode}`, properties: { plan: "pro" } });
  posthog.capture({ distinctId: `eve${mode}`, event: "Task Started", properties: { item: "task-2" } });
  posthog.capture({
    distinctId: `eve${mode}`,
    event: "$pageview",
    properties: { $current_url: "https://campus.example/a/?utm=1" },
  });
  await posthog.shutdown();
  delete process.env["POSTHOG_CAPTURE_MODE"];
  expect((await stored(source)).map(({ event, who, item }) => [event, who, item]).sort()).toEqual([
    ["Page Viewed", `eve${mode}`, "/a"],
    ["Task Started", `eve${mode}`, "task-2"],
  ]);
});

test("Snowplow's client for Node", async () => {
  const appId = await createKey("snowplow");
  const tracker = newTracker({ namespace: "t", appId, encodeBase64: true }, { endpoint: url, bufferSize: 1 });
  tracker.setUserId("kim");
  tracker.track(
    buildSelfDescribingEvent({
      event: { schema: "iglu:com.acme/task_submitted/jsonschema/1-0-0", data: { item: "task-3", score: 0.5 } },
    }),
  );
  await tracker.flush();
  await expect
    .poll(() => stored("snowplow"), { timeout: 10_000 })
    .toMatchObject([{ event: "task_submitted", who: "kim", item: "task-3", properties: { score: 0.5 } }]);
});
