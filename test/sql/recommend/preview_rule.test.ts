import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeWorld } from "../../support/world.ts";

const database = await testDatabase();
await makeWorld(database);
await database.query("select track.refresh(); select recommend.refresh_lists()");

interface Effect {
  rank: number | null;
  former_rank: number | null;
  item: string;
}
const preview = (rule: string) =>
  database.as("insights_admin", { "insights.person": "root" }, async (db) => ({
    effects: await db.rows<Effect>(
      `select rank, former_rank, item from recommend.preview_rule('ada', 'try', ${rule}, top => 3)`,
    ),
    rules: await db.value<number>("select count(*)::int from recommend.rule where name = 'try'"),
    log: await db.value<number>("select count(*)::int from recommend.rule_log where name = 'try'"),
    read: await db.value<number>("select count(*)::int from privacy.disclosure"),
  }));

test("the list with a rule beside the present one, which is that of for_person; nothing is stored but the read", async () => {
  const before = await database.as("insights_admin", {}, (db) =>
    db.rows<{ item: string }>("select item from recommend.for_person('ada', 3)"),
  );
  expect(before.length).toBe(3);
  const [first, second, third] = before.map(({ item }) => item);
  const { effects, rules, log, read } = await preview(`'pin', items => array['${third}'], place => 1`);
  expect(effects).toEqual([
    { rank: 1, former_rank: 3, item: third },
    { rank: 2, former_rank: 1, item: first },
    { rank: 3, former_rank: 2, item: second },
  ]);
  expect([rules, log]).toEqual([0, 0]);
  expect(read).toBeGreaterThan(0);

  const left = await preview(`'exclude', items => array['${first}']`);
  expect(left.effects.filter(({ item }) => item === first)).toEqual([{ rank: null, former_rank: 1, item: first }]);
  expect(left.effects.filter(({ rank }) => rank !== null).map(({ rank }) => rank)).toEqual([1, 2]);
});

test("a rule that is stored is shown as it would be after a change", async () => {
  await database.as("insights_admin", {}, async (db) => {
    const [{ item } = { item: "" }] = await db.rows<{ item: string }>(
      "select item from recommend.for_person('ada', 1)",
    );
    await db.query("select recommend.set_rule('try', 'exclude', items => array[$1])", [item]);
    expect(
      await db.rows(
        "select rank, former_rank from recommend.preview_rule('ada', 'try', 'exclude', items => array[$1], is_active => false) where item = $1",
        [item],
      ),
    ).toEqual([{ rank: 1, former_rank: null }]);
  });
});

test.each([
  ["'pin', items => '{unknown-course}', place => 1", "CF002"],
  ["'boost', items => '{course-algebra}'", "CF001"],
  ["'pins'", "CF001"],
])("%s is %s, and nothing is stored", async (rule, code) => {
  await expect(preview(rule)).rejects.toMatchObject({ code });
  expect(await database.value("select count(*)::int from recommend.rule where name = 'try'")).toBe(0);
});

test("is for administrators", async () => {
  expect(
    await rolesThatMay(database, "select recommend.preview_rule('ada', 'try', 'exclude', kind => 'course')"),
  ).toEqual(["admin"]);
});
