import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../support/database.ts";
import { generator } from "../support/matrix.ts";
import { deploy, ingest, type Recommendation, refresh, type Step } from "../support/recommend.ts";

/*
 * A platform on which each tier of a list has items: 12 courses of the model, some that are only popular, and
 * some that nobody used.
 */
const database = await testDatabase();
const known = Array.from({ length: 12 }, (_, n) => `known-${n}`);
const popular = ["popular-1", "popular-2", "popular-3"];
const unused = ["unused-1", "unused-2", "unused-3", "unused-4"];
const all = [...known, ...popular, ...unused].sort();
const people = Array.from({ length: 30 }, (_, n) => `p${n}`);

const list = async (call: string, db: Queries = database): Promise<Recommendation[]> =>
  (await db.rows<{ row: Recommendation }>(`select to_jsonb(r) as row from recommend.${call} as r`)).map(
    ({ row }) => row,
  );
const items = (rows: readonly Recommendation[]): string[] => rows.map(({ item }) => item);

beforeAll(async () => {
  const next = generator(4);
  const steps: Step[] = [];
  for (const [n, item] of [...unused, ...popular, ...known].entries())
    steps.push({ person: "author", event: "Published", item, kind: "course", day: n });
  for (const [n, person] of people.entries())
    for (const [m, item] of known.entries())
      if (next() < (n % 2 === m % 2 ? 0.55 : 0.1))
        steps.push({ person, event: "Course Enrolled", item, day: next() * 90 });
  await ingest(database, steps);
  await refresh(database);
  await deploy(database, "ease(5)");
  await ingest(
    database,
    popular.flatMap((item, n) =>
      Array.from({ length: 9 - n }, (_, m): Step => ({ person: `late ${m}`, event: "Course Enrolled", item, day: 95 })),
    ),
  );
  await refresh(database);
});

