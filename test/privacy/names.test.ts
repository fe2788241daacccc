import { expect, test } from "vitest";
import { makeCanary, makeCanaryWorld, userOf } from "../support/canary.ts";
import { testDatabase } from "../support/database.ts";

/*
 * A client chooses the id of its browser: it can be the name of another user, of an administrator or of an item. The erasure
 * of the person of such browsers deletes and clears nothing of theirs.
 */
const database = await testDatabase();
await makeCanaryWorld(database);
await makeCanary(database, "kanari");

const tables = {
  "analytics.annotation": "created_by",
  "analytics.cohort": "defined_by",
  "analytics.saved_query": "created_by",
  "insights_queue._private_jobs": "payload::text",
  "ml.embedding": "key",
  "ml.score": "keys",
  "privacy.export_log": "exported_by",
  "recommend.rule_log": "actor",
  "track.exclusion": "excluded_by",
  "track.name_log": "actor",
  "track.write_key_log": "actor",
};

test("the erasure of a browser that is named like another person leaves what that person wrote and is", async () => {
  const contents = async (): Promise<unknown[]> => {
    const lists = [];
    for (const [table, column] of Object.entries(tables)) {
      lists.push([table, await database.rows(`select ${column} as value from ${table} order by 1`)]);
    }
    return lists;
  };
  const browsers = ["ben", userOf("kanari"), "root", "postgres", "course-drama"];
  for (const [number, anonymousId] of browsers.entries()) {
    const message = { type: "identify", messageId: `mallory-${number}`, userId: "mallory", anonymousId };
    await database.query("select track.ingest($1)", [JSON.stringify([message])]);
  }
  const before = await contents();
  expect(JSON.stringify(before)).toContain(userOf("kanari"));
  await database.query("select privacy.erase_person('mallory')");
  expect(await contents()).toEqual(before);
  // They are still there, and may still send.
  const page = (userId: string): object => ({
    type: "page",
    messageId: `after-${userId}`,
    userId,
    properties: { path: "/after" },
  });
  const batch = JSON.stringify([page("ben"), page(userOf("kanari")), page("root")]);
  expect(await database.rows("select accepted, errors from track.ingest($1)", [batch])).toEqual([
    { accepted: 3, errors: [] },
  ]);
  await expect(database.query("select privacy.export_person('mallory')")).rejects.toMatchObject({ code: "CF002" });
});
