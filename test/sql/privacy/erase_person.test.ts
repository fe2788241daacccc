import { createHash } from "node:crypto";
import { makeWorkerUtils } from "graphile-worker";
import pg from "pg";
import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { generator } from "../../support/matrix.ts";
import { ingest as ingestSteps, twoTastes } from "../../support/recommend.ts";
import { ingest, message, refresh } from "../track/messages.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

interface Receipt {
  erasure_id: string;
  subject_hash: string;
  salt: string;
  counts: Record<string, Record<string, number>>;
}
const erase = async (db: Queries, person: string, keep = true): Promise<Receipt> => {
  const [receipt] = await db.rows<Receipt>("select * from privacy.erase_person($1, null, $2)", [person, keep]);
  if (receipt === undefined) throw new Error("no receipt");
  return receipt;
};

const people = async (db: Queries): Promise<string[]> =>
  (
    await db.rows<{ name: string }>(
      "select kind || ' ' || external_id as name from track.identity where identity_id <> 0 order by 1",
    )
  ).map(({ name }) => name);

describe("privacy.erase_person", () => {
  test("returns a receipt that proves whose it is only with the salt", async () => {
    await inside(async (db) => {
      await ingest(db, [
        message({ userId: "ada" }),
        message({ type: "identify", event: undefined, userId: "ada", anonymousId: "phone", traits: { plan: "pro" } }),
        message({ userId: "ben" }),
      ]);
      await refresh(db);
      const receipt = await erase(db, "ada");
      // The published form of the hash, computed here.
      const hash = createHash("sha256").update(Buffer.from(receipt.salt, "hex")).update("3:ada5:phone").digest("hex");
      expect(receipt.subject_hash).toBe(hash);
      expect(receipt.counts).toMatchObject({
        "track.event": { deleted: 1 },
        "track.session": { deleted: 1 },
        "track.trait": { deleted: 1 },
        "track.identity": { deleted: 2 },
        "track.person": { deleted: 1 },
      });
      const [stored] = await db.rows("select encode(subject_hash, 'hex') as hash, counts, salt from privacy.erasure");
      expect(stored).toEqual({ hash, counts: receipt.counts, salt: null });
      expect(await people(db)).toEqual(["user ben"]);
    });
  });

  test("is refused for a name that nobody has, and for bad arguments", async () => {
    await inside(async (db) => {
      await ingest(db, [message({ userId: "ada" })]);
      await erase(db, "ada");
      for (const [sql, code, text] of [
        ["select privacy.erase_person('ada')", "CF002", 'there is no person "ada"'],
        ["select privacy.erase_person('nobody')", "CF002", 'there is no person "nobody"'],
        ["select privacy.erase_person('')", "CF002", 'there is no person ""'],
        ["select privacy.erase_person('none')", "CF002", 'there is no person "none"'],
        ["select privacy.erase_person(null)", "CF001", "person is null"],
        ["select privacy.erase_person('ada', repeat('x', 201))", "CF008", "the reason has 201 characters"],
      ] as const) {
        await db.query("savepoint before");
        expect(await db.rejects(sql)).toMatchObject({ code, message: text });
        await db.query("rollback to before");
      }
    });
  });

  test("may be called by admins and workers only", async () => {
    for (const role of ["insights_visitor", "insights_learner", "insights_analyst", "insights_reader"]) {
      await database.as(role, {}, async (db) => {
        expect(await db.rejects("select privacy.erase_person('ada')")).toMatchObject({ code: "42501" });
      });
    }
    for (const role of ["insights_admin", "insights_worker"]) {
      await database.as(role, {}, async (db) => {
        expect(await db.rejects("select privacy.erase_person('ada')")).toMatchObject({ code: "CF002" });
      });
    }
  });

  test("is refused in a transaction that does not see what others store", async () => {
    const client = await database.pool.connect();
    await client.query("begin isolation level repeatable read");
    await expect(client.query("select privacy.erase_person('ada')")).rejects.toMatchObject({ code: "25001" });
    await client.query("rollback");
    client.release();
  });

  test("suppresses the names that nobody else has", async () => {
    await inside(async (db) => {
      await ingest(db, [
        message({
          type: "identify",
          event: undefined,
          userId: "ada",
          anonymousId: "shared",
          timestamp: "2026-01-01T10:00:00Z",
        }),
        message({
          type: "identify",
          event: undefined,
          userId: "ada",
          anonymousId: "own",
          timestamp: "2026-01-01T10:00:00Z",
        }),
        message({
          type: "identify",
          event: undefined,
          userId: "ben",
          anonymousId: "shared",
          timestamp: "2026-01-02T10:00:00Z",
        }),
      ]);
      await erase(db, "ada");
      const result = await ingest(db, [
        message({ messageId: "1", userId: "ada" }),
        message({ messageId: "2", userId: undefined, anonymousId: "own" }),
        message({ messageId: "3", userId: undefined, anonymousId: "shared" }),
        message({ messageId: "4", userId: "ben" }),
      ]);
      expect(result.accepted).toBe(2);
      expect(result.errors.map(({ messageId, code }) => [messageId, code])).toEqual([
        ["1", "CF005"],
        ["2", "CF005"],
      ]);
      expect(await people(db)).toEqual(["anonymous shared", "user ben"]);
    });
  });

  test("can leave the names free", async () => {
    await inside(async (db) => {
      await ingest(db, [message({ userId: "ada", event: "Before" })]);
      await erase(db, "ada", false);
      expect((await ingest(db, [message({ userId: "ada", event: "After" })])).accepted).toBe(1);
      expect(await db.rows("select name from track.event join track.event_type using (event_type_id)")).toEqual([
        { name: "After" },
      ]);
    });
  });

  test("erases what clients sent without proof under the name of her browser", async () => {
    await inside(async (db) => {
      await ingest(db, [
        message({ type: "identify", event: undefined, userId: "ada", anonymousId: "phone" }),
        message({ userId: undefined, anonymousId: "phone", event: "Known" }),
      ]);
      await db.query("set local insights.write_key to ''");
      await db.query(
        `insert into track.identity (kind, external_id, person_id, identity_id) overriding system value
         select 'unverified', 'phone', next, next from nextval('track.identity_identity_id_seq') as next`,
      );
      await db.query(
        "insert into track.person (person_id) select person_id from track.identity where kind = 'unverified'",
      );
      await db.query(
        `insert into track.trait (person_id, identity_id, name, value, set_at)
         select person_id, identity_id, 'said', '1', now() from track.identity where kind = 'unverified'`,
      );
      await erase(db, "ada");
      expect(await people(db)).toEqual([]);
      expect(await db.value("select count(*)::int from track.trait")).toBe(0);
      expect(await db.value("select count(*)::int from track.person")).toBe(1);
    });
  });

  test("deletes names that only she used, and keeps those that the application or others gave", async () => {
    await inside(async (db) => {
      await db.query("create table pg_temp.items (external_id text, kind text, title text)");
      await db.query("insert into pg_temp.items values ('course', 'course', 'Course')");
      await db.query("select track.sync_items('pg_temp.items')");
      const used = (userId: string, event: string, item: string, more = {}) =>
        message({ userId, event, properties: { item, ...more } });
      await ingest(db, [
        used("ada", "Hers", "notes-of-ada", { parent: "folder-of-ada", itemTitle: "Ada's notes" }),
        used("ada", "Both", "shared", { itemTitle: "Title by Ada" }),
        used("ada", "Both", "course"),
        used("ben", "Both", "shared", { itemTitle: "Title by Ben" }),
      ]);
      await refresh(db);
      // Derived of all items: it goes with them.
      await db.query("select recommend.refresh_item_vectors()");
      await db.query(
        "insert into recommend.ranked_list (kind, list, item_id, score) select 'page', 'newest', item_id, 1 from track.item",
      );
      const receipt = await erase(db, "ada");
      expect(await db.rows("select external_id, title from track.item order by 1")).toEqual([
        { external_id: "course", title: "Course" },
        { external_id: "shared", title: "Title by Ben" },
      ]);
      expect(await db.rows("select name from track.event_type where description is null")).toEqual([{ name: "Both" }]);
      expect(receipt.counts).toMatchObject({
        "track.item": { deleted: 2 },
        "track.event_type": { deleted: 1 },
      });
    });
  });

  test("keeps an item that something refers to", async () => {
    await inside(async (db) => {
      await ingest(db, [
        message({ userId: "ada", properties: { item: "parent" } }),
        message({ userId: "ada", properties: { item: "pinned" } }),
        message({ userId: "ben", properties: { item: "child", parent: "parent" } }),
      ]);
      await db.query("select recommend.set_rule('first', 'pin', items => '{pinned}', place => 1)");
      await refresh(db);
      await erase(db, "ada");
      expect(await db.rows("select external_id as name from track.item order by 1")).toEqual([
        { name: "child" },
        { name: "parent" },
        { name: "pinned" },
      ]);
    });
  });

  test("marks the predictions that may have been trained on her data", async () => {
    await inside(async (db) => {
      await ingest(db, [message({ userId: "ada" }), message({ userId: "ben" })]);
      await db.query("create table pg_temp.enrolments (person text, item text, status text, enrolled_at timestamptz)");
      await db.query("insert into pg_temp.enrolments values ('ada', 'course', 'active', '2026-03-01')");
      await db.query("select track.sync_enrolments('pg_temp.enrolments')");
      await db.query(
        `with entered as (
           insert into ml.project (name, task, metric)
           select project, task, 'log_loss' from analytics.prediction_target where target = 'dropout'
           returning project_id
         )
         insert into ml.model (project_id, version, algorithm, trained_at)
         select project_id, version, 'logregr', trained_at::timestamptz
         from entered, (values (1, '2026-02-01'), (2, '2026-04-01')) as trained (version, trained_at)`,
      );
      const marked = () => db.rows("select version, marked_at is not null as is_marked from ml.model order by version");
      const { counts } = await erase(db, "ben");
      expect(counts).not.toHaveProperty("ml.model");
      expect((await erase(db, "ada")).counts).toMatchObject({ "ml.model": { marked: 1 } });
      expect(await marked()).toEqual([
        { version: 1, is_marked: false },
        { version: 2, is_marked: true },
      ]);
    });
  });

  test("marks the versions that were trained on an enrolment that a later one replaced, or a correction removed", async () => {
    await inside(async (db) => {
      await ingest(db, [message({ userId: "ada" }), message({ userId: "ben" })]);
      await db.query("create table pg_temp.enrolments (person text, item text, enrolled_at timestamptz)");
      await db.query("insert into pg_temp.enrolments values ('ada', 'course', now()), ('ben', 'course', now())");
      await db.query("select track.sync_enrolments('pg_temp.enrolments')");
      await db.query(
        `with entered as (
           insert into ml.project (name, task, metric)
           select project, task, 'log_loss' from analytics.prediction_target where target = 'dropout'
           returning project_id
         )
         insert into ml.model (project_id, version, algorithm, trained_at)
         select project_id, 1, 'logregr', clock_timestamp() from entered`,
      );
      await db.query("insert into pg_temp.enrolments values ('ada', 'course', now() + interval '1 hour')");
      await db.query("select track.sync_enrolments('pg_temp.enrolments')");
      await db.query("savepoint trained");
      expect((await erase(db, "ada")).counts).toMatchObject({ "ml.model": { marked: 1 } });
      await db.query("rollback to trained");
      await db.query(`select privacy.rectify('ben', '{"enrolments": [{"item": "course", "removed": true}]}')`);
      expect((await erase(db, "ben")).counts).toMatchObject({ "ml.model": { marked: 1 } });
    });
  });

  test("deletes saved queries about her, and none whose other arguments are equal to her name", async () => {
    await inside(async (db) => {
      await ingest(db, [message({ userId: "page" }), message({ userId: "ben" })]);
      await db.query(
        `insert into analytics.saved_query (name, function_name, arguments, created_by) values
           ('pages', 'analytics.popular_items', '{"kind": "page"}', 'ben'),
           ('hers', 'track.journey', '{"person": "page"}', 'ben'),
           ('theirs', 'recommend.for_people', '{"people": ["ben", "page"], "kind": "course"}', 'ben')`,
      );
      await erase(db, "page");
      expect(await db.rows("select name from analytics.saved_query where created_by = 'ben'")).toEqual([
        { name: "pages" },
      ]);
    });
  });

  test("a repeated call does not erase the person whose browser has the name of the user", async () => {
    await inside(async (db) => {
      await ingest(db, [
        message({ userId: "ben" }),
        message({ type: "identify", event: undefined, userId: "eve", anonymousId: "ben" }),
        message({ type: "identify", event: undefined, userId: "eve", anonymousId: "phone" }),
      ]);
      await refresh(db);
      await erase(db, "ben");
      await db.query("savepoint erased");
      expect(await db.rejects("select privacy.erase_person('ben')")).toMatchObject({ code: "CF002" });
      await db.query("rollback to erased");
      expect(await people(db)).toEqual(["anonymous ben", "anonymous phone", "user eve"]);
      // Her own names erase her.
      await erase(db, "phone");
      expect(await people(db)).toEqual([]);
    });
  });

  test("erases a person with hundreds of long names from errors, and nobody else", async () => {
    await inside(async (db) => {
      const names = Array.from({ length: 400 }, (_, n) => `${n}.*(["\\${"n".repeat(240)}`);
      await ingest(
        db,
        names.map((anonymousId) => message({ type: "identify", event: undefined, userId: "ada", anonymousId })),
      );
      await refresh(db);
      const errors = [names[0], `failed for ${names[399]}, again`, "failed for ada", "ada-2 and lambada", "123"];
      for (const error of errors)
        await db.query("insert into monitor.run (task, started_at, error) values ('x', now(), $1)", [error]);
      await db.query("insert into monitor.run (task, started_at, detail) values ('x', now(), $1)", [
        JSON.stringify({ of: names[7] }),
      ]);
      await erase(db, "ada");
      expect(await db.rows("select error, detail from monitor.run where task = 'x' order by 1")).toEqual([
        { error: "123", detail: null },
        { error: "erased", detail: null },
        { error: "erased", detail: null },
        { error: "erased", detail: null },
        { error: "erased", detail: null },
        { error: null, detail: null },
      ]);
    });
  });

  test("erases the key of a person from errors of the tasks, and no other key", async () => {
    const utils = await makeWorkerUtils({
      pgPool: database.pool,
      schema: "insights_queue",
      noPreparedStatements: true,
    });
    await utils.release();
    await inside(async (db) => {
      await ingest(db, [message({ userId: "ada" })]);
      await refresh(db);
      const key = await db.value<number>("select track.find_person('ada')::int");
      for (const [task, person] of [
        ["insights:refresh", key],
        ["insights:train", `${key}0`],
        ["campus:mail", key],
      ]) {
        await db.query("select insights_queue.add_job($1)", [task]);
        await db.query(
          `update insights_queue._private_jobs set last_error = $2
           where task_id = (select id from insights_queue._private_tasks where identifier = $1)`,
          [task, `there is no person ${person} here`],
        );
      }
      for (const person of [key, `${key}0`])
        await db.query("insert into monitor.run (task, started_at, error, detail) values ('x', now(), $1, $2)", [
          person === key ? null : `there is no person ${person} here`,
          JSON.stringify({ error: `there is no person ${person} here` }),
        ]);
      await erase(db, "ada");
      expect(await db.rows("select task_identifier as task, last_error from insights_queue.jobs order by 1")).toEqual([
        { task: "campus:mail", last_error: `there is no person ${key} here` },
        { task: "insights:refresh", last_error: "erased" },
        { task: "insights:train", last_error: `there is no person ${key}0 here` },
      ]);
      expect(await db.rows("select error, detail from monitor.run where task = 'x' order by run_id")).toEqual([
        { error: null, detail: null },
        { error: `there is no person ${key}0 here`, detail: { error: `there is no person ${key}0 here` } },
      ]);
    });
  });

  test("unlearns the person in recommenders, whose lists are then those of the others", async () => {
    await inside(async (db) => {
      await ingestSteps(db, twoTastes(30, generator(3)));
      const version = await db.value("select version from recommend.train()");
      const model = await db.value(
        "select model_id from ml.model join ml.project using (project_id) where name = 'recommend.course' and version = $1",
        [version],
      );
      const lists = () =>
        db.rows<{ item: string; neighbours: string[]; weights: number[] }>(
          `select part || ' ' || item_id as item, neighbour_ids::text[] as neighbours, weights
           from recommend.neighbours where model_id = $1 order by part, item_id`,
          [model],
        );
      const weights = (from: Awaited<ReturnType<typeof lists>>): Map<string, number> =>
        new Map(
          from.flatMap(({ item, neighbours, weights: of }) =>
            neighbours.map((neighbour, n) => [`${item} ${neighbour}`, of[n] ?? 0]),
          ),
        );
      const before = weights(await lists());
      const { counts } = await erase(db, "p1");
      expect(counts).toMatchObject({ "recommend.learned": { deleted: 1 }, "ml.model": { unlearned: 1 } });
      expect(await db.value("select count(*)::int from recommend.learned where model_id = $1", [model])).toBe(29);
      const unlearned = weights(await lists());
      expect(unlearned).not.toEqual(before);
      // Computed from nothing, of the record without her.
      await db.query("select recommend._relearn($1)", [model]);
      const computed = weights(await lists());
      const greatest = Math.max(...[...computed.values()].map(Math.abs));
      for (const key of new Set([...unlearned.keys(), ...computed.keys()])) {
        expect(Math.abs((unlearned.get(key) ?? 0) - (computed.get(key) ?? 0)), key).toBeLessThan(1e-4 * greatest);
      }
      expect(await db.value("select marked_at from ml.model where model_id = $1", [model])).toBeNull();
    });
  });

  test("leaves the chain of the ledger whole and accounts for the decisions", async () => {
    await inside(async (db) => {
      await ingest(db, [message({ userId: "ada" }), message({ userId: "ben" })]);
      for (const name of ["ada", "ben"]) {
        await db.query("select privacy.record_consent(track.find_person($1), 'advertising', true)", [name]);
      }
      await db.query("select privacy.seal()");
      await erase(db, "ada");
      await db.query("select privacy.seal()");
      const check = await db.value<Record<string, unknown>>(
        "select to_jsonb(checked) from privacy.verify_ledger() as checked",
      );
      expect(check).toMatchObject({ broken_position: null });
      expect(await db.rows("select kind from privacy.ledger where kind <> 'checkpoint' order by 1")).toEqual([
        { kind: "consent" },
        { kind: "consent" },
        { kind: "erasure" },
        { kind: "removal" },
      ]);
      expect(await db.value("select count(*)::int from privacy.consent")).toBe(1);
    });
  });

  test("does nothing when a step fails", async () => {
    await inside(async (db) => {
      await ingest(db, [message({ userId: "ada" })]);
      await refresh(db);
      await db.query(
        "create function public.failing(subject privacy.subject) returns setof privacy.erased language plpgsql as $$begin raise 'no'; end$$",
      );
      await db.query(
        "insert into privacy.handler (room, position, erase_function, description) values ('other', 99, 'public.failing', '')",
      );
      await db.query("savepoint before");
      await db.rejects("select privacy.erase_person('ada')");
      await db.query("rollback to before");
      expect(await people(db)).toEqual(["user ada"]);
      expect(await db.value("select count(*)::int from track.event")).toBe(1);
      expect(await db.value("select count(*)::int from privacy.erasure")).toBe(0);
    });
  });
});

