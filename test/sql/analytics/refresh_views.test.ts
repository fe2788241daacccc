import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "../track/messages.ts";

const database = await testDatabase();

const counts = "select sum(event_count)::int as events, count(*)::int as items from analytics.item_popularity";

test("fills the views the first time, and brings them up to date after that: not before it is called", async () => {
  expect(await database.rejects(counts)).toMatchObject({ code: "55000" });
  expect(await database.value("select analytics.refresh_views()")).toBe("0");
  await ingest(database, [
    message({ properties: { item: "page", parent: "course" } }),
    message({ properties: { item: "page" } }),
  ]);
  await refresh(database);
  expect(await database.rows(counts)).toEqual([{ events: null, items: 0 }]);
  expect(await database.value("select analytics.refresh_views()")).toBe("2");
  expect(await database.rows(counts)).toEqual([{ events: 4, items: 2 }]);
});

test("is for workers, who read nothing of it", async () => {
  expect(await rolesThatMay(database, "select analytics.refresh_views()")).toEqual(["worker"]);
});
