import { describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { dayOf, groupBy, ofGroups, people as peopleOf, shown } from "../../support/floor.ts";
import { ingest, message, refresh } from "../track/messages.ts";
import { DAY, doings, iso, makeDoings, parents, periods, start, withFloor } from "./doings.ts";

const database = await testDatabase();
await makeDoings(database);

const rounded = (score: number): number => Math.round(score * 1e9);

interface Popular {
  rank: number;
  item: string;
  event_count: string;
  person_count: string;
  score: number;
}

describe("popular_items", () => {
  /** Of the whole days between two times. */
  const expected = (
    kind: string | null,
    from: number,
    to: number,
    measure: "events" | "people",
    halfLife?: number,
    floor = 1,
  ) => {
    const [since, until] = [dayOf(from), dayOf(to - 1) + DAY];
    const used = doings.flatMap((doing) =>
      (kind === null ? [doing.item] : [doing.item, parents[doing.item]])
        .filter((name): name is string => name !== undefined && (kind === null || name.startsWith(kind)))
        .map((name) => ({ ...doing, name })),
    );
    const weight = (at: number): number => (halfLife === undefined ? 1 : 0.5 ** ((until - dayOf(at)) / DAY / halfLife));
    return [...groupBy(used, ({ name }) => name)]
      .map(([item, all]) => ({ item, counted: ofGroups(all, since, until, floor) }))
      .filter(({ counted }) => counted.length > 0)
      .map(({ item, counted }) => {
        const people = peopleOf(counted);
        const score =
          measure === "events"
            ? counted.reduce((sum, { at }) => sum + weight(at), 0)
            : [...groupBy(counted, ({ person }) => person).values()].reduce(
                (sum, own) => sum + Math.max(...own.map(({ at }) => weight(at))),
                0,
              );
        const whole = measure === "events" ? counted.length : people;
        return {
          item,
          event_count: String(shown(counted.length, people, floor)),
          person_count: String(shown(people, people, floor)),
          score: shown(score, people, floor, halfLife === undefined ? undefined : whole),
        };
      })
      .toSorted(
        (a, b) =>
          rounded(b.score) - rounded(a.score) ||
          Number(b.event_count) - Number(a.event_count) ||
          (a.item < b.item ? -1 : 1),
      );
  };

  for (const [name, since, until] of periods) {
    for (const measure of ["events", "people"] as const) {
      for (const kind of [null, "course", "page"]) {
        for (const halfLife of [undefined, 3]) {
          for (const floor of [1, 3, 6])
            test(`${name}, by ${measure}, kind ${kind}, half-life ${halfLife}, floor ${floor}`, async () => {
              // Of a set of people, they are read from the journeys: the same of all counted people.
              for (const among of [null, "counted", "~excluded"]) {
                const rows = await withFloor<Popular>(
                  database,
                  floor,
                  `select rank, item, event_count, person_count, score
                   from analytics.popular_items($1, $2, $3, $4::interval, 10, $5, among => $6)`,
                  [kind, iso(since), iso(until), halfLife === undefined ? null : `${halfLife} days`, measure, among],
                );
                expect(rows).toEqual(
                  expected(kind, since, until, measure, halfLife, floor).map((row, place) => ({
                    rank: place + 1,
                    ...row,
                    score: expect.closeTo(row.score, 8),
                  })),
                );
              }
            });
        }
      }
    }
  }

  test("by engaged time, of what a course contains", async () => {
    await database.as("postgres", {}, async (db) => {
      await db.query("update analytics.setting set smallest_group = 1");
      const at = (second: number) => iso(start + 100 * 1000 + second * 1000);
      const view = (userId: string, item: string, second: number) =>
        message({ userId, type: "page", timestamp: at(second), properties: { item } });
      await ingest(db, [
        view("reader", "page-b", 0),
        view("reader", "page-a", 90),
        message({ userId: "reader", timestamp: at(100) }),
      ]);
      await refresh(db);
      for (const until of [start + DAY, start + DAY / 2]) {
        expect(
          await db.rows(
            "select item, extract(epoch from engaged)::int as engaged, score from analytics.popular_items('course', $1, $2, null, 10, 'engaged') where engaged > '0'",
            [iso(start), iso(until)],
          ),
        ).toEqual([
          { item: "course-b", engaged: 90, score: 90 },
          { item: "course-a", engaged: 10, score: 10 },
        ]);
      }
    });
  });

  test("top cuts, infinite periods are all of time, a very short half-life is valid", async () => {
    const all = await withFloor<Popular>(
      database,
      1,
      "select * from analytics.popular_items(null, '-infinity', 'infinity', null, 10000, 'events')",
    );
    expect(all.reduce((sum, row) => sum + Number(row.event_count), 0)).toBe(doings.length + 5);
    const top = await withFloor<Popular>(
      database,
      1,
      "select * from analytics.popular_items(null, '-infinity', 'infinity', null, 2, 'events')",
    );
    expect(top).toEqual(all.slice(0, 2));
    const aged = await withFloor<Popular>(
      database,
      1,
      "select * from analytics.popular_items(null, $1, $2, '1 second', 10, 'events')",
      [iso(start), iso(start + 40 * DAY)],
    );
    expect(aged.length).toBeGreaterThan(0);
    expect(aged.every(({ score }) => score >= 0 && score < 1e-9)).toBe(true);
  });

  test("items with fewer people than the floor are left out; nobody is not a person", async () => {
    const [since, until] = [start + 10.1 * DAY, start + 10.6 * DAY];
    const open = expected(null, since, until, "events");
    const floor = Math.max(...open.map((row) => Number(row.person_count)));
    expect(floor).toBeGreaterThan(1);
    const rows = await withFloor<Popular>(
      database,
      floor,
      "select item from analytics.popular_items(null, $1, $2, null, 10, 'events')",
      [iso(since), iso(until)],
    );
    expect(rows.map(({ item }) => item)).toEqual(
      open.filter((row) => Number(row.person_count) >= floor).map(({ item }) => item),
    );
    expect(rows.length).toBeLessThan(open.length);
    await database.as("postgres", {}, async (db) => {
      await db.query("update analytics.setting set smallest_group = 1");
      const optedOut = {
        context: { consent: { categoryPreferences: { analytics: false } } },
        timestamp: iso(start + 50 * DAY),
      };
      await ingest(db, [message({ userId: "shy", ...optedOut, properties: { item: "quiet" } })]);
      await refresh(db);
      expect(
        await db.value(
          `select sum(event_count)::int from track.presence where event_type_id <> 0 and day = '${iso(start + 50 * DAY).slice(0, 10)}'`,
        ),
      ).toBe(1);
      expect(
        await db.rows("select item from analytics.popular_items(null, $1, $2, null, 10, 'events')", [
          iso(start + 50 * DAY),
          iso(start + 51 * DAY),
        ]),
      ).toEqual([]);
    });
  });

  test("small days of a person who is queued for other days count together as after the refresh", async () => {
    await database.as("postgres", {}, async (db) => {
      // Monday and Wednesday: five people together.
      const on = (userId: string, day: string) =>
        message({ userId, timestamp: `2026-06-${day}T12:00:00Z`, properties: { item: "small" } });
      await ingest(db, [on("a", "01"), on("b", "01"), on("c", "03"), on("d", "03"), on("e", "03")]);
      await refresh(db);
      await ingest(db, [on("a", "09")]);
      const shown = async () => {
        await db.query("set local role insights_analyst");
        const rows = await db.rows(
          "select item, person_count::int as people from analytics.popular_items(null, '2026-06-01Z', '2026-06-15Z')",
        );
        await db.query("set local role postgres");
        return rows;
      };
      const before = await shown();
      expect(before).toEqual([{ item: "small", people: 5 }]);
      await refresh(db);
      expect(await shown()).toEqual(before);
    });
  });

  test("a page that stayed open over night is used on the next day, by whole days and by parts of one, without a visit", async () => {
    await database.as("postgres", {}, async (db) => {
      const people = ["n1", "n2", "n3", "n4", "n5"];
      const at = (hour: number, second = 0): string => iso(start + 60 * DAY + (hour * 3600 + second) * 1000);
      await ingest(
        db,
        people.flatMap((userId) => [
          message({ userId, type: "page", timestamp: at(20), properties: { item: "night", viewId: "v" } }),
          ...[5, 15].map((second) =>
            message({ userId, event: "Heartbeat", timestamp: at(32, second), properties: { viewId: "v" } }),
          ),
        ]),
      );
      await refresh(db);
      const popular = (since: string, until: string) =>
        db.rows(
          `select item, event_count::int, person_count::int, extract(epoch from engaged)::int as engaged
           from analytics.popular_items(null, $1, $2, null, 10, 'engaged')`,
          [since, until],
        );
      const used = [{ item: "night", event_count: 0, person_count: 5, engaged: 75 }];
      expect(await popular(at(24), at(48))).toEqual(used);
      expect(await popular(at(31), at(33))).toEqual(used);
      expect(await popular(at(0), at(24))).toEqual([{ ...used[0], event_count: 5, engaged: 0 }]);
      expect(await popular(at(33), at(47))).toEqual(used);
    });
  });

  test("the other days of people with queued events count: of the same month, and of months before and after", async () => {
    await database.as("postgres", {}, async (db) => {
      await db.query("update analytics.setting set smallest_group = 1");
      const read = (item: string, day: string) =>
        ["q1", "q2", "q3"].map((userId) =>
          message({
            userId,
            messageId: `${item} ${day} ${userId}`,
            timestamp: `${day}T10:00:00Z`,
            properties: { item, itemKind: "page", parent: "queued-course" },
          }),
        );
      await ingest(db, [
        message({ userId: "q1", messageId: "c", properties: { item: "queued-course", itemKind: "course" } }),
        ...read("queued-1", "2025-03-03"),
        ...read("queued-2", "2025-04-07"),
        ...read("queued-3", "2025-05-05"),
        ...read("queued-3", "2025-05-30"),
      ]);
      await refresh(db);
      await ingest(db, [...read("queued-2", "2025-04-20"), ...read("queued-4", "2025-05-20")]);
      const used = async (): Promise<object[]> => {
        const rows: object[] = [];
        for (const [kind, since, until] of [
          ["course", "2025-03-01", "2025-06-01"],
          ["course", "2025-03-03", "2025-05-06"],
          ["page", "2025-03-02", "2025-06-01"],
          [null, "2025-04-01", "2025-05-21"],
          ["course", "2025-04-08", "2025-04-21"],
        ]) {
          for (const halfLife of [null, "7 days"]) {
            rows.push(
              ...(await db.rows(
                `select item, event_count::int as events, person_count::int as people, score
                 from analytics.popular_items($1, $2, $3, $4::interval) order by item`,
                [kind, since, until, halfLife],
              )),
            );
          }
        }
        return rows;
      };
      const queued = await used();
      expect(queued[0]).toEqual({ item: "queued-course", events: 18, people: 3, score: 3 });
      expect(queued[2]).toEqual({ item: "queued-course", events: 12, people: 3, score: 3 });
      await refresh(db);
      expect(queued).toEqual(await used());
    });
  });

  test.each([
    ["'course', '2026-01-02', '2026-01-01'", "CF001"],
    ["'course', '2026-01-01', '2026-01-01'", "CF001"],
    ["'course', null, now()", "CF001"],
    ["'course', now() - interval '1 day', now(), '0'", "CF001"],
    ["'course', now() - interval '1 day', now(), '-1 day'", "CF001"],
    ["'course', now() - interval '1 day', now(), null, 0", "CF001"],
    ["'course', now() - interval '1 day', now(), null, null", "CF001"],
    ["'course', now() - interval '1 day', now(), null, 10001", "CF001"],
    ["'course', now() - interval '1 day', now(), null, 10, 'likes'", "CF001"],
    ["'course', now() - interval '1 day', now(), null, 10, null", "CF001"],
    ["'planet'", "CF002"],
    ["'course', among => 'counte'", "CF002"],
    ["'course', among => 'counted or excluded'", "CF001"],
    ["'''; drop table track.event; --'", "CF002"],
  ])("popular_items(%s) is %s, with a hint", async (values, code) => {
    const error = await database.rejects(`select * from analytics.popular_items(${values})`);
    expect(error).toMatchObject({ code });
    expect(error.hint).toBeTruthy();
  });

  test("analysts may ask, learners and visitors may not, and nobody of them reads the rollup", async () => {
    for (const role of ["insights_analyst", "insights_admin"]) {
      await database.as(role, {}, async (db) =>
        expect(
          (await db.rows("select * from analytics.popular_items('course', '-infinity', 'infinity')")).length,
        ).toBeGreaterThan(0),
      );
    }
    for (const role of ["insights_learner", "insights_visitor"]) {
      await database.as(role, {}, async (db) =>
        expect(await db.rejects("select * from analytics.popular_items('course')")).toMatchObject({ code: "42501" }),
      );
    }
    for (const relation of [
      "track.item_month",
      "analytics.item_popularity",
      "track.event",
      "track.person",
      "track.session",
    ]) {
      await database.as("insights_analyst", {}, async (db) =>
        expect(await db.rejects(`select * from ${relation}`)).toMatchObject({ code: "42501" }),
      );
    }
  });
});
