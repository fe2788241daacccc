import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("each table with its partitions, and its size", async () => {
  await database.query("select track.make_partitions('2026-01-01', '2026-03-01')");
  const [event] = await database.rows("select * from monitor.table_state() where table_name ~ '^track.event(_2|$)'");
  const bytes = await database.value(
    "select sum(pg_total_relation_size(relid))::text from pg_partition_tree('track.event')",
  );
  expect(event).toMatchObject({ table_name: "track.event", bytes, dead_share: 0, bytes_per_day: null });
  expect(await database.value("select count(*)::int from monitor.table_state()")).toBe(
    await database.value(
      `select count(*)::int from pg_class where relkind in ('r', 'm', 'p') and not relispartition
         and relnamespace::regnamespace::text in ('ml', 'privacy', 'track', 'experiment', 'analytics', 'recommend', 'monitor', 'insights_queue')`,
    ),
  );
});

test("the growth is that since the earliest sample of seven days", async () => {
  await database.query("select monitor.observe('{tables}')");
  const grow = "select bytes_per_day from monitor.table_state() where table_name = 'track.item'";
  expect(await database.value(grow)).toBeNull();
  // Two days ago, the table had no bytes.
  await database.query(`
    update monitor.sample set sampled_at = now() - interval '2 days', measured[
      (select series_id from monitor.series where metric = 'insights_table_bytes' and labels = '{"table": "track.item"}')
    ] = 0`);
  const bytes = await database.value("select bytes::float8 from monitor.table_state() where table_name = 'track.item'");
  expect((await database.value<number>(grow)) / (Number(bytes) / 2)).toBeCloseTo(1, 2);
  await database.query("update monitor.sample set sampled_at = now() - interval '8 days'");
  expect(await database.value(grow)).toBeNull();
});

test("is for admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from monitor.table_state()")).toEqual(["admin", "worker"]);
});
