import { createHash } from "node:crypto";
import fc from "fast-check";
import pg from "pg";
import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "./messages.ts";

const database = await testDatabase();

/** Steps in any case, until a cycle has ended. */
async function packAll(db: Queries): Promise<number> {
  let moved = 0;
  do {
    moved += await db.value<number>("select track.pack_messages(only_scheduled => false)");
  } while ((await db.value("select position from track.message_packing")) !== "0");
  return moved;
}

const sent = (count: number, prefix: string) =>
  Array.from({ length: count }, (_, index) => message({ messageId: `${prefix}-${index}`, userId: `u${index % 7}` }));

const recent = (db: Queries): Promise<number> => db.value("select count(*)::int from track.message");
const packed = (db: Queries): Promise<number> =>
  db.value("select coalesce(sum(cardinality(tags)), 0)::int from track.packed_message");

test("a message that was packed is a duplicate, of its source only", async () => {
  await database.as("postgres", {}, async (db) => {
    const batch = sent(300, "old");
    expect(await ingest(db, batch)).toMatchObject({ accepted: 300, duplicates: 0 });
    expect(await packAll(db)).toBe(300);
    expect([await recent(db), await packed(db)]).toEqual([0, 300]);
    expect(await ingest(db, batch)).toMatchObject({ accepted: 0, duplicates: 300 });
    // Another clock, another person, another type.
    const [first] = batch;
    expect(
      await ingest(db, [{ ...first, userId: "other", timestamp: "2020-01-01T00:00:00Z", event: "Other" }]),
    ).toMatchObject({ accepted: 0, duplicates: 1 });
    // New and old, also twice in a batch.
    const fresh = sent(5, "fresh");
    expect(await ingest(db, [...fresh, ...batch.slice(0, 10), ...fresh, ...batch.slice(0, 10)])).toMatchObject({
      accepted: 5,
      duplicates: 25,
    });
    // The same ids are new in another source, and packed beside the others.
    await db.query("set local insights.source to 'importer'");
    expect(await ingest(db, batch)).toMatchObject({ accepted: 300, duplicates: 0 });
    await packAll(db);
    expect(await packed(db)).toBe(605);
    expect(await ingest(db, batch)).toMatchObject({ accepted: 0, duplicates: 300 });
    await db.query("set local insights.source to ''");
    expect(await ingest(db, batch)).toMatchObject({ accepted: 0, duplicates: 300 });
    expect(await db.value("select count(*)::int from track.event")).toBe(605);
  });
});

test("all bits of 88 count: hashes that differ in one of them are different messages", async () => {
  const hex = createHash("sha256").update("base").digest("hex").slice(0, 32);
  const flipped = (bit: number): string => {
    const digits = [...hex];
    const digit = Math.floor(bit / 4);
    digits[digit] = (Number.parseInt(digits[digit] ?? "", 16) ^ (8 >> (bit % 4))).toString(16);
    return digits.join("");
  };
  await database.as("postgres", {}, async (db) => {
    const others = Array.from({ length: 88 }, (_, bit) => flipped(bit));
    await db.query("insert into track.message values (1, $1::uuid)", [hex]);
    await packAll(db);
    const found = (hashes: readonly string[]) =>
      db.value<string[]>(
        "select track._packed_hashes($1::uuid[], 1::smallint, packing)::text[] from track.message_packing as packing",
        [hashes],
      );
    expect((await found([hex, ...others])).map((each) => each.replaceAll("-", ""))).toEqual([hex]);
    await db.query("insert into track.message select 1, hash from unnest($1::uuid[]) as hash", [others]);
    await packAll(db);
    expect(await found([hex, ...others])).toHaveLength(89);
    // Tags at both ends of their range.
    const ends = ["0000", "0001", "7fff", "8000", "fffe", "ffff"].map(
      (tag) => `${hex.slice(0, 18)}${tag}${hex.slice(22)}`,
    );
    expect(await found(ends)).toEqual([]);
    await db.query("insert into track.message select 1, hash from unnest($1::uuid[]) as hash", [ends]);
    await packAll(db);
    expect(await found(ends)).toHaveLength(6);
  });
});

