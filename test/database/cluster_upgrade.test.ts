import { afterAll, describe, expect, inject, test } from "vitest";
import { withClient } from "../../src/database/connect.ts";
import { distribute, examineCluster } from "../../src/database/distribution.ts";
import { bootstrap, migrate } from "../../src/database/migrate.ts";
import { ensureHistory, inTurn, readReleases, runRelease } from "../../src/database/release.ts";
import { joinCluster } from "../support/citus.ts";
import { testDatabase } from "../support/database.ts";

/* A database of an earlier release that is distributed over the workers of a cluster is migrated in place. */
const server = inject("server");

describe.skipIf(!(server.kind === "native" && server.citus === true))("a cluster (TEST_CITUS_URL)", async () => {
  const leave: (() => Promise<void>)[] = [];
  afterAll(async () => {
    for (const one of leave) await one();
  });

  /** The last one whose database can be distributed by the code of today, and the one before the newest. */
  test.each([17, -1])("of the releases up to %i is migrated", { timeout: 300_000 }, async (last) => {
    const url = server.kind === "native" ? server.url : "";
    const database = await testDatabase({ empty: true });
    await withClient(database.url(), async (client) => {
      await bootstrap(client);
      await inTurn(client, 0, () => ensureHistory(client));
      for (const release of (await readReleases()).slice(0, last))
        await inTurn(client, 0, () => runRelease(client, release));
    });
    leave.push(await joinCluster(url, new URL(database.url()).pathname.slice(1)));
    const send = (from: number) =>
      database.value<number>("select accepted from track.ingest($1)", [
        JSON.stringify(
          Array.from({ length: 40 }, (_, index) => ({
            type: "track",
            messageId: `m${from + index}`,
            userId: `person-${index % 8}`,
            event: "Page Viewed",
            timestamp: new Date(Date.UTC(2026, 0, 5) + (from + index) * 60_000).toISOString(),
            properties: { item: `page-${index % 3}` },
          })),
        ),
      ]);
    expect(await send(0)).toBe(40);
    await database.query("select track.refresh()");

    expect((await migrate(database.url())).applied.length).toBeGreaterThan(0);
    await distribute(database.url());
    await withClient(database.url(), async (client) => {
      expect(await examineCluster(client)).toMatchObject({ steps: [] });
    });
    expect(await send(40)).toBe(40);
    await database.query("select track.refresh()");
    expect(await database.value("select sum(view_count)::int from track.session")).toBe(80);
    expect(await database.value("select sum(differing)::int from track.check_rollups(10)")).toBe(0);
  });
});