describe("a list", () => {
  test("has as many rows as asked while items are available, each once, in the order of the tiers", async () => {
    const tiers = ["model", "segment", "popularity", "newest"];
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...people, "late 0", "ghost"),
        fc.integer({ min: 1, max: 25 }),
        fc.subarray(all),
        fc.option(fc.subarray(all), { nil: null }),
        async (person, top, excluded, only) => {
          const taken = new Set(
            (
              await database.rows<{ item: string }>(
                `select distinct item.external_id as item from track.event join track.item using (item_id)
                 where event.person_id = track.find_person($1)`,
                [person],
              )
            ).map(({ item }) => item),
          );
          const available = (only ?? all).filter((item) => !taken.has(item) && !excluded.includes(item));
          const rows = (
            await database.rows<{ row: Recommendation }>(
              "select to_jsonb(r) as row from recommend.for_person($1, $2, 'course', $3, $4) as r",
              [person, top, excluded, only],
            )
          ).map(({ row }) => row);
          expect(rows).toHaveLength(Math.min(top, available.length));
          expect(available).toEqual(expect.arrayContaining(items(rows)));
          expect(new Set(items(rows)).size).toBe(rows.length);
          expect(rows.map(({ rank }) => rank)).toEqual(rows.map((_, n) => n + 1));
          // Items that the model lowers are the last ones.
          const upTo = rows.findIndex(({ basis, score }) => basis === "model" && score <= 0);
          const raised = upTo === -1 ? rows : rows.slice(0, upTo);
          const places = raised.map(({ basis }) => tiers.indexOf(basis));
          expect(places).toEqual([...places].sort((a, b) => a - b));
          expect(places).not.toContain(-1);
          expect(rows.slice(raised.length).every(({ basis, score }) => basis === "model" && score < 0)).toBe(true);
          for (const [n, row] of rows.entries()) {
            expect(row.reasons.reduce((total, { contribution }) => total + contribution, 0)).toBe(row.score);
            const before = rows[n - 1];
            if (before?.basis === row.basis && before.score > 0 === row.score > 0)
              expect(before.score).toBeGreaterThanOrEqual(row.score);
          }
          // A shorter list is the beginning of a longer one.
          const longer = await list(`for_person('${person}', 25)`);
          const shorter = await list(`for_person('${person}', ${top})`);
          expect(items(shorter)).toEqual(items(longer).slice(0, top));
        },
      ),
      { numRuns: 40 },
    );
  });

  test("is full for a person who has only dismissed something", async () => {
    await ingest(database, [{ person: "fussy", event: "Course Dismissed", item: "known-0", day: 100 }]);
    for (const when of ["queued", "refreshed"]) {
      const rows = await list("for_person('fussy', 100)");
      expect(items(rows).sort(), when).toEqual(all.filter((item) => item !== "known-0"));
      expect(rows.flatMap(({ reasons }) => reasons.map(({ item }) => item))).not.toContain("known-0");
      await refresh(database);
    }
  });

  test("is of popular items for a person who only dislikes one, and what resembles it comes last", async () => {
    await database.as("postgres", {}, async (db) => {
      await ingest(db, [{ person: "critic", event: "Item Disliked", item: "known-0", day: 100 }]);
      // Weights of known-0: one that matters, one of more than a tenth of it, and others that do not.
      await db.query(
        `update recommend.neighbours as changed
         set neighbour_ids = made.items, weights = made.weights
         from (
           select array_agg(item_id order by item_id) as items,
             array_agg(
               (case external_id when 'known-5' then 0.5 when 'known-7' then 0.06 else 0.001 end)::real order by item_id
             ) as weights
           from track.item where external_id like 'known-%' and external_id <> 'known-0'
         ) as made
         where changed.item_id = (select item_id from track.item where external_id = 'known-0')`,
      );
      const popularity = (await list("for_person('ghost', 100)", db)).filter(
        ({ item }) => !["known-0", "known-5", "known-7"].includes(item),
      );
      const rows = await list("for_person('critic', 100)", db);
      const strip = (some: readonly Recommendation[]) =>
        some.map(({ item, score, basis, reasons }) => ({ item, score, basis, reasons }));
      expect(strip(rows.slice(0, -2))).toEqual(strip(popularity));
      expect(rows.slice(-2).map(({ item, basis }) => [item, basis])).toEqual([
        ["known-7", "model"],
        ["known-5", "model"],
      ]);
      const ranked = await list(`rank_items('critic', array['${all.join("','")}'])`, db);
      expect(items(ranked.filter(({ rank }) => rank !== null))).toEqual(items(rows));
      // The same list in pages.
      const [page] = await db.rows<{ next: string }>(
        "select max(next_page) as next from recommend.for_person('critic', 4)",
      );
      expect(strip(await list(`for_person('critic', 100, page => '${page?.next}')`, db))).toEqual(strip(rows.slice(4)));
    });
  });

  test("has a liked item that was not taken where its score is, not after all that resembles it", async () => {
    await database.as("postgres", {}, async (db) => {
      for (const item of ["known-2", "popular-1"]) {
        await ingest(db, [{ person: "fan", event: "Item Liked", item, day: 100 }]);
        for (const when of ["queued", "refreshed"]) {
          const rows = await list("for_person('fan', 100)", db);
          expect(items(rows).sort(), when).toEqual(all);
          const place = items(rows).indexOf(item);
          const own = rows[place];
          expect(own?.basis).toMatch(/model|segment|popularity/);
          expect(place).toBeLessThanOrEqual(
            rows.findLastIndex(({ basis, score }) => basis === "model" && score > 0) + 1,
          );
          expect(rows.slice(0, place).every(({ score }) => score >= (own?.score ?? 0))).toBe(true);
          expect(await db.rows("select rank, score from recommend.why_not('fan', $1, 100)", [item])).toEqual([
            { rank: place + 1, score: own?.score },
          ]);
          const ranked = await list(`rank_items('fan', array['${all.join("','")}'])`, db);
          expect(items(ranked.filter(({ rank }) => rank !== null))).toEqual(items(rows));
          for (const row of rows)
            expect(row.reasons.reduce((total, { contribution }) => total + contribution, 0)).toBe(row.score);
          await refresh(db);
        }
      }
    });
  });

  test("is filled up for a person who has dismissed all items of the model", async () => {
    await ingest(
      database,
      known.map((item) => ({ person: "p1", event: "Course Dismissed", item, day: 100 })),
    );
    const rows = await list("for_person('p1', 10)");
    expect(items(rows).sort()).toEqual([...popular, ...unused].sort());
    expect(rows.map(({ basis }) => basis)).not.toContain("model");
  });

  test("of others has a course that was named and taken a second ago", async () => {
    await database.as("postgres", {}, async (db) => {
      await ingest(db, [{ person: "p2", event: "Course Enrolled", item: "just now", kind: "course", day: 101 }]);
      for (const person of ["p3", "ghost"]) {
        const row = (await list(`for_person('${person}', 100)`, db)).find(({ item }) => item === "just now");
        expect(row).toMatchObject({ basis: "newest", score: 0, reasons: [{ kind: "newest" }] });
      }
      expect(items(await list("for_person('p2', 100)", db))).not.toContain("just now");
    });
  });

  test("is empty when a rule excludes everything, and has the newest items of a kind without a model", async () => {
    await database.as("postgres", {}, async (db) => {
      await db.query("update track.item set available_until = now() - interval '1 day'");
      expect(await list("for_person('p4', 10)", db)).toEqual([]);
      expect(await list("for_items('{known-1}', 10)", db)).toEqual([]);
    });
    await database.as("postgres", {}, async (db) => {
      await ingest(db, [{ person: "p4", event: "Task Started", item: "task", kind: "task", day: 101 }]);
      expect((await list("for_person('p5', 10, 'task')", db)).map(({ item, basis }) => [item, basis])).toEqual([
        ["task", "newest"],
      ]);
    });
  });

  test("has no page that a visitor named", async () => {
    await database.as("postgres", {}, async (db) => {
      await db.query("set local role insights_visitor");
      const said = await db.value<{ accepted: number }>("select to_jsonb(track.ingest($1))", [
        JSON.stringify([
          {
            type: "page",
            messageId: "evil",
            anonymousId: "evil",
            properties: { path: "/win-a-prize", title: "A prize" },
          },
        ]),
      ]);
      expect(said.accepted).toBe(1);
      await db.query("set local role postgres");
      await ingest(db, [
        { person: "p4", event: "Page Viewed", item: "chapter", kind: "page", parent: "known-1", day: 101 },
      ]);
      expect(await db.value("select count(*)::int from track.item where kind = 'page'")).toBe(2);
      expect(items(await list("for_items('{}', 10, 'page')", db))).toEqual(["chapter"]);
    });
  });

  test("comes from a model of an older set of items, and from one whose weights are gone", async () => {
    await database.as("postgres", {}, async (db) => {
      const before = items(await list("for_person('p6', 100)", db));
      await db.query("update track.item set kind = 'archived' where external_id = 'known-3'");
      expect(items(await list("for_person('p6', 100)", db))).toEqual(before.filter((item) => item !== "known-3"));
      await db.query("delete from recommend.model_part");
      const rows = await list("for_person('p6', 100)", db);
      expect(items(rows).sort()).toEqual(before.filter((item) => item !== "known-3").sort());
      expect(rows.map(({ basis }) => basis)).not.toContain("model");
    });
  });

  test("does not change with the order of the rows of a model, nor when it is asked again", async () => {
    await database.as("postgres", {}, async (db) => {
      const ask = async () =>
        (await list("for_person('p7', 100)", db)).map(({ item, score, reasons }) => [item, score, reasons]);
      const before = await ask();
      await db.query(
        `create temporary table moved on commit drop as select * from recommend.neighbours;
         delete from recommend.neighbours;
         insert into recommend.neighbours select * from moved order by item_id desc`,
      );
      expect(await ask()).toEqual(before);
    });
  });

  test("has boosted items first, with the rule as a reason, and pinned ones at their places", async () => {
    await database.as("postgres", {}, async (db) => {
      const before = items(await list("for_person('p8', 100)", db));
      const [first = "", , third = "", fourth = ""] = before;
      await db.query("select recommend.set_rule('spring', 'boost', items => $1, amount => 5)", [[third]]);
      await db.query("select recommend.set_rule('front', 'pin', items => $1, place => 2)", [[fourth]]);
      const rows = await list("for_person('p8', 100)", db);
      expect(items(rows).slice(0, 3)).toEqual([third, fourth, first]);
      expect(rows[0]?.reasons).toContainEqual({ kind: "rule", item: null, title: "spring", contribution: 5 });
      expect(rows[1]).toMatchObject({ basis: "pinned" });
      expect(rows[1]?.reasons.at(-1)).toMatchObject({ kind: "rule", title: "front", contribution: 0 });
      expect([...items(rows)].sort()).toEqual([...before].sort());
      for (const row of rows)
        expect(row.reasons.reduce((total, { contribution }) => total + contribution, 0)).toBe(row.score);
      // A learner does not learn the names of rules.
      await db.query("set local role insights_learner");
      await db.query("select set_config('insights.person', 'p8', true)");
      await db.query("select track.sign_in()");
      const own = await list("for_me(100)", db);
      expect(items(own)).toEqual(items(rows));
      expect(JSON.stringify(own)).not.toMatch(/spring|front/);
    });
  });

  test("has boosted items of every tier where their scores are, and those with negative scores last", async () => {
    await database.as("postgres", {}, async (db) => {
      const before = await list("for_person('p8', 100)", db);
      const lift = async (item: string, amount: number, condition = "items => array[$1]") => {
        await db.query(`select recommend.set_rule('b', 'boost', kind => 'course', ${condition}, amount => $2)`, [
          item,
          amount,
        ]);
        return list("for_person('p8', 100)", db);
      };
      const least = before.findLast(({ basis, score }) => basis === "model" && score > 0)?.score ?? 0;
      for (const item of ["unused-2", "popular-2", "unused-4"]) {
        const old = before.find((row) => row.item === item);
        const raised = await lift(item, 100);
        expect(raised[0]).toMatchObject({ item, basis: old?.basis, score: (old?.score ?? 0) + 100 });
        expect(items(raised.slice(1))).toEqual(items(before).filter((other) => other !== item));
        // Among the items of the model by its score.
        const among = await lift(item, least / 2);
        const model = among.findLastIndex(({ basis, score }) => basis === "model" && score > 0);
        const own = among.findIndex((row) => row.item === item);
        expect(own).toBeLessThanOrEqual(model + 1);
        expect(among.slice(0, own).every(({ score }) => score >= (among[own]?.score ?? 0))).toBe(true);
        expect(await db.rows("select rank, score, basis from recommend.why_not('p8', $1, 100)", [item])).toEqual([
          { rank: own + 1, score: among[own]?.score, basis: old?.basis },
        ]);
        expect(items(await list("for_person('p8', 3)", db))).toEqual(items(among).slice(0, 3));
        const ranked = await list(`rank_items('p8', array['${all.join("','")}'])`, db);
        expect(items(ranked.filter(({ rank }) => rank !== null))).toEqual(items(among));
      }
      await db.query(`update track.item set attributes = '{"term": "new"}' where external_id = 'unused-3'`);
      const term = await lift("new", 50, "attribute => 'term', attribute_value => $1");
      expect(term[0]).toMatchObject({ item: "unused-3", basis: "newest", score: 50 });
      const lowered = await lift(before[0]?.item ?? "", -100);
      expect(lowered.at(-1)).toMatchObject({ item: before[0]?.item, basis: "model" });
      expect(items(lowered).slice(0, -1)).toEqual(items(before).slice(1));
      for (const row of [...term, ...lowered])
        expect(row.reasons.reduce((total, { contribution }) => total + contribution, 0)).toBe(row.score);
      // A boost does not bring back what a rule leaves out.
      await lift("unused-1", 100);
      await db.query("select recommend.set_rule('x', 'exclude', items => '{unused-1}')");
      expect(items(await list("for_person('p8', 100)", db))).not.toContain("unused-1");
    });
  });
});