test("rows split as messages increase, while each of them is found in any state between", async () => {
  await database.as("postgres", {}, async (db) => {
    const insert = (from: number, to: number) =>
      db.query(
        "insert into track.message select 1 + n % 2, md5(n::text)::uuid from generate_series($1::int, $2::int) as n",
        [from, to],
      );
    /** Messages of either kind among the first ones that are found, and not as often as they should be. */
    const wrong = (last: number) =>
      db.value<number>(
        `with found as (
           select sent.source, unnest(track._packed_hashes(array_agg(md5(n::text)::uuid), sent.source::smallint, packing)) as hash
           from track.message_packing as packing
           cross join generate_series(0, $1::int + 100) as n
           cross join generate_series(1, 2) as sent (source)
           group by sent.source, packing
           union all
           select source_id, message_hash from track.message
         )
         select count(*)::int from (
           (table found except all select 1 + n % 2, md5(n::text)::uuid from generate_series(0, $1::int) as n)
           union all
           (select 1 + n % 2, md5(n::text)::uuid from generate_series(0, $1::int) as n except all table found)
         ) as difference`,
        [last],
      );
    await insert(0, 2_000);
    await packAll(db);
    expect(await db.rows("select depth, next_depth, messages from track.message_packing")).toEqual([
      { depth: 8, next_depth: 8, messages: "2001" },
    ]);
    expect(await wrong(2_000)).toBe(0);
    // As if rows were to be smaller: the depth grows by 1 and by 3, and further messages arrive meanwhile.
    let last = 2_000;
    for (const deeper of [1, 3]) {
      await db.query("update track.message_packing set messages = 450 * 2.0 ^ (depth + $1 - 0.5)", [deeper]);
      for (let step = 0; ; step++) {
        await db.query("select track.pack_messages(false)");
        if (step % 40 === 0) {
          await insert(last + 1, last + 50);
          last += 50;
          expect(await wrong(last)).toBe(0);
        }
        if ((await db.value("select position from track.message_packing")) === "0") break;
      }
      expect(await wrong(last)).toBe(0);
      const depth = await db.value<number>("select depth from track.message_packing");
      expect(await db.value("select count(*)::int from track.packed_message where node >> $1 <> 1", [depth])).toBe(0);
    }
    expect(await db.value("select depth from track.message_packing")).toBe(12);
  });
});

test("any order of batches, repeats and steps accepts each message once", { timeout: 120_000 }, async () => {
  const ids = fc.integer({ min: 0, max: 40 });
  const step = fc.oneof(
    fc.record({ source: fc.constantFrom("", "importer"), ids: fc.array(ids, { minLength: 1, maxLength: 12 }) }),
    fc.constantFrom("step" as const, "cycle" as const),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
      await database.as("postgres", {}, async (db) => {
        const known = new Set<string>();
        for (const each of steps) {
          if (each === "step") await db.query("select track.pack_messages(false)");
          else if (each === "cycle") await packAll(db);
          else {
            await db.query("select set_config('insights.source', $1, true)", [each.source]);
            const fresh = new Set(each.ids.map((id) => `${each.source}/${id}`).filter((key) => !known.has(key)));
            const batch = each.ids.map((id) => message({ messageId: `m${id}` }));
            expect(await ingest(db, batch)).toMatchObject({
              accepted: fresh.size,
              duplicates: each.ids.length - fresh.size,
            });
            for (const key of fresh) known.add(key);
          }
        }
        expect((await recent(db)) + (await packed(db))).toBe(known.size);
        expect(await db.value("select count(*)::int from track.event")).toBe(known.size);
      });
    }),
    { numRuns: 10 },
  );
});

