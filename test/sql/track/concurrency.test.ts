import pg from "pg";
import { describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { ingest, message, refresh } from "./messages.ts";

const database = await testDatabase();

interface Session {
  client: pg.Client;
  pid: number;
  send: (batch: unknown) => Promise<number>;
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
    async send(batch) {
      const { rows } = await client.query("select accepted from track.ingest($1)", [JSON.stringify(batch)]);
      return (rows[0] as { accepted: number }).accepted;
    },
    async end() {
      await client.query("commit");
      await client.end();
    },
  };
}

/** Whether what a session was asked has to wait for a lock that another one holds, and is not answered without. */
async function waits({ pid }: Session, asked: Promise<unknown>): Promise<boolean> {
  let answered = false;
  const answer = asked.finally(() => {
    answered = true;
  });
  answer.catch(() => {});
  for (;;) {
    const event = await database.value("select wait_event_type from pg_stat_activity where pid = $1", [pid]);
    if (answered) return false;
    if (event === "Lock") return true;
  }
}

describe.skipIf(!database.native)("two sessions at once (needs parallel sessions)", () => {
  test("a change of an allow-list waits for batches that read the former one, and later batches wait for it", async () => {
    await database.query("select track.ingest($1)", [JSON.stringify([message({ event: "Listed" })])]);
    const [sender, admin, later] = [await session(), await session(), await session()];
    const event = (userId: string): unknown => message({ userId, event: "Listed", properties: { secret: userId } });
    expect(await sender.send([event("early")])).toBe(1);
    const change = admin.client.query("select track.allow_properties('Listed', '{}')");
    expect(await waits(admin, change)).toBe(true);
    const second = later.send([event("late")]);
    expect(await waits(later, second)).toBe(true);
    await sender.end();
    await change;
    await admin.end();
    expect(await second).toBe(1);
    await later.end();
    const secrets = (): Promise<unknown> =>
      database.value("select array_agg(properties ->> 'secret') from track.event where properties ? 'secret'");
    expect(await secrets()).toEqual(["early"]);

    // An application that is interrupted has changed nothing, and the next one finds the same.
    const killed = await session();
    await killed.client.query("select track.apply_allow_lists()");
    await database.query("select pg_terminate_backend($1, 10000)", [killed.pid]);
    expect(await secrets()).toEqual(["early"]);
    const [one, two] = [await session(), await session()];
    await one.client.query("select track.apply_allow_lists()");
    const other = two.client.query("select track.apply_allow_lists() as changed");
    expect(await waits(two, other)).toBe(true);
    await one.end();
    expect((await other).rows).toEqual([{ changed: 0 }]);
    await two.end();
    expect(await secrets()).toBeNull();
  });

  test("a message that both send is stored once: the second waits, then finds a duplicate", async () => {
    const [one, two] = [await session(), await session()];
    const same = message({ userId: "twice" });
    expect(await one.send([same])).toBe(1);
    const second = two.send([same]);
    expect(await waits(two, second)).toBe(true);
    await one.end();
    expect(await second).toBe(0);
    await two.end();
    expect(
      await database.value(
        "select count(*) from track.event join track.identity using (identity_id) where external_id = 'twice'",
      ),
    ).toBe("1");
  });

  test("when the first one gives up, the second one stores it", async () => {
    const [one, two] = [await session(), await session()];
    const same = message({ userId: "given-up" });
    await one.send([same]);
    const second = two.send([same]);
    expect(await waits(two, second)).toBe(true);
    await one.client.query("rollback");
    await one.client.end();
    expect(await second).toBe(1);
    await two.end();
  });

  test("an event that arrives while its person is merged goes to the merged person", async () => {
    await ingest(database, [message({ userId: "keep" }), message({ userId: undefined, anonymousId: "lost-browser" })]);
    // The event first, the merge waits for it.
    const writer = await session();
    await writer.send([message({ userId: undefined, anonymousId: "lost-browser" })]);
    const linker = await session();
    const linking = linker.send([message({ type: "identify", userId: "keep", anonymousId: "lost-browser" })]);
    expect(await waits(linker, linking)).toBe(true);
    await writer.end();
    await linking;
    // The merge first, the event waits for it.
    const late = await session();
    const sending = late.send([
      message({ userId: undefined, anonymousId: "lost-browser", context: { timezone: "Asia/Tokyo" } }),
    ]);
    expect(await waits(late, sending)).toBe(true);
    await linker.end();
    await sending;
    await late.end();
    const wrong =
      "select count(*) from track.%s as row join track.identity using (identity_id) where row.person_id <> identity.person_id";
    expect(await database.value(wrong.replace("%s", "event"))).toBe("0");
    expect(await database.value(wrong.replace("%s", "trait"))).toBe("0");
    expect(await database.value(wrong.replace("%s", "trait_history"))).toBe("0");
    expect(
      await database.value("select count(*) from track.event where person_id = (select track.find_person('keep'))"),
    ).toBe("4");
  });

  test("linking a new browser of a person blocks only sessions that link the same person", async () => {
    const identify = (anonymousId: string, userId: string) => message({ type: "identify", anonymousId, userId });
    await ingest(database, [identify("first-browser", "linked-ada"), message({ userId: "linked-ben" })]);
    const linker = await session();
    await linker.send([identify("second-browser", "linked-ada")]);
    const other = await session();
    // Her first browser continues, and others sign in.
    expect(await other.send([message({ userId: undefined, anonymousId: "first-browser" })])).toBe(1);
    expect(await other.send([identify("his-browser", "linked-ben")])).toBe(1);
    await other.end();
    const late = await session();
    const linking = late.send([identify("third-browser", "linked-ada")]);
    expect(await waits(late, linking)).toBe(true);
    await linker.end();
    await linking;
    await late.end();
    expect(
      await database.value(
        "select count(*) from track.identity where person_id = (select track.find_person('linked-ada')) and kind = 'anonymous'",
      ),
    ).toBe("3");
  });

  test("who waits for a person that is merged away meanwhile links the one that it became", async () => {
    const alias = (previousId: string, userId: string) => message({ type: "alias", previousId, userId });
    for (const userId of ["merged-1", "merged-2", "merged-3"]) await ingest(database, [message({ userId })]);
    const one = await session();
    await one.send([alias("merged-2", "merged-1")]);
    const two = await session();
    const linking = two.send([alias("merged-3", "merged-2")]);
    expect(await waits(two, linking)).toBe(true);
    await one.end();
    await linking;
    await two.end();
    expect(
      await database.value(
        "select count(distinct person_id) from track.identity where external_id like 'merged-_' and kind = 'user'",
      ),
    ).toBe("1");
  });

  test("a second person identifies on a browser while the first one identifies again, in both orders", async () => {
    const identify = (anonymousId: string, userId: string, minute: number) =>
      message({ type: "identify", userId, anonymousId, timestamp: `2026-03-01T10:${minute}:00Z` });
    const did = (userId: string, browser: string) =>
      database.rows(
        `select extract(minute from occurred_at)::int as minute from track.event join track.identity using (identity_id)
         where external_id = $2 and event.person_id = track.find_person($1) order by 1`,
        [userId, browser],
      );
    for (const [browser, repeatsFirst] of [
      ["kiosk-1", true],
      ["kiosk-2", false],
    ] as const) {
      const events = [11, 21, 31].map((minute) =>
        message({ userId: undefined, anonymousId: browser, timestamp: `2026-03-01T10:${minute}:00Z` }),
      );
      await ingest(database, [identify(browser, "first", 10), ...events]);
      const one = await session();
      const two = await session();
      const batches = [[identify(browser, "first", 30)], [identify(browser, "second", 20)]];
      if (!repeatsFirst) batches.reverse();
      await one.send(batches[0]);
      const waiting = two.send(batches[1]);
      expect(await waits(two, waiting)).toBe(true);
      await one.end();
      await waiting;
      await two.end();
      expect(await did("first", browser)).toEqual([{ minute: 11 }, { minute: 31 }]);
      expect(await did("second", browser)).toEqual([{ minute: 21 }]);
    }
  });

  test("an event of a browser that arrives while it gets a second user goes to the user of its time", async () => {
    const at = (minute: number) => ({ timestamp: `2026-03-01T10:${minute}:00Z` });
    const own = (minute: number) => message({ userId: undefined, anonymousId: "kiosk-3", ...at(minute) });
    const identify = (userId: string, minute: number) =>
      message({ type: "identify", userId, anonymousId: "kiosk-3", ...at(minute) });
    await ingest(database, [identify("third", 10)]);
    const writer = await session();
    await writer.send([own(25)]);
    const linker = await session();
    const linking = linker.send([identify("fourth", 20)]);
    expect(await waits(linker, linking)).toBe(true);
    await writer.end();
    await linking;
    const late = await session();
    const sending = late.send([own(15), own(35)]);
    expect(await waits(late, sending)).toBe(true);
    await linker.end();
    await sending;
    await late.end();
    const did = (userId: string) =>
      database.value("select count(*)::int from track.event where person_id = track.find_person($1)", [userId]);
    expect([await did("third"), await did("fourth")]).toEqual([1, 2]);
  });

  test("many who link and unlink the same people while others store events for them: nobody waits in a circle", async () => {
    const at = (index: number) => new Date(Date.now() + 1_000 * index).toISOString();
    const pick = (seed: number, count: number) => (seed * 7_919 + 13) % count;
    const writers = Array.from({ length: 6 }, async (_, writer) => {
      for (let round = 0; round < 25; round++) {
        const seed = writer * 100 + round;
        const user = `ring-${pick(seed, 5)}`;
        const browser = `ring-browser-${pick(seed * 3 + 1, 9)}`;
        await ingest(database, [
          message({ type: "identify", userId: user, anonymousId: browser, timestamp: at(seed) }),
          message({ userId: undefined, anonymousId: `ring-browser-${pick(seed * 5 + 2, 9)}` }),
          message({ userId: `ring-${pick(seed + 3, 5)}`, context: { timezone: "Asia/Tokyo" } }),
          ...(round % 5 === 0
            ? [message({ type: "alias", userId: user, previousId: `ring-${pick(seed + 1, 5)}`, timestamp: at(seed) })]
            : []),
        ]);
        if (round % 4 === 0) {
          await database
            .query("select track.unlink_identities($1, $2)", [user, browser])
            .catch((error: pg.DatabaseError) => {
              if (error.code !== "CF002") throw error;
            });
        }
        if (writer === 0 && round % 6 === 0) await database.query("select track.refresh_sessions(5)");
      }
    });
    await Promise.all(writers);
    for (const table of ["event", "trait", "trait_history"]) {
      expect(
        await database.value(
          `select count(*) from track.${table} as row join track.identity using (identity_id) where row.person_id <> identity.person_id`,
        ),
      ).toBe("0");
    }
    // People are the components of the links that hold.
    expect(
      await database.value(
        `with recursive reached (start_id, identity_id) as (
           select identity_id, identity_id from track.identity where external_id like 'ring-%'
           union
           select start_id, case reached.identity_id when link.identity_id then link.linked_identity_id else link.identity_id end
           from reached
           join track.identity_link as link
             on reached.identity_id in (link.identity_id, link.linked_identity_id) and link.unlinked_at is null
         ), named as (
           select distinct on (start_id) start_id as identity_id, identity.identity_id as person_id
           from reached join track.identity using (identity_id)
           order by start_id, identity.kind = 'user' desc, identity.identity_id
         )
         select count(*) from named join track.identity using (identity_id) where identity.person_id <> named.person_id`,
      ),
    ).toBe("0");
  });

  test("many writers with the same people, items, months, links and messages: each message once, nobody in a circle", async () => {
    const messages = Array.from({ length: 240 }, (_, index) => {
      const timestamp = new Date(Date.UTC(2010, index % 12, 1 + (index % 28))).toISOString();
      const name = `crowd-${index % 12}`;
      if (index % 8 === 0)
        return message({ type: "identify", userId: name, anonymousId: `crowd-browser-${index % 30}`, timestamp });
      return message({
        ...(index % 3 === 0 ? { userId: undefined, anonymousId: `crowd-browser-${index % 30}` } : { userId: name }),
        timestamp,
        event: `Crowd ${index % 7}`,
        properties: { item: `crowd-item-${index % 20}`, parent: `crowd-item-${(index + 1) % 20}`, itemKind: "task" },
      });
    });
    const writers = Array.from({ length: 6 }, async (_, writer) => {
      let accepted = 0;
      for (let part = 0; part < 12; part++) {
        const batch = Array.from(
          { length: 40 },
          (_, index) => messages[(index * (2 * writer + 1) + part * 20 + writer * 40) % 240],
        );
        accepted += (await ingest(database, batch)).accepted;
        if (writer === 0) await database.query("select track.refresh_sessions(5)");
      }
      return accepted;
    });
    const accepted = await Promise.all(writers);
    const sent = new Set(messages.map(({ messageId }) => messageId));
    await ingest(database, messages);
    const stored = Number(
      await database.value(
        "select count(*) from track.event join track.event_type using (event_type_id) where name like 'Crowd %'",
      ),
    );
    expect(accepted.reduce((sum, count) => sum + count, 0)).toBeLessThanOrEqual(sent.size);
    expect(stored).toBe(messages.filter(({ type }) => type === "track").length);
    for (const table of ["event", "trait", "trait_history"]) {
      expect(
        await database.value(
          `select count(*) from track.${table} as row join track.identity using (identity_id) where row.person_id <> identity.person_id`,
        ),
      ).toBe("0");
    }
    // The closed tree is what the parents say.
    expect(
      await database.value(
        `with recursive up as (
           select item_id, item_id as ancestor_item_id, 0 as depth from track.item
           union all
           select up.item_id, item.parent_item_id, depth + 1 from up join track.item on item.item_id = up.ancestor_item_id where parent_item_id is not null
         )
         select count(*) from (
           (table up except all select item_id, ancestor_item_id, depth::int from track.item_ancestor)
           union all (select item_id, ancestor_item_id, depth::int from track.item_ancestor except all table up)
         ) as difference`,
      ),
    ).toBe("0");
  });

  test("both make the same month: one does, the other waits and finds it", async () => {
    const [one, two] = [await session(), await session()];
    await one.client.query("select track.make_partitions('2012-01-01', '2012-03-01')");
    const second = two.client.query("select track.make_partitions('2012-02-01', '2012-04-01') as made");
    expect(await waits(two, second)).toBe(true);
    await one.end();
    expect((await second).rows).toEqual([{ made: 1 }]);
    await two.end();
  });

  test("two moves in one tree, one below the other, both count", async () => {
    await ingest(database, [
      message({ userId: "w", properties: { item: "tree-page" } }),
      message({ userId: "w", properties: { item: "tree-module" } }),
      message({ userId: "w", properties: { item: "tree-course" } }),
    ]);
    const [one, two] = [await session(), await session()];
    await one.send([message({ userId: "w", properties: { item: "tree-module", parent: "tree-course" } })]);
    const second = two.send([message({ userId: "w", properties: { item: "tree-page", parent: "tree-module" } })]);
    await waits(two, second);
    await one.end();
    await second;
    await two.end();
    expect(
      await database.rows(
        "select ancestor.external_id as item from track.item_ancestor join track.item using (item_id) join track.item as ancestor on ancestor.item_id = ancestor_item_id where item.external_id = 'tree-page' order by depth",
      ),
    ).toEqual([{ item: "tree-page" }, { item: "tree-module" }, { item: "tree-course" }]);
  });

  test("events that come during a refresh are seen by the next one", async () => {
    await refresh(database);
    const at = (minute: number) => new Date(Date.UTC(2026, 1, 3, 8, minute)).toISOString();
    await ingest(database, [message({ userId: "meanwhile", timestamp: at(0) })]);
    const refresher = await session();
    await refresher.client.query("select track.refresh_sessions(1000)");
    await ingest(database, [message({ userId: "meanwhile", timestamp: at(10) })]);
    await refresher.end();
    await refresh(database);
    expect(
      await database.value(
        "select event_count from track.session where person_id = (select track.find_person('meanwhile'))",
      ),
    ).toBe(2);
  });

  test("a refresh that is killed midway leaves the previous state, and the next one continues", async () => {
    const at = (minute: number) => new Date(Date.UTC(2026, 1, 4, 8, minute)).toISOString();
    await ingest(
      database,
      Array.from({ length: 400 }, (_, index) =>
        message({ userId: `victim-${index % 100}`, timestamp: at(index / 100) }),
      ),
    );
    await refresh(database);
    const read = () =>
      database.rows(
        "select * from track.session where person_id in (select person_id from track.identity where external_id like 'victim-%') order by person_id, session_id",
      );
    const before = await read();
    await ingest(
      database,
      Array.from({ length: 100 }, (_, index) => message({ userId: `victim-${index}`, timestamp: at(30) })),
    );
    const waiting = await database.value<string>("select count(*) from track.stale");

    // Midway: its sessions are deleted and the rest waits for a lock that this test holds.
    const blocker = await session();
    await blocker.client.query("lock table track.automatic_period in share mode");
    const refresher = await session();
    const running = refresher.client.query("select track.refresh_sessions(50)").catch((error: Error) => error);
    expect(await waits(refresher, running)).toBe(true);
    await database.query("select pg_terminate_backend($1, 60000)", [refresher.pid]);
    expect(await running).toBeInstanceOf(Error);
    await blocker.end();

    expect(await read()).toEqual(before);
    expect(await database.value("select count(*) from track.stale")).toBe(waiting);
    await refresh(database, 30);
    const after = await read();
    expect(after).toHaveLength(before.length);
    expect(after.filter((row) => row["event_count"] === 5)).toHaveLength(100);
    await database.query("select track.rebuild()");
    await refresh(database);
    expect(await read()).toEqual(after);
  });
});
