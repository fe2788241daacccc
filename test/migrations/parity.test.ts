import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { catalogueOf } from "../../src/database/catalogue.ts";
import { migrate } from "../../src/database/migrate.ts";
import { committedMigrations, readReleases } from "../../src/database/release.ts";
import { readManifest, readSource, scriptOf } from "../../src/database/source.ts";
import { packageRoot } from "../../src/paths.ts";
import { testDatabase } from "../support/database.ts";

test("released files are unchanged", async () => {
  const hashes: Record<string, string> = {};
  for (const file of await committedMigrations()) {
    const bytes = await readFile(join(packageRoot, "migrations", "committed", file));
    hashes[file] = createHash("sha256").update(bytes).digest("hex");
  }
  expect(hashes).toEqual((await readManifest()).releases);
  expect((await readReleases()).map(({ file }) => file)).toEqual(Object.keys(hashes));
});

const fresh = await testDatabase();
const migrated = await testDatabase({ empty: true });

test("the migrations and the source give the same database", { timeout: 300_000 }, async () => {
  const source = await readSource();
  if (source === undefined) throw new Error("no source: this is not a checkout");
  // The releases, then the changes that differ from the manifest by content; without any, the releases alone.
  const beyond = scriptOf(source, [(await readManifest()).files]) !== undefined;
  expect(await migrate(migrated.url())).toMatchObject({ applied: await committedMigrations(), current: beyond });
  const expected = await fresh.as("insights_owner", { search_path: "" }, catalogueOf);
  const actual = await migrated.as("insights_owner", { search_path: "" }, catalogueOf);
  expect(Object.keys(expected)).toContain("relation track.event");
  expect(actual).toEqual(expected);
});

test("a second migration has nothing to do and changes nothing", { timeout: 300_000 }, async () => {
  const before = await migrated.as("insights_owner", { search_path: "" }, catalogueOf);
  expect(await migrate(migrated.url())).toMatchObject({ applied: [], current: false, indexed: 0, ahead: [] });
  expect(await migrated.as("insights_owner", { search_path: "" }, catalogueOf)).toEqual(before);
});