describe("when a step is scheduled", () => {
  test("a cycle takes a week, in at least 256 steps", async () => {
    await database.as("postgres", {}, async (db) => {
      const due = async () => (await db.value("select track.pack_messages()")) !== null;
      expect(await due()).toBe(true);
      expect(await due()).toBe(false);
      await db.query("update track.message_packing set cycle_started_at = now() - interval '39 minutes'");
      expect(await due()).toBe(false);
      await db.query("update track.message_packing set cycle_started_at = now() - interval '40 minutes'");
      expect(await due()).toBe(true);
      expect(await due()).toBe(false);
      await db.query("update track.message_packing set cycle_started_at = now() - interval '7 days'");
      for (let step = 2; step < 256; step++) expect(await due()).toBe(true);
      // The next cycle has started.
      expect(await due()).toBe(true);
      expect(await due()).toBe(false);
      expect(await db.value("select cycle_started_at = now() from track.message_packing")).toBe(true);
    });
  });

  test("while a tenth and more of the messages is recent, the cycle is finished at once", async () => {
    await database.as("postgres", {}, async (db) => {
      await db.query("insert into track.message select 1, md5(n::text)::uuid from generate_series(1, 10000) as n");
      let steps = 0;
      while ((await db.value("select track.pack_messages()")) !== null) steps++;
      // The cycle, and the first step of the next one.
      expect(steps).toBe(257);
      expect([await recent(db), await packed(db)]).toEqual([0, 10_000]);
      expect(await db.value("select is_behind from track.message_packing")).toBe(false);
    });
  });

  test("after an import the table of recent messages is small again, and keeps the latest ones", async () => {
    await database.as("postgres", {}, async (db) => {
      await db.query("insert into track.message select 1, md5(n::text)::uuid from generate_series(1, 200000) as n");
      const size = () => db.value<number>("select pg_total_relation_size('track.message')::int");
      expect(await size()).toBeGreaterThan(20_000_000);
      // Too many are left.
      await db.query("update track.message_packing set cycle_started_at = now() + interval '1 hour'");
      expect(await db.value("select track.pack_messages()")).toBeNull();
      expect(await size()).toBeGreaterThan(20_000_000);
      expect(await recent(db)).toBe(200_000);
      await db.query("delete from track.message where message_hash > '00080000-0000-0000-0000-000000000000'");
      const left = await recent(db);
      expect(left).toBeGreaterThan(0);
      // A call that waits for autovacuum gives up, and the next one tries again.
      await expect
        .poll(
          async () => {
            expect(await db.value("select track.pack_messages()")).toBeNull();
            return size();
          },
          { timeout: 20_000 },
        )
        .toBeLessThan(100_000);
      expect(await recent(db)).toBe(left);
    });
  });
});

test("many messages whose hashes begin with the same bits, as an attacker can make them, are packed and found", async () => {
  await database.as("postgres", {}, async (db) => {
    const hashes =
      "select 1, ('00000001' || substr(md5(n::text), 9))::uuid as hash from generate_series(1, 20000) as n";
    await db.query(`insert into track.message ${hashes}`);
    await packAll(db);
    expect(await db.value("select max(cardinality(tags)) from track.packed_message")).toBe(20_000);
    expect(
      await db.value(
        `select cardinality(track._packed_hashes(array_agg(hash), 1::smallint, (select packing from track.message_packing as packing)))
         from (${hashes}) as sent (source_id, hash) where hash::text like '%7'`,
      ),
    ).toBe(
      await db.value(`select count(*)::int from (${hashes}) as sent (source_id, hash) where hash::text like '%7'`),
    );
    expect(await ingest(db, sent(100, "after"))).toMatchObject({ accepted: 100 });
  });
});

test("workers pack, and nobody reads or writes the tables", async () => {
  expect(await rolesThatMay(database, "select track.pack_messages()")).toEqual(["worker"]);
  for (const relation of ["track.message", "track.packed_message", "track.message_packing"]) {
    expect(await rolesThatMay(database, `select from ${relation}`)).toEqual([]);
    expect(await rolesThatMay(database, `delete from ${relation}`)).toEqual([]);
  }
});

