import { expect, test } from "vitest";
import { testDatabase } from "../support/database.ts";
import { endAtEndOfFile, insights } from "../support/insights.ts";

const database = await testDatabase();
endAtEndOfFile();

async function sql(parameters: string[], input = ""): Promise<{ code: number | null; text: string }> {
  const call = insights(["sql", ...parameters], { DATABASE_URL: database.url() }, input);
  return { code: await call.exitCode(), text: call.output() };
}

test("rows are printed as a table, several statements one after another", async () => {
  const { code, text } = await sql([
    "select 1 as one, null as nothing, '{\"a\": [1]}'::jsonb as json; select 'é' as letter",
  ]);
  expect(code).toBe(0);
  expect(text).toMatch(/│ one │ nothing │ json +│/);
  expect(text).toMatch(/│ 1 +│ +│ \{"a":\[1\]\} +│/);
  expect(text).toMatch(/│ é +│/);
});

test("rows are printed as JSON, one line per statement, from the standard input too", async () => {
  const { text } = await sql(["--json"], "select 1 as a union all select 2 order by a; select true as b");
  expect(
    text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line)),
  ).toEqual([[{ a: 1 }, { a: 2 }], [{ b: true }]]);
});

test("a command without rows prints its tag", async () => {
  const { text } = await sql([
    "create schema scratch; create table scratch.t (x int); insert into scratch.t values (1), (2)",
  ]);
  expect(text.trim().split("\n").at(-1)).toBe("INSERT 2");
});

test("as a role and a person, row security applies", async () => {
  for (const userId of ["ada", "ben"])
    await sql([
      `select track.ingest('[{"type": "track", "event": "Task Submitted", "messageId": "${userId}", "userId": "${userId}"}]')`,
    ]);
  const { text } = await sql([
    "--json",
    "--role",
    "insights_learner",
    "--person",
    "ada",
    "select current_user as role, current_setting('insights.person') as person, (select count(*)::int from track.event) as events",
  ]);
  expect(JSON.parse(text)).toEqual([{ role: "insights_learner", person: "ada", events: 1 }]);
  const refused = await sql(["--role", "insights_visitor", "select * from privacy.consent"]);
  expect(refused).toMatchObject({ code: 1, text: expect.stringContaining("permission denied") });
});

test("an error is printed with its code and hint, and exits with 1", async () => {
  const { code, text } = await sql([
    "do $$ begin raise exception using errcode = 'CF001', message = 'top is -1', hint = 'Ask for at least one.'; end $$",
  ]);
  expect(code).toBe(1);
  expect(text).toBe("error: top is -1 [CF001]\nhint: Ask for at least one.\n");
});