describe("pages", () => {
  const page = (person: string, token: string | null | undefined, top = 4, db: Queries = database) =>
    db
      .rows<{ row: Recommendation }>("select to_jsonb(r) as row from recommend.for_person($1, $2, page => $3) as r", [
        person,
        top,
        token,
      ])
      .then((rows) => rows.map(({ row }) => row));
  const nextOf = (rows: readonly Recommendation[]): string | null => rows.at(-1)?.next_page ?? null;

  test("continue a list to its end, each item once, in one order", async () => {
    for (const person of ["p9", "p10", "ghost", "late 0"]) {
      const whole = await list(`for_person('${person}', 100)`);
      expect(nextOf(whole)).toBeNull();
      const seen: Recommendation[] = [];
      let rows = await page(person, null);
      while (rows.length > 0) {
        expect(rows.slice(0, -1).map(({ next_page }) => next_page)).toEqual(Array(rows.length - 1).fill(null));
        seen.push(...rows);
        const token = nextOf(rows);
        rows = token === null ? [] : await page(person, token);
      }
      const strip = (rows: readonly Recommendation[]) =>
        rows.map(({ rank, item, score, basis, reasons }) => ({ rank, item, score, basis, reasons }));
      expect(strip(seen)).toEqual(strip(whole));
    }
  });

  test("keep the order while the list changes, without what may not be recommended any more", async () => {
    await database.as("postgres", {}, async (db) => {
      const whole = items(await list("for_person('p11', 100)", db));
      const first = await page("p11", null, 4, db);
      const [taken = "", ended = "", ...rest] = whole.slice(4);
      await ingest(db, [
        { person: "p11", event: "Course Enrolled", item: taken, day: 120 },
        { person: "p12", event: "Course Enrolled", item: "newcomer", kind: "course", day: 120 },
      ]);
      await db.query("update track.item set available_until = now() where external_id = $1", [ended]);
      // A deployment between two pages: the second one is of the version of the first.
      await deploy(db, "ease(50)");
      const seen = items(first);
      let rows = first;
      for (let n = 0; n < 10 && nextOf(rows) !== null; n++) {
        rows = await page("p11", nextOf(rows), 3, db);
        seen.push(...items(rows));
      }
      expect(seen.slice(0, -1)).toEqual([...whole.slice(0, 4), ...rest]);
      // Later items follow.
      expect(seen.at(-1)).toBe("newcomer");
    });
  });

  test("after an opt-out, continue with what is popular and new", async () => {
    await database.as("postgres", {}, async (db) => {
      const first = await page("p11", null, 2, db);
      const token = nextOf(first);
      expect((await page("p11", token, 3, db)).map(({ basis }) => basis)).toEqual(["model", "model", "model"]);
      await db.query("select privacy.record_consent(track.find_person('p11'), 'personalization', false)");
      const expected = (await list("for_person('p11', 100)", db)).filter(
        ({ item }) => !first.some((row) => row.item === item),
      );
      const rest = await page("p11", token, 100, db);
      const strip = (rows: readonly Recommendation[]) =>
        rows.map(({ item, score, basis, reasons }) => ({ item, score, basis, reasons }));
      expect(strip(rest)).toEqual(strip(expected));
      expect(new Set(rest.map(({ basis }) => basis))).toEqual(new Set(["popularity", "newest"]));
    });
  });

  test("have no row of the model to whose score the model adds nothing", async () => {
    await database.as("postgres", {}, async (db) => {
      const whole = await list("for_person('p11', 100)", db);
      const token = nextOf(await page("p11", null, 1, db));
      // All but the first reason of the second row are withdrawn.
      const kept = whole[1]?.reasons.find(({ kind }) => kind === "item")?.item;
      const own = await db.rows<{ item: string }>(
        `select distinct item.external_id as item from track.event join track.item using (item_id)
         where event.person_id = track.find_person('p11')`,
      );
      await ingest(
        db,
        own
          .filter(({ item }) => item !== kept)
          .map(({ item }) => ({ person: "p11", event: "Item Dismissed", item, day: 130 })),
      );
      await db.query("update recommend.neighbours set neighbour_ids = neighbour_ids[1:3], weights = weights[1:3]");
      const rows = await page("p11", token, 100, db);
      expect(items(rows)).toEqual(items(whole.slice(1)));
      for (const { item, basis, score, reasons } of rows) {
        expect(reasons.length, item).toBeGreaterThan(0);
        if (basis === "model") expect(score, item).not.toBe(0);
      }
      expect(rows.some(({ basis }, n) => basis !== whole[n + 1]?.basis)).toBe(true);
    });
  });

  test("are not for another person, kind or function, do not last, and cannot be forged", async () => {
    const token = nextOf(await page("p9", null)) ?? "";
    const refused = async (call: string, values: unknown[]): Promise<string> => {
      const error = await database.rejects(`select * from recommend.${call}`, values);
      expect(error.code).toBe("CF001");
      expect(error.hint).toBeTruthy();
      return error.message;
    };
    const other = expect.stringMatching(/^the page "page\..* continues another list$/);
    expect(await refused("for_person('p10', page => $1)", [token])).toEqual(other);
    expect(await refused("for_person('ghost', page => $1)", [token])).toEqual(other);
    expect(await refused("for_items('{known-1}', page => $1)", [token])).toEqual(other);
    const ofItems = nextOf(await list("for_items('{known-1}', 2)")) ?? "";
    expect(await refused("for_items('{known-2}', page => $1)", [ofItems])).toEqual(other);
    expect((await list(`for_items('{known-1}', 2, page => '${ofItems}')`)).map(({ rank }) => rank)).toEqual([3, 4]);
    await database.as("postgres", {}, async (db) => {
      await ingest(db, [{ person: "p9", event: "Task Started", item: "task", kind: "task", day: 101 }]);
      const error = await db.rejects("select * from recommend.for_person('p9', 4, 'task', page => $1)", [token]);
      expect(error.message).toEqual(other);
    });

    const [row] = await list("for_person('p9', 1)");
    for (const forged of [
      "",
      "page",
      "page.1.2",
      `${token}0`,
      token.replace(/\d/, "7"),
      row?.serving_id,
      "x".repeat(60_000),
    ])
      expect(await refused("for_person('p9', page => $1)", [forged])).toMatch(/^page is "/);

    const [secret] = await database.rows<{ inner: Buffer; outer: Buffer }>(
      "select inner_key as inner, outer_key as outer from recommend.secret",
    );
    const [, time, ...fields] = token.split(".").slice(0, -1);
    const aged = async (seconds: number): Promise<string> =>
      database.value("select recommend._sign($1, $2, $3)", [
        ["page", String(Number(time) - seconds), ...fields].join("."),
        secret?.inner,
        secret?.outer,
      ]);
    expect(await refused("for_person('p9', page => $1)", [await aged(86_500)])).toMatch(/is older than a day$/);
    expect(items(await page("p9", await aged(86_000)))).toEqual(items(await page("p9", token)));
  });
});