/** A session of its own, in a transaction. */
async function session(isolation = "read committed") {
  const client = new pg.Client({ connectionString: database.url() });
  client.on("error", () => {});
  await client.connect();
  await client.query(`begin isolation level ${isolation}`);
  const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
  const pid = rows[0]?.pid ?? 0;
  return {
    client,
    send: async (batch: unknown): Promise<number> =>
      (await client.query("select accepted from track.ingest($1)", [JSON.stringify(batch)])).rows[0].accepted,
    /** Until what the session was asked waits for a lock. */
    async waits(asked: Promise<unknown>): Promise<void> {
      let answered = false;
      const settled = (): void => {
        answered = true;
      };
      asked.then(settled, settled);
      while ((await database.value("select wait_event_type from pg_stat_activity where pid = $1", [pid])) !== "Lock") {
        if (answered) throw new Error("the session did not wait");
      }
    },
    async end(how: "commit" | "rollback") {
      await client.query(how);
      await client.end();
    },
  };
}

/** Ids whose hashes are in ascending order. */
const ordered = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}-${index}`)
    .map((id) => ({ id, hash: createHash("sha256").update(id).digest("hex") }))
    .toSorted((one, other) => (one.hash < other.hash ? -1 : 1))
    .map(({ id }) => id);

describe.skipIf(!database.native)("steps while messages arrive (needs parallel sessions)", () => {
  const stored = (prefix: string) =>
    database.value<number>("select count(*)::int from track.event where properties ->> 'set' = $1", [prefix]);
  const of = (prefix: string, messageId: string) => message({ messageId, properties: { set: prefix } });

  test("who sends a message while it is moved waits, and finds a duplicate, whether the step ends or fails", async () => {
    for (const how of ["commit", "rollback"] as const) {
      const batch = ordered(how, 50).map((id) => of(how, id));
      expect(await ingest(database, batch)).toMatchObject({ accepted: 50 });
      const packer = await session();
      await packAll({
        ...database,
        value: async (sql) => Object.values((await packer.client.query(sql)).rows[0])[0] as never,
      });
      const sender = await session();
      const sending = sender.send(batch);
      await sender.waits(sending);
      await packer.end(how);
      expect(await sending).toBe(0);
      await sender.end("commit");
      expect(await stored(how)).toBe(50);
      expect(await ingest(database, batch)).toMatchObject({ accepted: 0, duplicates: 50 });
    }
  });

  test("a message that is moved between the look-up and the insertion of a batch is found all the same", async () => {
    for (const how of ["commit", "rollback"] as const) {
      const ids = ordered(`between-${how}`, 20);
      const batch = ids.map((id) => of(`between-${how}`, id));
      const [first, ...others] = batch;
      await ingest(database, others);
      // The batch waits for the first one, after the look-up of all of them.
      const holder = await session();
      expect(await holder.send([first])).toBe(1);
      const sender = await session();
      const fresh = Array.from({ length: 5 }, (_, index) => of(`between-${how}`, `between-${how}-fresh-${index}`));
      const sending = sender.send([...batch, ...fresh]);
      await sender.waits(sending);
      await packAll(database);
      expect(await recent(database)).toBe(0);
      await holder.end(how);
      expect(await sending).toBe(how === "commit" ? 5 : 6);
      await sender.end("commit");
      expect(await stored(`between-${how}`)).toBe(25);
      expect(await recent(database)).toBe(6);
      expect(await ingest(database, [...batch, ...fresh])).toMatchObject({ accepted: 0, duplicates: 25 });
    }
  });

  test.each(["repeatable read", "serializable"])("a %s transaction from before a step fails", async (isolation) => {
    const same = of(isolation, `isolated-${isolation}`);
    expect(await ingest(database, [same])).toMatchObject({ accepted: 1 });
    const sender = await session(isolation);
    await sender.client.query("select count(*) from track.event");
    await packAll(database);
    await expect(sender.send([same])).rejects.toMatchObject({ code: "40001" });
    await sender.end("rollback");
    const again = await session(isolation);
    expect(await again.send([same, of(isolation, `${isolation}-fresh`)])).toBe(1);
    // Until it ends, no step begins.
    expect(await database.value("select track.pack_messages(false)")).toBeNull();
    await again.end("commit");
    expect(await database.value("select track.pack_messages(false)")).not.toBeNull();
  });

  test("the table of recent messages shrinks without losing what arrives meanwhile", async () => {
    await database.query("insert into track.message select 1, md5(n::text)::uuid from generate_series(1, 200000) as n");
    await database.query("delete from track.message where message_hash > '00080000-0000-0000-0000-000000000000'");
    await database.query("update track.message_packing set cycle_started_at = now() + interval '1 hour'");
    const size = () => database.value<number>("select pg_total_relation_size('track.message')::int");
    const old = await session("repeatable read");
    await old.client.query("select count(*) from track.message");
    const arrived = [of("shrink", "shrink-1"), of("shrink", "shrink-2")];
    expect(await ingest(database, [arrived[0]])).toMatchObject({ accepted: 1 });
    expect((await old.client.query("select track.pack_messages() as moved")).rows).toEqual([{ moved: null }]);
    await old.end("commit");
    expect(await size()).toBeGreaterThan(20_000_000);
    // It does not wait for a batch that takes long, but tries again.
    const sender = await session();
    expect(await sender.send([arrived[1]])).toBe(1);
    expect(await database.value("select track.pack_messages()")).toBeNull();
    expect(await size()).toBeGreaterThan(20_000_000);
    await sender.end("commit");
    expect(await database.value("select track.pack_messages()")).toBeNull();
    expect(await size()).toBeLessThan(200_000);
    expect(await ingest(database, arrived)).toMatchObject({ accepted: 0, duplicates: 2 });
    await packAll(database);
    expect(await ingest(database, arrived)).toMatchObject({ accepted: 0, duplicates: 2 });
  });

  test("of two sessions that pack, the second one has nothing to do", async () => {
    const one = await session();
    await one.client.query("select track.pack_messages(false)");
    expect(await database.value("select track.pack_messages(false)")).toBeNull();
    await one.end("commit");
  });

  test("writers repeat each other's messages while steps go on and are killed: each is accepted once", async () => {
    const ids = ordered("storm", 600);
    let writing = true;
    let steps = 0;
    let killed = 0;
    const packing = async (): Promise<void> => {
      while (writing) {
        const client = new pg.Client({ connectionString: database.url() });
        client.on("error", () => {});
        await client.connect();
        const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
        try {
          for (let step = 0; step < 20 && writing; step++) {
            const asked = client.query("select track.pack_messages(false)");
            // Its failure is handled below.
            asked.catch(() => {});
            if (step === 19) await database.query("select pg_terminate_backend($1)", [rows[0]?.pid]);
            await asked;
            steps++;
          }
        } catch {
          killed++;
        }
        await client.end().catch(() => {});
      }
    };
    const packers = [packing(), packing()];
    const accepted = await Promise.all(
      Array.from({ length: 4 }, async (_, writer) => {
        let sum = 0;
        for (let round = 0; round < 30; round++) {
          const start = (round * 20 + writer * 5) % ids.length;
          const batch = [...ids, ...ids].slice(start, start + 60).map((id) => of("storm", id));
          sum += (await ingest(database, batch)).accepted;
        }
        return sum;
      }),
    );
    writing = false;
    await Promise.all(packers);
    expect(steps).toBeGreaterThan(0);
    expect(accepted.reduce((sum, each) => sum + each, 0)).toBe(600);
    expect(await stored("storm")).toBe(600);
    expect(
      (
        await ingest(
          database,
          ids.map((id) => of("storm", id)),
        )
      ).accepted,
    ).toBe(0);
    await packAll(database);
    expect(
      (
        await ingest(
          database,
          ids.map((id) => of("storm", id)),
        )
      ).accepted,
    ).toBe(0);
    expect(await packed(database)).toBe(await database.value("select messages::int from track.message_packing"));
    console.log(`${steps} steps, ${killed} sessions killed`);
  });
});
