import { beforeAll, describe, expect, inject, test } from "vitest";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { everyTable } from "../support/every_table.ts";

/*
 * The same calls on a database that is distributed over the workers of a cluster of Citus, and on one of a single server:
 * every table is the same. TEST_CITUS_URL names the coordinator (test/support/citus.ts).
 */
const server = inject("server");
const isCluster = server.kind === "native" && server.citus === true;

const send = (messages: object[]) => ({
  sql: "select accepted, errors from track.ingest($1)",
  values: [JSON.stringify(messages.map((message) => ({ messageId: JSON.stringify(message), ...message })))],
});
const at = (minute: number): string => new Date(Date.UTC(2026, 0, 5, 10, minute)).toISOString();
const seen = (who: object, event: string, item: string, minute: number) => ({
  type: "track",
  ...who,
  event,
  timestamp: at(minute),
  properties: { item },
});
const refresh = { sql: "select count(*)::int from track.refresh()", values: [] };
const call = (sql: string) => ({ sql, values: [] });

const calls = [
  call(
    "insert into track.item (external_id, kind, title) values ('algebra', 'course', 'Algebra'), ('poetry', 'course', 'Poetry')",
  ),
  send([
    ...["ada", "ben", "eve"].flatMap((userId, n) => [
      seen({ userId }, "Course Enrolled", "algebra", n),
      seen({ userId }, "Course Viewed", "poetry", 10 + n),
    ]),
    seen({ anonymousId: "phone" }, "Course Viewed", "algebra", 20),
  ]),
  refresh,
  // Traits, in an order that is not that of their times, and more of them than are kept.
  call("update track.setting set most_trait_times = 3"),
  ...[5, 1, 9, 3, 7].map((minute) =>
    send([
      {
        type: "identify",
        userId: "ada",
        timestamp: at(minute),
        traits: { plan: minute % 4 ? "pro" : "free", age: minute },
      },
    ]),
  ),
  send([
    { type: "identify", userId: "ben", anonymousId: "phone", timestamp: at(30), traits: { plan: "pro" } },
    { type: "identify", userId: "ben", timestamp: at(30), traits: { plan: "free" } },
  ]),
  refresh,
  send([{ type: "alias", userId: "eve", previousId: "tablet", timestamp: at(31) }]),
  send([seen({ anonymousId: "tablet" }, "Course Completed", "poetry", 32)]),
  refresh,
  call("select track.merge_persons('ada', 'eve')"),
  refresh,
  call("select track.split_person('ada', '{eve}')"),
  refresh,
  call("select (privacy.record_consent(track.find_person('ben'), 'personalization', false, '2026-01-06Z')).purpose"),
  refresh,
  call("select (privacy.record_consent(track.find_person('ben'), 'personalization', true, '2026-01-07Z')).purpose"),
  refresh,
  call("select count(*)::int from recommend.serve_person('ada', 3)"),
  refresh,
  call("select (track.exclude_person('ben', 'staff')) is null"),
  refresh,
  call("select track.include_person('ben')"),
  refresh,
  call("select track.merge_items('poetry', 'algebra')"),
  refresh,
  call("select analytics.refresh_views()"),
];

describe.runIf(isCluster)("on a cluster of Citus", () => {
  let cluster: TestDatabase;
  let single: TestDatabase;
  beforeAll(async () => {
    cluster = await testDatabase();
    single = await testDatabase({ distributed: false });
    for (const { sql, values } of calls) {
      const expected = await single.rows(sql, values);
      const found = await cluster.rows(sql, values).catch((error: { message: string; where?: string }) => {
        throw new Error(`${sql} ${values}: ${error.message}\n${error.where}`);
      });
      expect(found, `${sql} ${values}`).toEqual(expected);
    }
  });

  test("the tables of people are distributed", async () => {
    const [missing] = await cluster.rows("select count(*)::int from track.distribution_steps()");
    expect(missing).toEqual({ count: 0 });
    expect(
      await cluster.value(
        "select count(*)::int > 0 from pg_dist_partition where logicalrelid = 'track.trait_history'::regclass",
      ),
    ).toBe(true);
  });

  test("every table is that of a single server", async () => {
    // Durations, and the foreign keys that were dropped.
    const skip = ["recommend.serving_time", "track.dropped_reference", "recommend.secret", "privacy.ledger"];
    const expected = await everyTable(single, skip);
    expect(expected["track.trait_history"]?.length).toBeGreaterThan(2);
    expect(expected["recommend.impression"]?.length).toBeGreaterThan(0);
    expect(await everyTable(cluster, skip)).toEqual(expected);
  });
});
