import { expect, test } from "vitest";
import { catalogueOf } from "../../src/database/catalogue.ts";
import { migrate } from "../../src/database/migrate.ts";
import { testDatabase } from "../support/database.ts";

const source = await testDatabase();
const migrated = await testDatabase({ empty: true });

test("the migrations and the source give the same database", { timeout: 300_000 }, async () => {
  await migrate(migrated.url());
  const expected = await source.as("insights_owner", { search_path: "" }, catalogueOf);
  const actual = await migrated.as("insights_owner", { search_path: "" }, catalogueOf);
  expect(Object.keys(expected)).toContain("relation track.event");
  expect(actual).toEqual(expected);
});

test("a second migration finds nothing to do and changes nothing", { timeout: 300_000 }, async () => {
  const before = await migrated.as("insights_owner", { search_path: "" }, catalogueOf);
  expect(await migrate(migrated.url())).toEqual({ applied: [], current: false, indexed: 0, ahead: [] });
  expect(await migrated.as("insights_owner", { search_path: "" }, catalogueOf)).toEqual(before);
});
