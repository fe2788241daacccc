import { beforeEach, describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import {
  activityOf,
  agentOf,
  foundStatements,
  statementId,
  statementOf,
  storeStatements,
  verbs,
  voidingOf,
} from "../../support/statements.ts";

const database = await testDatabase();
beforeEach(() => database.query("truncate track.statement, track.statement_attachment, track.event, track.message"));

const who = () =>
  database.rows<{ who: string; item: string | null }>(
    `select identity.external_id as who, item.external_id as item
     from track.event join track.identity using (identity_id) left join track.item using (item_id)
     order by event.occurred_at, 1`,
  );
const batchOf = (statements: readonly object[]) => JSON.stringify({ statements });

describe("a batch", () => {
  test("is stored with its events, once, in its order", async () => {
    const batch = [statementOf(1), statementOf(2, { actor: agentOf("ben"), timestamp: "2026-03-01T11:00:00Z" })];
    expect(await storeStatements(database, batch)).toBe(2);
    expect(await storeStatements(database, [...batch, statementOf(3)])).toBe(1);
    expect(await foundStatements(database, { ascending: true })).toEqual([1, 2, 3]);
    const item = activityOf("task-1").id;
    expect(await who()).toEqual([
      { who: "ada", item },
      { who: "ada", item },
      { who: "ben", item },
    ]);
    const times = await database.rows<{ at: string }>(
      "select statement ->> 'stored' as at from track.statement order by stored_at",
    );
    expect(new Set(times.map(({ at }) => at)).size).toBe(3);
    expect(times.every(({ at }) => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/.test(at))).toBe(true);
  });

  test("with the id of another statement is refused as a whole", async () => {
    await storeStatements(database, [statementOf(1)]);
    expect(
      await database.rejects("select track.store_statements($1)", [
        batchOf([{ statement: statementOf(2) }, { statement: statementOf(1, { object: activityOf("task-2") }) }]),
      ]),
    ).toMatchObject({ code: "CF010", message: `another statement has the id "${statementId(1)}"` });
    expect(await foundStatements(database, {})).toEqual([1]);
  });

  test.each([
    ["without a list", {}, "CF009", 'the batch has no list "statements"'],
    ["with 1,001 statements", { statements: Array(1001).fill({}) }, "CF008", "there are 1001 statements"],
    ["without an id", { statements: [{ statement: { actor: {} } }] }, "CF009", 'the statement "null" is incomplete'],
    [
      "with an id twice",
      { statements: [{ statement: statementOf(1) }, { statement: statementOf(1) }] },
      "CF009",
      `two statements have the id "${statementId(1)}"`,
    ],
  ])("%s is refused", async (_name, batch, code, message) => {
    expect(await database.rejects("select track.store_statements($1)", [JSON.stringify(batch)])).toMatchObject({
      code,
      message,
    });
  });

  test("with a message that is invalid is refused with its error", async () => {
    const statement = statementOf(1, { actor: agentOf("undefined") });
    const event = { type: "track", event: "Task Completed" };
    expect(
      await database.rejects("select track.store_statements($1)", [batchOf([{ statement, event }])]),
    ).toMatchObject({ code: "CF001", message: expect.stringMatching(/^statement .*000001: .*"undefined"/) });
    expect(await foundStatements(database, {})).toEqual([]);
  });
});

test("a group has an event for each member, and a time in the future is that of the arrival", async () => {
  const actor = { objectType: "Group", member: [agentOf("ada"), agentOf("ben")] };
  await storeStatements(database, [statementOf(1, { actor, timestamp: "2999-01-01T00:00:00Z" })]);
  expect((await who()).map((row) => row.who)).toEqual(["ada", "ben"]);
  const [row] = await database.rows<{ future: boolean; events: number }>(
    `select bool_or(event.occurred_at > now() + interval '1 minute') as future,
       min(cardinality(statement.event_ids)) as events
     from track.event cross join track.statement`,
  );
  expect(row).toEqual({ future: false, events: 2 });
});

describe("voiding", () => {
  test("deletes the events and leaves those of others, also of a group and in the future", async () => {
    const group = { objectType: "Group", member: [agentOf("ada"), agentOf("ben")] };
    await storeStatements(database, [
      statementOf(1),
      statementOf(2),
      statementOf(3, { actor: group, timestamp: "2999-01-01T00:00:00Z" }),
    ]);
    await storeStatements(database, [voidingOf(4, 1), voidingOf(5, 3)]);
    expect(await who()).toEqual([{ who: "ada", item: activityOf("task-1").id }]);
    expect(await foundStatements(database, {})).toEqual([5, 4, 2]);
    // Their people are queued for the refresh of what is derived from events.
    await database.query("select track.refresh()");
    expect(await database.value("select sum(event_count)::int from track.session")).toBe(1);
  });

  test("before the statement arrives, and in the same batch", async () => {
    await storeStatements(database, [voidingOf(1, 2)]);
    await storeStatements(database, [statementOf(2), voidingOf(3, 4), statementOf(4)]);
    expect(await foundStatements(database, {})).toEqual([3, 1]);
    expect(await who()).toEqual([]);
  });

  test("of a voiding statement has no effect", async () => {
    await storeStatements(database, [statementOf(1), voidingOf(2, 1), voidingOf(3, 2)]);
    expect(await foundStatements(database, {})).toEqual([3, 2]);
    expect(await foundStatements(database, { statementId: statementId(2) })).toEqual([2]);
  });
});

describe("people", () => {
  test("without consent: the statement is not stored", async () => {
    await storeStatements(database, [statementOf(1, { actor: agentOf("kim") })]);
    await database.query("select privacy.record_consent(track.find_person('kim'), 'analytics', false)");
    await database.query("truncate track.statement, track.event, track.message");
    expect(await storeStatements(database, [statementOf(2, { actor: agentOf("kim") }), statementOf(3)])).toBe(1);
    expect(await foundStatements(database, {})).toEqual([3]);
    // Her event is anonymous.
    expect((await who()).map((row) => row.who)).toEqual(["ada", "none"]);
  });

  test("an erasure deletes her statements, and replaces her in those of others", async () => {
    const instructor = { name: "Eve", mbox: "mailto:eve@campus.example" };
    const eve = "eve@campus.example";
    await storeStatements(database, [
      statementOf(1, { context: { instructor } }),
      statementOf(2, { actor: instructor }),
      statementOf(3, { actor: { objectType: "Group", member: [instructor, agentOf("ada")] } }),
      statementOf(4),
    ]);
    await database.query("select privacy.erase_person($1, 'request')", [eve]);
    expect(await foundStatements(database, {})).toEqual([4, 3, 1]);
    const all = await database.value<string>("select string_agg(to_jsonb(statement)::text, ' ') from track.statement");
    expect(all).not.toMatch(/eve/i);
    expect(await foundStatements(database, { agent: instructor, related_agents: true })).toEqual([]);
    expect((await who()).map((row) => row.who)).toEqual(["ada", "ada", "ada"]);
    expect(
      await database.value("select cardinality(event_ids) from track.statement where statement_id = $1", [
        statementId(3),
      ]),
    ).toBe(1);

    // From then on, nothing of her is stored.
    await storeStatements(database, [
      statementOf(5, { actor: instructor }),
      statementOf(6, { context: { instructor }, verb: { id: `${verbs}failed` } }),
    ]);
    expect(await foundStatements(database, {})).toEqual([6, 4, 3, 1]);
    expect(await database.value("select statement::text from track.statement where statement::text ~* 'eve'")).toBe(
      undefined,
    );
  });

  test("who are only mentioned are known, so that they can be found and erased", async () => {
    await storeStatements(database, [statementOf(1, { context: { instructor: agentOf("teacher") } })]);
    expect(await database.value("select track.find_person('teacher')")).not.toBeNull();
    await database.query("select privacy.erase_person('teacher', 'request')");
    expect(await database.value("select statement #>> '{context,instructor,account,name}' from track.statement")).toBe(
      "erased",
    );
  });

  test("her export has her statements", async () => {
    await storeStatements(database, [statementOf(1, { actor: agentOf("kit") }), statementOf(2)]);
    const document = await database.value<object>("select privacy.export_person('kit')");
    const text = JSON.stringify(document);
    expect(text).toContain(statementId(1));
    expect(text).not.toContain(statementId(2));
  });
});

test("keys of web pages write statements of the browser, and void none", async () => {
  const [key] = await database.rows<{ write_key: string }>(
    "select write_key from track.create_write_key('page', 'anonymous')",
  );
  const settings = {
    "insights.write_key": await database.value<string>("select encode(sha256($1::bytea), 'hex')", [key?.write_key]),
  };
  await database.as("insights_visitor", settings, async (db) => {
    expect(await storeStatements(db, [statementOf(1)])).toBe(1);
    expect(
      await db.rejects("select track.store_statements($1)", [batchOf([{ statement: voidingOf(2, 1), event: null }])]),
    ).toMatchObject({ code: "CF005", message: "this key may not void statements" });
  });
  await database.as("insights_learner", { "insights.person": "ada" }, async (db) => {
    expect(await storeStatements(db, [statementOf(1)])).toBe(1);
    expect(
      await db.rejects("select track.store_statements($1)", [
        batchOf([{ statement: statementOf(2, { actor: agentOf("ben") }), event: { type: "track", event: "x" } }]),
      ]),
    ).toMatchObject({ code: "CF005", message: "a statement is about another person" });
  });
});