interface Session {
  client: pg.Client;
  pid: number;
  query: (sql: string, values?: unknown[]) => Promise<Record<string, unknown> | undefined>;
  end: () => Promise<void>;
}

/** A session of its own, in a transaction. */
async function session(): Promise<Session> {
  const client = new pg.Client({ connectionString: database.url() });
  client.on("error", () => {});
  await client.connect();
  await client.query("begin");
  const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
  return {
    client,
    pid: rows[0]?.pid ?? 0,
    query: async (sql, values) => (await client.query(sql, values)).rows[0],
    async end() {
      await client.query("commit");
      await client.end();
    },
  };
}

/** Waits until a session waits for a lock; fails when it is answered without. */
async function waits({ pid }: Session, asked: Promise<unknown>): Promise<void> {
  let answered = false;
  const answer = asked.finally(() => {
    answered = true;
  });
  answer.catch(() => {});
  for (;;) {
    const event = await database.value("select wait_event_type from pg_stat_activity where pid = $1", [pid]);
    if (answered) throw new Error("it did not wait");
    if (event === "Lock") return;
  }
}

const send = (batch: unknown): [string, unknown[]] => [
  "select accepted, rejected, errors from track.ingest($1)",
  [JSON.stringify(batch)],
];

describe.skipIf(!database.native)("an erasure and another session at once (needs parallel sessions)", () => {
  test("messages of the person wait, and are then refused; those of the others in the batch are stored", async () => {
    await ingest(database, [message({ userId: "race-1" }), message({ userId: "race-2" })]);
    await refresh(database);
    const [eraser, sender] = [await session(), await session()];
    await eraser.query("select privacy.erase_person('race-1')");
    const sent = sender.query(...send([message({ userId: "race-1" }), message({ userId: "race-2" })]));
    await waits(sender, sent);
    await eraser.end();
    expect(await sent).toMatchObject({ accepted: 1, rejected: 1, errors: [{ index: 0, code: "CF005" }] });
    await sender.end();
    expect(await database.value("select count(*)::int from track.identity where external_id = 'race-1'")).toBe(0);
    expect(
      await database.value(
        "select count(*)::int from track.event join track.identity using (identity_id) where external_id = 'race-2'",
      ),
    ).toBe(2);
  });

  test("an erasure waits for a batch that is being stored, and erases what it stored", async () => {
    await ingest(database, [message({ userId: "race-3" })]);
    const [sender, eraser] = [await session(), await session()];
    await sender.query(...send([message({ userId: "race-3" })]));
    const erased = eraser.query(
      "select (counts #>> '{track.event,deleted}')::int as events from privacy.erase_person('race-3')",
    );
    await waits(eraser, erased);
    await sender.end();
    expect(await erased).toEqual({ events: 2 });
    await eraser.end();
    expect(await database.value("select count(*)::int from track.identity where external_id = 'race-3'")).toBe(0);
  });

  test("an erasure waits for a read that is being logged, and deletes its entry; a later read finds nobody to log", async () => {
    await ingest(database, [message({ userId: "read-1" }), message({ userId: "read-2" })]);
    const read = "select count(*) from track.journey('read-1') as one, track.journey('read-2') as other";
    const [reader, eraser, late] = [await session(), await session(), await session()];
    await reader.query(read);
    const erased = eraser.query(
      "select (counts #>> '{privacy.disclosure,deleted}')::int as reads from privacy.erase_person('read-1')",
    );
    await waits(eraser, erased);
    await reader.end();
    expect(await erased).toEqual({ reads: 1 });
    const second = late.query(read);
    await waits(late, second);
    await eraser.end();
    await second;
    await late.end();
    expect(
      await database.rows("select subject_name from privacy.disclosure where subject_name ~ '^read-[12]' order by 1"),
    ).toEqual([{ subject_name: "read-2" }]);
  });

  test("of two erasures one is done, and the other finds nobody", async () => {
    await ingest(database, [message({ userId: "race-4" })]);
    const [one, two] = [await session(), await session()];
    await one.query("select privacy.erase_person('race-4')");
    const second = two.query("select privacy.erase_person('race-4')");
    await waits(two, second);
    await one.end();
    await expect(second).rejects.toMatchObject({ code: "CF002" });
    await two.client.end();
    expect(
      await database.value("select count(*)::int from privacy.erasure where counts ? 'track.person'"),
    ).toBeGreaterThan(0);
  });

  test("a session that ends in the middle of an erasure leaves everything as it was", async () => {
    await ingest(database, [message({ userId: "race-5" })]);
    await refresh(database);
    const before = await database.value("select count(*)::int from privacy.erasure");
    const eraser = await session();
    await eraser.query("select privacy.erase_person('race-5')");
    await database.query("select pg_terminate_backend($1)", [eraser.pid]);
    for (;;) {
      if ((await database.value("select count(*)::int from pg_stat_activity where pid = $1", [eraser.pid])) === 0)
        break;
    }
    expect(await database.value("select count(*)::int from track.identity where external_id = 'race-5'")).toBe(1);
    expect(await database.value("select count(*)::int from privacy.erasure")).toBe(before);
    await database.query("select privacy.erase_person('race-5')");
    expect(await database.value("select count(*)::int from track.identity where external_id = 'race-5'")).toBe(0);
  });

  test("a decision that is recorded meanwhile waits, and finds nobody; one before is erased", async () => {
    await ingest(database, [message({ userId: "race-9" }), message({ userId: "race-10" })]);
    const [eraser, decider] = [await session(), await session()];
    await eraser.query("select privacy.erase_person('race-9')");
    const decided = decider.query("select privacy.record_consent(track.find_person('race-9'), 'advertising', true)");
    await waits(decider, decided);
    await eraser.end();
    await expect(decided).rejects.toMatchObject({ code: "CF002" });
    await decider.client.end();

    const [other, second] = [await session(), await session()];
    await other.query("select privacy.record_consent(track.find_person('race-10'), 'advertising', true)");
    const erased = second.query("select privacy.erase_person('race-10')");
    await waits(second, erased);
    await other.end();
    await erased;
    await second.end();
    expect(
      await database.value("select count(*)::int from privacy.consent where subject_name in ('race-9', 'race-10')"),
    ).toBe(0);
  });

  test("a link to a person who is being erased waits, and then starts a new person", async () => {
    await ingest(database, [
      message({ userId: "race-6" }),
      message({ userId: undefined, anonymousId: "race-6-phone" }),
    ]);
    const [eraser, sender] = [await session(), await session()];
    await eraser.query("select privacy.erase_person('race-6', null, false)");
    const linked = sender.query(
      ...send([message({ type: "identify", event: undefined, userId: "race-6", anonymousId: "race-6-phone" })]),
    );
    await waits(sender, linked);
    await eraser.end();
    expect(await linked).toMatchObject({ accepted: 1, rejected: 0 });
    await sender.end();
    expect(
      await database.value(
        "select count(distinct person_id)::int from track.identity where external_id in ('race-6', 'race-6-phone')",
      ),
    ).toBe(1);
  });

  test("a batch that names an item that only she used waits, and finds a new one", async () => {
    const used = (userId: string) => message({ userId, event: "Only Race", properties: { item: "race-item" } });
    await ingest(database, [used("race-7")]);
    await refresh(database);
    const [eraser, sender] = [await session(), await session()];
    await eraser.query("select privacy.erase_person('race-7')");
    const sent = sender.query(...send([used("race-8")]));
    await waits(sender, sent);
    await eraser.end();
    expect(await sent).toMatchObject({ accepted: 1 });
    await sender.end();
    expect(
      await database.rows(
        `select item.external_id as item, event_type.name
         from track.event
         join track.identity using (identity_id)
         left join track.item using (item_id)
         left join track.event_type using (event_type_id)
         where identity.external_id = 'race-8'`,
      ),
    ).toEqual([{ item: "race-item", name: "Only Race" }]);
  });

  test("batches are stored while an erasure waits for a refresh", async () => {
    await ingest(database, [message({ userId: "race-11", properties: { item: "race-11-item" } })]);
    const [refresher, eraser, sender] = [await session(), await session(), await session()];
    await refresher.query("select from track.refresh()");
    const erased = eraser.query("select privacy.erase_person('race-11')");
    await waits(eraser, erased);
    await sender.query("set local lock_timeout = '1min'");
    expect(await sender.query(...send([message({ userId: "race-12" })]))).toMatchObject({ accepted: 1 });
    await sender.end();
    await refresher.end();
    await erased;
    await eraser.end();
  });

  test("a requested erasure holds nothing that a merge of the person needs while it waits", async () => {
    await ingest(database, [message({ userId: "race-13" }), message({ userId: "race-14" })]);
    await database.query("select privacy.open_request('race-13', 'erasure')");
    const [refresher, eraser, merger] = [await session(), await session(), await session()];
    await refresher.query("select from track.refresh()");
    const erased = eraser.query("select * from privacy.erase_requested()");
    await waits(eraser, erased);
    await merger.query("set local lock_timeout = '1min'");
    await merger.query("select track.merge_persons('race-14', 'race-13')");
    await merger.end();
    // A second one leaves the requests to the first.
    expect((await database.rows("select * from privacy.erase_requested()"))[0]).toEqual({
      erased: 0,
      failed: 0,
      error: null,
    });
    await refresher.end();
    await erased;
    await eraser.end();
    await database.query("select privacy.erase_requested()");
    expect(
      await database.value(
        "select count(*)::int from track.identity where external_id in ('race-13', 'race-14') and kind = 'user'",
      ),
    ).toBe(0);
  });

  test("a refresh, a merge and a decision at the same time end without a deadlock", async () => {
    const names = ["mob-1", "mob-2", "mob-3", "mob-4", "mob-5", "mob-6"];
    await ingest(
      database,
      names.map((userId) => message({ userId, properties: { item: `item-of-${userId}` } })),
    );
    const ignore = (error: unknown): void => {
      // A call after the erasure finds nobody.
      if (!(error instanceof pg.DatabaseError) || !["CF002", "CF005", "CF001"].includes(error.code ?? "")) throw error;
    };
    const busy = names.flatMap((name, index) => [
      database.query("select privacy.erase_person($1)", [name]).catch(ignore),
      database.query("select track.link_identities($1, $2)", [name, names[(index + 1) % names.length]]).catch(ignore),
      database.query("select track.refresh(2)").catch(ignore),
      database.query(...send([message({ userId: name, properties: { item: `item-of-${name}` } })])).catch(ignore),
      database.query("select privacy.record_consent(track.find_person($1), 'advertising', true)", [name]).catch(ignore),
    ]);
    await Promise.all(busy);
    await refresh(database);
    // Each name is erased, except that a merge after its erasure cannot bring it back.
    expect(await database.value("select count(*)::int from track.identity where external_id like 'mob-%'")).toBe(0);
    for (const table of ["track.event", "track.session", "track.step", "recommend.interaction"]) {
      expect([
        table,
        await database.value(
          `select count(*)::int from ${table} as stored where not exists (select from track.person where person.person_id = stored.person_id)`,
        ),
      ]).toEqual([table, 0]);
    }
  });
});
