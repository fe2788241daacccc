import { describe, expect, test, vi } from "vitest";
import { loggable } from "../../src/errors.ts";
import { defineTask, emptyPayload } from "../../src/worker/define-task.ts";
import { testApi } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";

const database = await testDatabase();
const word = "canary4711";

/** The error of PostgreSQL for a statement, with the word as a value somewhere in it. */
async function failure(sql: string, values: unknown[] = []): Promise<Error> {
  let failed: unknown;
  await database.as("postgres", {}, async (db) => {
    await db.query("create temporary table person_ (name text primary key, age int not null check (age > 0))");
    await db.query("savepoint before");
    try {
      await db.query(sql, values);
    } catch (error) {
      failed = error;
      await db.query("rollback to before");
    }
  });
  expect(failed).toBeInstanceOf(Error);
  return failed as Error;
}

describe("an error as it is logged", () => {
  test.each([
    [`insert into person_ values ('${word}', 1), ('${word}', 2)`, "23505", "constraint person__pkey"],
    [`insert into person_ values ('${word}', -1)`, "23514", "table person_"],
    [`insert into person_ values ('${word}', null)`, "23502", "column age"],
    [`select '${word}'::int`, "22P02", "invalid input syntax for type integer"],
    [`select '{"a": ${word}}'::jsonb`, "22P02", "json"],
    [`select '${word}'::timestamptz`, "22007", "timestamp"],
    [`do $$ begin execute 'select ''${word}''::int'; end $$`, "22P02", "integer"],
    [`do $$ begin raise exception 'no "${word}"' using detail = '${word}', hint = '${word}'; end $$`, "P0001", "no"],
    [`do $$ begin perform common.refuse('CF002', 'there is no "${word}"', '${word}'); end $$`, "CF002", "there is no"],
    [`select * from "${word.slice(0, 3)}_absent"`, "42P01", "can_absent"],
    [`do $$ begin execute 'select ${word} ${word} ${word}'; end $$`, "42601", "syntax error"],
    [`select track.find_person('${word}')::text::int / 0, '${word}'::uuid`, "22P02", "uuid"],
  ])("%s", async (sql, code, remains) => {
    const text = loggable(await failure(sql));
    expect(text).not.toContain(word);
    expect(text).toContain(`[${code}]`);
    expect(text).toContain(remains);
    expect(text).toMatch(/\n {4}at /);
  });

  test("names the functions that were running", async () => {
    const text = loggable(await failure("select track.rebuild($1)", [word]));
    expect(text).not.toContain(word);
    expect(text).toContain("in PL/pgSQL function common.refuse(text,text,text) line");
    expect(text).toContain("in PL/pgSQL function track.rebuild(text) line");
  });

  test.each([
    () => JSON.parse(`{"a": ${word}}`),
    () => new URL(`not an url ${word}`),
    () => {
      throw new Error(`connect postgres://ada:${word}@db.example/x failed`, { cause: new Error(`"${word}`) });
    },
    () => {
      throw { message: word };
    },
    () => {
      throw word;
    },
  ])("of another kind (%#)", (fail) => {
    let text = "";
    try {
      fail();
    } catch (error) {
      text = loggable(error);
    }
    expect(text).toMatch(/error/i);
    expect(text.replaceAll(/^ {4}at .*$/gm, "")).not.toContain(word);
  });
});

test("a masked error of the API is logged without values", async () => {
  await database.query(`
    create or replace function monitor.fails(word text) returns int language plpgsql as $$
    begin raise exception 'the row "%"', word using detail = word, errcode = 'XX000'; end $$;
    grant execute on function monitor.fails(text) to insights_admin`);
  const { ask } = await testApi(database);
  const log = vi.spyOn(console, "error").mockImplementation(() => {});
  try {
    const { errors } = await ask(
      "admin:root",
      "mutation ($word: String!) { monitorFails(input: {word: $word}) { result } }",
      {
        word,
      },
    );
    expect(errors[0]?.message).toBe("an error occurred on the server");
    const logged = log.mock.calls.flat().join("\n");
    expect(logged).toContain(errors[0]?.extensions.errorId);
    expect(logged).toContain("in PL/pgSQL function monitor.fails(text) line");
    expect(logged).not.toContain(word);
  } finally {
    log.mockRestore();
    await database.query("drop function monitor.fails(text)");
  }
});

test("a failed task leaves no value in the queue and in monitor.run", async () => {
  const task = defineTask({
    name: "failing",
    payload: emptyPayload,
    run: async (_payload, { call }) => {
      await call("select $1::text::int", [word]);
      return { rows: 0 };
    },
  });
  const withPgClient = async (work: (client: unknown) => Promise<unknown>) => {
    const client = await database.pool.connect();
    try {
      return await work(client);
    } finally {
      client.release();
    }
  };
  const helpers = { withPgClient, logger: { info() {} }, abortSignal: new AbortController().signal };
  const error = await (task({}, helpers as never) as Promise<unknown>).then(
    () => undefined,
    (failed: Error) => failed,
  );
  expect(error?.message).toBe('error: invalid input syntax for type integer: "…" [22P02]');
  expect(`${error?.stack}`).not.toContain(word);
  expect(await database.value("select error from monitor.run where task = 'failing'")).toBe(error?.message);
});
