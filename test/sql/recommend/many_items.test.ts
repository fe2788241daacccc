import { beforeAll, describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { ingest, refresh } from "../../support/recommend.ts";

/*
 * A catalogue of which rules leave out nearly everything. The newest course is the last one, and each thousandth course is
 * the only one that rules may leave over.
 */
const database = await testDatabase();
const size = 52_000;
const remaining = [...Array(size / 1000).keys()].map((n) => `course-${(n + 1) * 1000}`).reverse();

beforeAll(async () => {
  await database.query(
    `insert into track.item (external_id, kind, title, attributes, created_at)
     select 'course-' || n, 'course', 'Course ' || n,
       jsonb_build_object('term', case when n % 1000 = 0 then 'new' else 'old' end),
       '2026-01-01'::timestamptz + n * interval '1 second'
     from generate_series(1, $1::int) as n`,
    [size],
  );
  await database.query("analyze track.item");
});

const world = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);
const list = async (db: Queries, call: string): Promise<string[]> =>
  (await db.rows<{ item: string }>(`select item from ${call} where rank is not null order by rank`)).map(
    ({ item }) => item,
  );
const verdict = async (db: Queries, item: string) =>
  (await db.rows("select is_recommended, rank, rule, detail from recommend.why_not('nobody', $1, 1000)", [item]))[0];
const change = (db: Queries, set: string, condition: string): Promise<unknown> =>
  db.query(`update track.item set ${set} where ${condition}`);
const isOld = "attributes ->> 'term' = 'old'";

