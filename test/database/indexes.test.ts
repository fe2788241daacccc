import { expect, test } from "vitest";
import { withClient } from "../../src/database/connect.ts";
import { completeIndexes, findMissingParts } from "../../src/database/indexes.ts";
import { defaultLockWait } from "../../src/database/release.ts";
import { testDatabase } from "../support/database.ts";

const database = await testDatabase();

test("an index on only the parent is completed partition by partition, under the names that PostgreSQL gives", async () => {
  await database.query("select track.make_partitions(now() - interval '2 months', now())");
  const partitions = await database.value<number>(
    "select count(*)::int from pg_inherits where inhparent = 'track.event'::regclass",
  );
  expect(partitions).toBeGreaterThanOrEqual(3);
  await database.query(`
    create index at_once on track.event (received_at desc) where item_id is not null;
    create index "In Parts" on only track.event (received_at desc) where item_id is not null;
    create unique index unique_parts on only track.event (event_id, occurred_at);
  `);
  const said: string[] = [];
  const built = await withClient(database.url(), async (client) => {
    expect(await findMissingParts(client)).toHaveLength(2 * partitions);
    const lockWait = { ...defaultLockWait, say: (line: string) => said.push(line) };
    const parts = await completeIndexes(database.url(), client, lockWait);
    expect(await completeIndexes(database.url(), client, lockWait)).toBe(0);
    return parts;
  });
  expect(built).toBe(2 * partitions);
  expect(said.filter((line) => line.includes("builds the index of"))).toHaveLength(2 * partitions);
  const indexes = await database.rows(`
    select index.indexrelid::regclass::text as name, index.indisvalid as valid, index.indisunique as "unique",
      count(inherits.inhrelid)::int as parts,
      bool_and(child.indisvalid) as valid_parts,
      bool_and(child_class.relowner = 'insights_owner'::regrole) as owned
    from pg_index as index
    join pg_inherits as inherits on inherits.inhparent = index.indexrelid
    join pg_index as child on child.indexrelid = inherits.inhrelid
    join pg_class as child_class on child_class.oid = child.indexrelid
    where index.indexrelid in ('track.at_once'::regclass, 'track."In Parts"'::regclass, 'track.unique_parts'::regclass)
    group by 1, 2, 3 order by 1
  `);
  const complete = { valid: true, parts: partitions, valid_parts: true, owned: true };
  expect(indexes).toEqual([
    { name: 'track."In Parts"', unique: false, ...complete },
    { name: "track.at_once", unique: false, ...complete },
    { name: "track.unique_parts", unique: true, ...complete },
  ]);
});

test("an index that cannot be built is reported with the reason, and is tried again", async () => {
  await database.query(`
    create table track.twice (n int, at date) partition by range (at);
    create table track.twice_now partition of track.twice for values from ('2026-01-01') to ('2027-01-01');
    alter table track.twice owner to insights_owner;
    alter table track.twice_now owner to insights_owner;
    insert into track.twice values (1, '2026-05-05'), (1, '2026-05-05');
    create unique index twice_n on only track.twice (n, at);
  `);
  await withClient(database.url(), async (client) => {
    const lockWait = { ...defaultLockWait, say: () => {} };
    await expect(completeIndexes(database.url(), client, lockWait)).rejects.toMatchObject({
      message: expect.stringContaining(
        "the index track.twice_n cannot be built on track.twice_now: could not create unique index",
      ),
    });
    const [missing] = await findMissingParts(client);
    expect(missing?.broken).toHaveLength(1);
    await client.query("delete from track.twice where ctid = (select min(ctid) from track.twice)");
    expect(await completeIndexes(database.url(), client, lockWait)).toBe(1);
    expect(await findMissingParts(client)).toEqual([]);
  });
});
