import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { ingest, message } from "./messages.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

test("ids that name nobody are rejected, each with an error that names it, and join nobody", async () => {
  await inside(async (db) => {
    const ids = [
      "undefined",
      "null",
      "NULL",
      " Null ",
      '"null"',
      "'undefined'",
      "[object Object]",
      "[Object object]",
      "NaN",
      "none",
      "   ",
      "\t\n",
      "\u00a0",
      '""',
      '" "',
      "\u3000",
      "\u2003\u2009",
      "\u2028",
      "\u00ad",
      "\u200d",
      "\u2060",
      "\u2800",
      "\u3164",
      "\u001f",
      "\u3000null",
      "\u201cundefined\u201d",
      "\u00abnull\u00bb",
      "0",
      "-",
      "guest",
      "anonymous",
      "distinct_id",
      "true",
      "{}",
      "[]",
      "00000000-0000-0000-0000-000000000000",
      0,
      -1,
    ];
    const fields = (id: unknown) => [
      message({ userId: id }),
      message({ userId: undefined, anonymousId: id }),
      message({ type: "identify", userId: "ada", anonymousId: id }),
      message({ type: "alias", userId: "ada", previousId: id }),
      message({ type: "group", userId: id, groupId: "g" }),
    ];
    for (const id of ids) {
      const result = await ingest(db, [...fields(id), message({ userId: "ben" })]);
      expect([id, result]).toMatchObject([id, { accepted: 1, rejected: 5 }]);
      expect(result.errors.map(({ code, message: text }) => [code, text])).toEqual(
        ["userId", "anonymousId", "anonymousId", "previousId", "userId"].map((field) => [
          "CF001",
          `"${field}" is "${id}", which names nobody`,
        ]),
      );
    }
    expect(await db.rows("select external_id from track.identity where kind <> 'none'")).toEqual([
      { external_id: "ben" },
    ]);
  });
});

test("names that resemble them are names", async () => {
  await inside(async (db) => {
    const ids = [
      "nulla",
      "00",
      "0x0",
      "Undefined Behaviour",
      "guest-7",
      "-a-",
      '"',
      "ada@x.example",
      "None of them",
      "10",
    ];
    expect(
      await ingest(
        db,
        ids.map((userId) => message({ userId })),
      ),
    ).toMatchObject({ accepted: ids.length });
  });
});

test("administrators extend and shorten the list; others do not", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await db.query("insert into track.placeholder_id values ('nobody@x.example', 'The address of our forms.')");
    await db.query("delete from track.placeholder_id where external_id = 'guest'");
    expect(await ingest(db, [message({ userId: "Nobody@X.example" }), message({ userId: "guest" })])).toMatchObject({
      accepted: 1,
      errors: [{ index: 0, code: "CF001" }],
    });
  });
  for (const role of ["insights_visitor", "insights_learner", "insights_analyst", "insights_worker"]) {
    await database.as(role, {}, async (db) => {
      expect((await db.rejects("insert into track.placeholder_id values ('ada')")).code).toBe("42501");
      expect((await db.rejects("delete from track.placeholder_id")).code).toBe("42501");
    });
  }
});

test("a server may keep ids of the list for a batch, a client may not", async () => {
  const batch = [message({ userId: "0" }), message({ userId: "null" })];
  await database.as("insights_worker", { "insights.kept_ids": "0,-1" }, async (db) => {
    expect(await ingest(db, batch)).toMatchObject({ accepted: 1, errors: [{ index: 1 }] });
  });
  await database.as("insights_learner", { "insights.kept_ids": "0", "insights.person": "0" }, async (db) => {
    expect(await ingest(db, batch)).toMatchObject({ rejected: 2 });
  });
});

test("enrolments and decisions under such an id are refused, too", async () => {
  await inside(async (db) => {
    await db.query("create temp table enrolled as select 'null' as person, 'course' as item, now() as enrolled_at");
    expect(await db.rejects("select track.sync_enrolments('enrolled')")).toMatchObject({
      code: "CF001",
      message: 'the enrolment of "null", which names nobody',
    });
  });
  await database.as("insights_learner", { "insights.person": "undefined" }, async (db) => {
    expect(await db.rejects("select track.record_my_consent('analytics', false)")).toMatchObject({
      code: "CF005",
      message: '"undefined" is signed in, which names nobody',
    });
  });
});
