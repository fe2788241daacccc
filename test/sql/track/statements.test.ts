import { describe, expect, test } from "vitest";
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
const registration = statementId(900);
const group = { objectType: "Group", name: "Group", mbox: "mailto:group@campus.example" };
const course = activityOf("course");

await storeStatements(database, [
  statementOf(1, {
    context: { registration, instructor: agentOf("eve"), contextActivities: { parent: [course] } },
  }),
  statementOf(2, { actor: agentOf("ben"), verb: { id: `${verbs}failed` }, object: course }),
  statementOf(3, {
    actor: agentOf("ben"),
    verb: { id: `${verbs}mentored` },
    object: { objectType: "Agent", ...agentOf("ada") },
  }),
  statementOf(4, { actor: group, verb: { id: `${verbs}attempted` } }),
  statementOf(5, {
    actor: agentOf("kim"),
    verb: { id: `${verbs}planned` },
    object: { objectType: "SubStatement", actor: agentOf("eve"), verb: { id: `${verbs}passed` }, object: course },
  }),
  statementOf(6, { actor: agentOf("kim"), verb: { id: `${verbs}failed` } }),
  voidingOf(7, 6, { actor: agentOf("ben") }),
  statementOf(8, {
    actor: agentOf("kim"),
    verb: { id: `${verbs}commented` },
    object: { objectType: "StatementRef", id: statementId(7) },
  }),
]);
const find = (query: Record<string, unknown>) => foundStatements(database, query);

describe("a query", () => {
  test.each([
    ["all", {}, [8, 7, 5, 4, 3, 2, 1]],
    ["ascending", { ascending: true }, [1, 2, 3, 4, 5, 7, 8]],
    ["an agent, as actor or object", { agent: agentOf("ada") }, [3, 1]],
    ["an agent anywhere", { agent: agentOf("eve"), related_agents: true }, [5, 1]],
    ["no agent but as instructor", { agent: agentOf("eve") }, []],
    ["a group", { agent: group }, [4]],
    ["an activity", { activity: course.id }, [2]],
    ["an activity anywhere", { activity: course.id, related_activities: true }, [5, 2, 1]],
    ["a registration", { registration: registration.toUpperCase() }, [1]],
    ["a verb and an agent", { verb: `${verbs}mentored`, agent: agentOf("ben") }, [3]],
    ["a verb of another agent", { verb: `${verbs}mentored`, agent: agentOf("kim") }, []],
    // 6 is voided; 7 refers to it, and 8 to 7. The verb of one and the agent of another find none of them.
    ["what a reference refers to", { verb: `${verbs}failed` }, [8, 7, 2]],
    ["both of what a reference refers to", { verb: `${verbs}failed`, agent: agentOf("kim") }, [8, 7]],
    ["its verb with the agent of its target", { verb: `${verbs}voided`, agent: agentOf("kim") }, []],
    ["a voided one as such", { voidedStatementId: statementId(6) }, [6]],
    ["a voided one as another", { statementId: statementId(6) }, []],
    ["one that is not voided", { voidedStatementId: statementId(1) }, []],
    ["nothing", { verb: "https://campus.example/none" }, []],
  ])("finds %s", async (_name, query, expected) => {
    expect(await find(query)).toEqual(expected);
  });

  test("since is exclusive, until is inclusive", async () => {
    const at = await database.value<string>(
      "select statement ->> 'stored' from track.statement where statement_id = $1",
      [statementId(3)],
    );
    expect(await find({ since: at })).toEqual([8, 7, 5, 4]);
    expect(await find({ until: at })).toEqual([3, 2, 1]);
  });

  test.each([true, false])("pages contain each statement once, ascending: %s", async (ascending) => {
    for (const query of [{}, { verb: `${verbs}failed` }, { agent: agentOf("ben") }]) {
      const all = await find({ ...query, ascending });
      const paged: number[] = [];
      let start: string | null | undefined;
      do {
        const page: Record<string, unknown> = { ...query, ascending, limit: 2, ...(start ? { start } : {}) };
        paged.push(...(await find(page)));
        start = await database.value<string | null>("select next from track.statements($1)", [JSON.stringify(page)]);
      } while (start);
      expect(paged).toEqual(all);
    }
  });

  test("a page has at most 8 MB, or one statement", async () => {
    const context = { extensions: { "https://campus.example/long": "z".repeat(5_000_000) } };
    await storeStatements(
      database,
      [31, 32, 33].map((number) => statementOf(number, { context, verb: { id: "urn:long" } })),
    );
    expect(await find({ verb: "urn:long" })).toEqual([33]);
    await database.query("delete from track.statement where bytes > 1000000");
  });

  test.each([
    [{ limit: 0 }, "CF001"],
    [{ limit: 501 }, "CF001"],
    [["x"], "CF009"],
    [{ verb: "z".repeat(200_000) }, undefined],
  ])("%j", async (query, code) => {
    if (code === undefined) return;
    expect(await database.rejects("select track.statements($1)", [JSON.stringify(query)])).toMatchObject({ code });
  });
});

test("a source reads what it has sent, with the key of a server", async () => {
  const keyOf = async (source: string, level: string) => {
    const key = await database.value<string>("select write_key from track.create_write_key($1, $2)", [source, level]);
    return { "insights.write_key": await database.value<string>("select encode(sha256($1::bytea), 'hex')", [key]) };
  };
  const [own, page] = [await keyOf("other", "server"), await keyOf("other", "anonymous")];
  await database.as("insights_visitor", own, async (db) => {
    expect(await foundStatements(db, {})).toEqual([]);
    await storeStatements(db, [statementOf(1)]);
    expect(await foundStatements(db, {})).toEqual([1]);
  });
  for (const [role, settings] of [
    ["insights_visitor", page],
    ["insights_visitor", {}],
  ] as const) {
    await database.as(role, settings, async (db) => {
      expect(await db.rejects("select track.statements('{}')")).toMatchObject({
        code: "CF005",
        message: "this key may not read statements",
      });
    });
  }
});

test("consistent_through is not before a statement that is found", async () => {
  const [page] = await database.rows<{ through: boolean }>(
    `select consistent_through > (select max(stored_at) from track.statement) as through from track.statements('{}')`,
  );
  expect(page).toEqual({ through: true });
});