describe("lists from many items of which few may be recommended", () => {
  test("rules that include items, or what is within an item, wherever these are", () =>
    world(async (db) => {
      await db.query("select recommend.set_rule('few', 'include', items => '{course-7,course-51999}')");
      expect(await list(db, "recommend.for_person('nobody', 10)")).toEqual(["course-51999", "course-7"]);
      expect(await list(db, "recommend.for_person('nobody', 10, only_items => '{course-7,course-8}')")).toEqual([
        "course-7",
      ]);
      await db.query(
        `update track.item set parent_item_id = (select item_id from track.item where external_id = 'course-20')
         where external_id in ('course-1', 'course-2')`,
      );
      await db.query("select recommend.set_rule('part', 'include', within_item => 'course-20')");
      const all = ["course-51999", "course-20", "course-7", "course-2", "course-1"];
      expect(await list(db, "recommend.for_person('nobody', 10)")).toEqual(all);
      expect(await list(db, `recommend.rank_items('nobody', '{${[...all].reverse().join()},course-3}')`)).toEqual(all);
      expect(await verdict(db, "course-1")).toMatchObject({ is_recommended: true, rank: 5 });
      expect(await verdict(db, "course-3")).toMatchObject({ is_recommended: false, rule: "few" });
      // A rule by an attribute beside them: no index finds its items, and they are among the newest 20,000.
      await db.query("select recommend.set_rule('term', 'include', attribute => 'term', attribute_value => 'new')");
      expect(await list(db, "recommend.for_person('nobody', 100)")).toEqual([
        "course-52000",
        "course-51999",
        ...remaining.slice(1, 20),
      ]);
    }));

  test("courses that are over, or start later, are skipped, unless the rule is not active", () =>
    world(async (db) => {
      await change(db, "available_until = '2026-02-01'", `${isOld} and item_id % 2 = 0`);
      await change(db, "available_from = '2100-01-01'", `${isOld} and item_id % 2 = 1`);
      expect(await list(db, "recommend.for_person('nobody', 100)")).toEqual(remaining);
      expect(await verdict(db, "course-1000")).toMatchObject({ is_recommended: true, rank: remaining.length });
      await db.query("select recommend.set_rule('availability', 'availability', is_active => false)");
      expect(await list(db, "recommend.for_person('nobody', 2)")).toEqual(["course-52000", "course-51999"]);
    }));

  test("at most 20,000 are compared with the rules, and why_not states it", () =>
    world(async (db) => {
      await db.query("select recommend.set_rule('old', 'exclude', attribute => 'term', attribute_value => 'old')");
      expect(await list(db, "recommend.for_person('nobody', 20)")).toEqual(remaining.slice(0, 20));
      expect(await verdict(db, "course-33000")).toMatchObject({ is_recommended: true, rank: 20 });
      // Of the oldest 32,000 courses.
      expect(await list(db, "recommend.for_person('nobody', 60)")).toEqual(remaining.slice(0, 20));
      expect(await verdict(db, "course-2000")).toEqual({
        is_recommended: false,
        rank: null,
        rule: "rank",
        detail: "Not among the candidates: those of the model, similar and popular ones, and the newest 20,000",
      });
      expect(await list(db, "recommend.rank_items('nobody', '{course-1000,course-2000}')")).toEqual([
        "course-2000",
        "course-1000",
      ]);
      expect(await verdict(db, "course-2001")).toMatchObject({ is_recommended: false, rule: "old" });
    }));

  test("1,000 given items", () =>
    world(async (db) => {
      const given = [...Array(1000).keys()].map((n) => `course-${n + 1}`);
      const expected = [...given].reverse();
      expect(await list(db, `recommend.for_person('nobody', 1000, only_items => '{${given.join()}}')`)).toEqual(
        expected,
      );
      expect(await list(db, `recommend.rank_items('nobody', '{${given.join()}}')`)).toEqual(expected);
    }));

  test("a person who took 600 of them: what she did last counts, and everything she took is left out", () =>
    world(async (db) => {
      const taken = [...Array(600).keys()].map((n) => `course-${size - n}`);
      await ingest(
        db,
        taken.map((item, n) => ({ person: "ada", event: "Course Enrolled", item, day: n / 10 })),
      );
      await refresh(db);
      const context = `recommend._named_context('ada', 'course')`;
      expect(
        await db.value(
          `select array_agg(item.external_id order by place)
           from ${context} as context cross join unnest(context.items) with ordinality as used (item_id, place)
           join track.item using (item_id)`,
        ),
      ).toEqual(taken.slice(100));
      expect(await db.value(`select cardinality(strengths) from ${context}`)).toBe(500);
      expect(await list(db, "recommend.for_person('ada', 2)")).toEqual(["course-51400", "course-51399"]);
      expect((await db.rows("select rule from recommend.why_not('ada', 'course-52000')"))[0]).toEqual({
        rule: "taken",
      });
    }));

  test("500 rules with items, attributes, containers and languages apply as one alone does", () =>
    world(async (db) => {
      await change(
        db,
        "attributes = jsonb_build_object('tags', array[item_id % 7, item_id % 5]::text[], 'n', item_id % 3)",
        "item_id % 2 = 0",
      );
      await change(db, "language = case when item_id % 3 = 0 then 'de-AT' else 'en' end", "item_id % 4 = 0");
      await db.query(
        `update track.item set parent_item_id = (select item_id from track.item where external_id = 'course-1')
         where external_id in ('course-51998', 'course-51990')`,
      );
      for (let n = 0; n < 500; n++) {
        const conditions = [
          [`items => array['course-${size - (n % 50)}', 'course-7']`],
          [`attribute => 'tags', attribute_value => '${n % 9}'`],
          [`attribute => 'n', attribute_value => '${n % 3}'`],
          [`within_item => 'course-1'`],
          [`language => 'de'`],
          [
            `items => array['course-${size - (n % 50)}']`,
            `language => 'en'`,
            `attribute => 'n', attribute_value => '1'`,
          ],
          [`attribute => 'term', attribute_value => 'old'`, `language => 'de-at'`],
        ];
        await db.query(
          `select recommend.set_rule('r${n}', 'boost', amount => ${n + 1}, ${conditions[n % conditions.length]?.join()})`,
        );
      }
      const candidates =
        "array(select item_id from track.item where item_id > (select max(item_id) - 60 from track.item))";
      expect(
        await db.rows(
          `select item_id::int, name from recommend._matching_rules(
             (select array_agg(rule) from recommend.rule where action = 'boost'), ${candidates}
           ) order by 1, 2`,
        ),
      ).toEqual(
        await db.rows(
          `select item.item_id::int, rule.name
           from track.item
           join recommend.rule on rule.action = 'boost'
           where item.item_id > (select max(item_id) - 60 from track.item)
             and (not rule.has_items or exists (
               select from recommend.rule_item where rule_item.name = rule.name and rule_item.item_id = item.item_id
             ))
             and (rule.within_item_id is null or rule.within_item_id in (item.item_id, item.parent_item_id))
             and (rule.language is null or lower(item.language) = rule.language
               or lower(item.language) like rule.language || '-%')
             and (rule.attribute is null or item.attributes ->> rule.attribute = rule.attribute_value
               or (jsonb_typeof(item.attributes -> rule.attribute) = 'array'
                 and item.attributes -> rule.attribute @> to_jsonb(rule.attribute_value)))
           order by 1, 2`,
        ),
      );
    }));
});
