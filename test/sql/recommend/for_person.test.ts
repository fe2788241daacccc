import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { forPerson, ingest, type Recommendation } from "../../support/recommend.ts";
import {
  comparable,
  courses,
  makeHistory,
  mine,
  owned,
  people,
  popularity,
  trainOnHistory,
  type Weights,
} from "./history.ts";

const database = await testDatabase();
/** The database of the tests below: history, a model of lambda 10, popularity. */
await makeHistory(database);

const sum = (row: Recommendation): number => row.reasons.reduce((total, { contribution }) => total + contribution, 0);

/** Rolled back at the end. */
const world = (work: Parameters<typeof database.as>[2]) => database.as("postgres", {}, work);

describe("pages", () => {
  test("a visitor who signs in continues her list, and nobody else does", () =>
    world(async (db) => {
      const last = (name: string): Promise<string> =>
        db.value<string>("select max(next_page) from recommend.for_person($1, 2)", [name]);
      const ranks = async (name: string, page: string): Promise<number[]> =>
        (await db.rows<{ rank: number }>("select rank from recommend.for_person($1, 2, page => $2)", [name, page])).map(
          ({ rank }) => rank,
        );
      const refused = (name: string, page: string) =>
        db.rejects("select * from recommend.for_person($1, 2, page => $2)", [name, page]);
      const other = { code: "CF001", message: expect.stringContaining("continues another list") };

      await db.query("select track.ingest($1)", [
        JSON.stringify([
          { type: "page", messageId: "v1", anonymousId: "browser", name: "Home", properties: { path: "/home" } },
          { type: "identify", messageId: "v2", userId: "reader" },
          { type: "identify", messageId: "v3", userId: "neighbour" },
        ]),
      ]);
      const page = await last("browser");
      expect(await ranks("browser", page)).toEqual([3, 4]);
      expect(await refused("reader", page)).toMatchObject(other);

      await db.query("select track.ingest($1)", [
        JSON.stringify([{ type: "identify", messageId: "v4", anonymousId: "browser", userId: "reader" }]),
      ]);
      expect(await ranks("reader", page)).toEqual([3, 4]);
      expect(await ranks("browser", await last("reader"))).toEqual([3, 4]);
      expect(await refused("neighbour", page)).toMatchObject(other);
      expect(await refused("unknown", page)).toMatchObject(other);
      expect(
        await db.rejects("select * from recommend.for_person('reader', 2, 'page', page => $1)", [page]),
      ).toMatchObject(other);
      expect(await db.rejects("select * from recommend.trending(2, page => $1)", [page])).toMatchObject(other);
    }));
});

describe("before any training", () => {
  test("every person gets popular items, except taken ones", async () => {
    const expected = popularity();
    const own = await forPerson(database, "p0", 100);
    expect(own.map(({ item }) => item).sort()).toEqual(courses.filter((course) => !owned("p0").has(course)));
    expect(own.every(({ basis }) => ["segment", "popularity"].includes(basis))).toBe(true);
    const rows = await forPerson(database, "ghost", 100);
    expect(rows.map(({ item }) => item).sort()).toEqual(courses);
    for (const row of rows) {
      expect(row).toMatchObject({
        basis: "popularity",
        model_version: null,
        reasons: [{ kind: "popularity", item: null, contribution: row.score }],
      });
      expect(row.score).toBe(expected.get(row.item));
    }
    expect(rows.map(({ score }) => score)).toEqual(rows.map(({ score }) => score).sort((a, b) => b - a));
  });
});

