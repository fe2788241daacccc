import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";

const database = await testDatabase();

test("raises the code, the message as it is, and the hint", async () => {
  // A message is not a format: text that resembles a placeholder in a value is kept.
  expect(await database.rejects("select common.refuse('CF012', '100 % of %s, \"x\"', 'Say less.')")).toMatchObject({
    code: "CF012",
    message: '100 % of %s, "x"',
    hint: "Say less.",
  });
  const bare = await database.rejects("select common.refuse('CF001', 'no')");
  expect(bare).toMatchObject({ code: "CF001", message: "no" });
  expect(bare.hint).toBeUndefined();
});

test("is not evaluated ahead of the branch that calls it", async () => {
  expect(
    await database.value(
      "select case when i < 5 then i::text else common.refuse('CF001', 'five')::text end from (values (4)) as v (i)",
    ),
  ).toBe("4");
  await database.query(`
    do $$ begin if false then perform common.refuse('CF001', 'a branch not taken'); end if; end $$`);
});

test("every application may be refused", async () => {
  for (const role of [
    "insights_visitor",
    "insights_learner",
    "insights_analyst",
    "insights_admin",
    "insights_worker",
  ]) {
    await database.as(role, {}, async (db) => {
      expect(await db.rejects("select common.refuse('CF003', 'no')"), role).toMatchObject({ code: "CF003" });
    });
  }
});
