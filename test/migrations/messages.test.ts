import { expect, test } from "vitest";
import { withClient } from "../../src/database/connect.ts";
import { bootstrap, installWorker, migrate } from "../../src/database/migrate.ts";
import { applyReleases, defaultLockWait, readReleases } from "../../src/database/release.ts";
import { ingest, message } from "../sql/track/messages.ts";
import { testDatabase } from "../support/database.ts";

/*
 * A database of the last release without packed messages is upgraded: its hashes stay where they are, and
 * track.pack_messages moves them afterwards. In each state the stored messages are duplicates.
 */

const database = await testDatabase({ empty: true });

test("messages of the release before packed messages are duplicates before, while and after they are packed", {
  timeout: 300_000,
}, async () => {
  const releases = await readReleases();
  const first = releases.findIndex(({ body }) => body.includes("track.message_packing"));
  await withClient(database.url(), async (client) => {
    await bootstrap(client);
    await installWorker(database.url());
    await applyReleases(database.url(), client, first < 0 ? releases : releases.slice(0, first), defaultLockWait);
  });
  expect(await database.value("select to_regclass('track.packed_message')")).toBeNull();

  const old = Array.from({ length: 2_000 }, (_, index) =>
    message({ messageId: `old-${index}`, userId: `u${index % 9}` }),
  );
  expect(await ingest(database, old)).toMatchObject({ accepted: 2_000 });
  const file = await database.value("select pg_relation_filenode('track.message')");
  await migrate(database.url());
  // Not copied.
  expect(await database.value("select pg_relation_filenode('track.message')")).toBe(file);

  let sent = 0;
  const repeat = async (): Promise<void> => {
    const fresh = message({ messageId: `new-${sent++}` });
    expect(await ingest(database, [...old, fresh])).toMatchObject({ accepted: 1, duplicates: 2_000 });
  };
  await repeat();
  // The first step is not before an hour, so that no batch that began under the former release is still running.
  expect(await database.value("select track.pack_messages()")).toBeNull();
  await database.query("update track.message_packing set cycle_started_at = now()");
  expect(await database.value("select track.pack_messages()")).toBeGreaterThan(0);
  await repeat();
  for (let step = 0; step < 100; step++) await database.query("select track.pack_messages(false)");
  await repeat();
  do await database.query("select track.pack_messages(false)");
  while ((await database.value("select position from track.message_packing")) !== "0");
  expect(await database.value("select count(*)::int from track.message")).toBeLessThanOrEqual(3);
  await repeat();
  expect(await database.value("select count(*)::int from track.event")).toBe(2_000 + sent);
});