describe("with a model", () => {
  let weights: Weights = { items: [], rows: [] };

  test("the score is the sum over the person's own items, and so are the reasons", async () => {
    weights = await trainOnHistory(database);

    await fc.assert(
      fc.asyncProperty(fc.nat({ max: people - 1 }), fc.integer({ min: 1, max: 12 }), async (n, top) => {
        const own = owned(`p${n}`);
        fc.pre(own.size > 0);
        const rows = await forPerson(database, `p${n}`, top);
        const expected = courses
          .filter((course) => !own.has(course))
          .map((course) => ({
            item: course,
            score: [...own].reduce(
              (total, item) => total + (weights.rows[courses.indexOf(item)]?.[courses.indexOf(course)] ?? 0),
              0,
            ),
          }))
          .sort((a, b) => b.score - a.score)
          .slice(0, top);
        expect(rows.map(({ item, score }) => ({ item, score }))).toEqual(
          expected.map(({ item, score }) => ({ item, score: expect.closeTo(score, 5) })),
        );
        rows.forEach((row, i) => {
          expect(row).toMatchObject({ rank: i + 1, basis: "model", model_version: 1, title: row.item.toUpperCase() });
          expect(sum(row)).toBe(row.score);
          expect(row.reasons).toHaveLength(Math.min(own.size, 3));
          for (const [place, reason] of row.reasons.entries()) {
            if (place === 2) {
              expect(reason).toMatchObject({ kind: "others", item: null, title: `${own.size - 2} more` });
            } else {
              expect(reason).toMatchObject({ kind: "item", title: reason.item?.toUpperCase() });
              expect(own).toContain(reason.item);
              const weight = weights.rows[courses.indexOf(reason.item ?? "")]?.[courses.indexOf(row.item)] ?? 0;
              expect(reason.contribution).toBeCloseTo(weight, 5);
            }
          }
          const [first, second] = row.reasons;
          if (second?.kind === "item") {
            expect(Math.abs(first?.contribution ?? 0)).toBeGreaterThanOrEqual(Math.abs(second.contribution));
          }
        });
      }),
      { numRuns: 30 },
    );
  });

  test("an event of a moment ago counts, without a refresh or a training", async () => {
    const [best] = await forPerson(database, "p2");
    await ingest(database, [{ person: "p2", event: "Course Enrolled", item: best?.item ?? "", day: 150 }]);
    const straight = await forPerson(database, "p2", 100);
    expect(straight.map(({ item }) => item)).not.toContain(best?.item);
    const now = new Set([...owned("p2"), best?.item ?? ""]);
    for (const row of straight) {
      const score = [...now].reduce(
        (total, item) => total + (weights.rows[courses.indexOf(item)]?.[courses.indexOf(row.item)] ?? 0),
        0,
      );
      expect(row.score).toBeCloseTo(score, 5);
    }

    // Between the refresh of the sessions and that of the interactions, and after both.
    await database.query("select track.refresh_sessions()");
    expect(comparable(await forPerson(database, "p2", 100))).toEqual(comparable(straight));
    await database.query("select track.refresh(2000, 'recommend.interaction')");
    expect(comparable(await forPerson(database, "p2", 100))).toEqual(comparable(straight));
  });

  test("a newcomer's first event turns popularity into reasons", async () => {
    await ingest(database, [{ person: "newcomer", event: "Course Enrolled", item: "law-1" }]);
    const rows = await forPerson(database, "newcomer");
    expect(rows[0]).toMatchObject({ basis: "model", reasons: [{ kind: "item", item: "law-1" }] });
    expect(rows.slice(0, 3).every(({ item }) => item.startsWith("law-"))).toBe(true);
  });

  test("what is finished, dismissed or enrolled in is left out; what was merely looked at is not", async () => {
    const name = "p4";
    const candidates = (await forPerson(database, name, 100)).map(({ item }) => item);
    const [finished = "", dismissed = "", enrolled = "", visited = "", partly = ""] = candidates;
    await ingest(database, [
      { person: name, event: "Course Completed", item: finished, day: 151 },
      { person: name, event: "Course Dismissed", item: dismissed, day: 151 },
      { person: name, event: "Page Viewed", item: `${visited}-page`, day: 151, kind: "page", parent: visited },
      { person: name, event: "Task Completed", item: `${partly}-task`, day: 151, kind: "task", parent: partly },
    ]);
    await database.query(
      `insert into track.enrolment (person_id, item_id, status, enrolled_at, ended_at, identity_id)
       select person_id, item_id, 'dropped', '2026-02-01', '2026-03-01', identity_id
       from track.identity cross join track.item
       where identity.external_id = $1 and item.external_id = $2`,
      [name, enrolled],
    );
    const left = (await forPerson(database, name, 100)).map(({ item }) => item);
    expect([...left].sort()).toEqual(
      candidates.filter((item) => ![finished, dismissed, enrolled].includes(item)).sort(),
    );
    expect(left).toContain(visited);
    expect(left).toContain(partly);
  });

  test("what is not available now is left out", async () => {
    const before = (await forPerson(database, "p6", 100)).map(({ item }) => item);
    const [ended, later, open] = before;
    await database.query("update track.item set available_until = now() - interval '1 day' where external_id = $1", [
      ended,
    ]);
    await database.query("update track.item set available_from = now() + interval '1 day' where external_id = $1", [
      later,
    ]);
    await database.query(
      "update track.item set available_from = now() - interval '1 day', available_until = now() + interval '1 day' where external_id = $1",
      [open],
    );
    expect((await forPerson(database, "p6", 100)).map(({ item }) => item)).toEqual(before.slice(2));
    expect((await forPerson(database, "unknown", 100)).map(({ item }) => item)).not.toContain(ended);
    await database.query("update track.item set available_from = null, available_until = null");
  });

  test("an unknown person gets popular items, marked as such", async () => {
    const rows = await forPerson(database, "who is this?");
    expect(rows.length).toBeGreaterThan(0);
    expect(rows.every(({ basis, reasons }) => basis === "popularity" && reasons[0]?.kind === "popularity")).toBe(true);
    expect((await mine(database, "unknown too")).map(({ item }) => item)).toEqual(rows.map(({ item }) => item));
  });

  test("popularity is the same kind of list once the worker's view is filled", async () => {
    await database.query("select track.refresh(2000, 'track.person_set')");
    await database.query("select analytics.refresh_views()");
    const rows = await forPerson(database, "unknown", 100);
    expect(rows.map(({ item }) => item).sort()).toEqual(courses);
    expect(rows[0]?.score).toBe(1);
    for (const row of rows) {
      expect(row.score).toBeGreaterThan(0);
      expect(sum(row)).toBe(row.score);
    }
  });

  test("who objects to personalization gets what is popular, and nothing personal is looked at", async () => {
    await database.query("select privacy.record_consent(track.find_person('p8'), 'personalization', false)");
    const rows = await forPerson(database, "p8", 100);
    expect(rows.map(({ item }) => item).sort()).toEqual(courses);
    expect(new Set(rows.map(({ basis }) => basis))).toEqual(new Set(["popularity"]));
    expect(await mine(database, "p8", "insights_learner", "recommend.for_me(100)")).toHaveLength(courses.length);
  });

  test("a serving id is signed with the installation's secret", async () => {
    const [row] = await forPerson(database, "p3");
    const parts = (row?.serving_id ?? "").split(".");
    const signature = parts.pop();
    const [secret] = await database.rows<{ inner_key: Buffer; outer_key: Buffer }>(
      "select inner_key, outer_key from recommend.secret",
    );
    const hash = (...data: (Buffer | string)[]): Buffer => {
      const sha = createHash("sha256");
      for (const part of data) sha.update(part);
      return sha.digest();
    };
    const { inner_key = Buffer.alloc(0), outer_key = Buffer.alloc(0) } = secret ?? {};
    expect(signature).toBe(
      hash(outer_key, hash(inner_key, parts.join(".")))
        .toString("hex")
        .slice(0, 32),
    );
    expect(parts.slice(2, 4)).toEqual(["1", "0"]);
    expect(inner_key.equals(outer_key)).toBe(false);
  });
});

describe("rights", () => {
  test("a learner sees own interactions only, and requests recommendations for no other person", async () => {
    await database.as("insights_learner", { "insights.person": "p3" }, async (db) => {
      const seen = await db.rows<{ person: string }>(
        "select distinct person_id::text as person from recommend.interaction",
      );
      expect(seen).toEqual([{ person: String(await db.value("select track.current_person_id()")) }]);
      expect((await db.rejects("select * from recommend.for_person('p1')")).code).toBe("42501");
      expect(
        await db.rows(
          "select unnest((recommend._context(1, 0, 'course')).left_out) where 1 <> track.current_person_id()",
        ),
      ).toEqual([]);
    });
  });

  test("weights and the secret are read by no role of the applications", async () => {
    for (const role of ["visitor", "learner", "analyst", "admin", "worker", "reader"]) {
      await database.as(`insights_${role}`, { "insights.person": "p0" }, async (db) => {
        for (const table of ["model_part", "neighbours", "ranked_list", "secret"]) {
          expect((await db.rejects(`select * from recommend.${table}`)).code).toBe("42501");
        }
        expect((await db.rejects("select recommend._sign('1.2.3', '', '')")).code).toBe("42501");
      });
    }
  });

  test("people's recommendations are for admins and workers, item to item for all who are signed in", async () => {
    for (const [role, allowed] of [
      ["visitor", false],
      ["learner", false],
      ["analyst", false],
      ["admin", true],
      ["worker", true],
    ] as const) {
      await database.as(`insights_${role}`, {}, async (db) => {
        if (allowed) expect(await db.rows("select * from recommend.for_person('p0')")).not.toEqual([]);
        else expect((await db.rejects("select * from recommend.for_person('p0')")).code).toBe("42501");
      });
    }
    for (const role of ["learner", "analyst", "admin", "worker"]) {
      await database.as(`insights_${role}`, {}, async (db) => {
        expect(await db.rows("select * from recommend.similar_items('law-1')")).not.toEqual([]);
      });
    }
  });
});

describe("bad input", () => {
  const refused = async (call: string): Promise<string> => {
    const error = await database.rejects(`select * from recommend.${call}`);
    expect(error.hint).toBeTruthy();
    return `${error.code} ${error.message}`;
  };

  test("is refused with what, which value and what to do", async () => {
    expect(await refused("for_person('')")).toBe('CF001 the person is ""');
    expect(await refused("for_person(null)")).toBe("CF001 the person is null");
    expect(await refused("for_person('p0', 0)")).toBe("CF001 top is 0");
    expect(await refused("for_person('p0', null)")).toBe("CF001 top is null");
    expect(await refused("for_person('p0', kind => 'curse')")).toBe('CF002 there is no item of kind "curse"');
  });

  test("a name that is SQL is only a name", async () => {
    const name = "'; drop table recommend.interaction; --";
    expect((await forPerson(database, name))[0]?.basis).toBe("popularity");
    expect(Number(await database.value("select count(*) from recommend.interaction"))).toBeGreaterThan(0);
  });
});
