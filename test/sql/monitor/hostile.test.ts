import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";

/*
 * Each public function of the room with each hostile value in the place of each argument, by those who may call it: a
 * clear error or an answer, no internal error and no long value in a message. Other roles may call none of them.
 */
const database = await testDatabase();

const long = `repeat('x', 100000)`;
const hostile: Record<string, string[]> = {
  text: ["null", "''", long, "'é😀'", "E'\\n'", "'../../etc'", "'{0,1}'", "'course; drop table ml.model'", "'%s'"],
  integer: ["null", "0", "-1", "2147483647", "-2147483648"],
  bigint: ["null", "0", "-1", "9223372036854775807", "-9223372036854775808"],
  smallint: ["null", "0", "-1", "32767"],
  boolean: ["null"],
  "double precision": ["null", "'NaN'", "'Infinity'", "'-Infinity'", "1e308", "-1e308", "1e-320", "0"],
  numeric: ["null", "'NaN'", "'Infinity'", "1e1000", "-1"],
  interval: [
    "null",
    "'0'",
    "'-1 day'",
    "'178000000 years'",
    "'-178000000 years'",
    "'1 microsecond'",
    "interval '1 month' - interval '31 days'",
  ],
  "timestamp with time zone": [
    "null",
    "'infinity'",
    "'-infinity'",
    "'4713-01-01 00:00Z BC'",
    "'294276-12-31 23:59Z'",
    "'1970-01-01Z'",
  ],
  uuid: ["null", "'00000000-0000-0000-0000-000000000000'"],
  jsonb: ["null", "'null'", "'[]'", "'{}'", "'0'", `to_jsonb(${long})`, `'{"": {"": [null]}}'`, "'[[[[[[[[]]]]]]]]'"],
  "text[]": [
    "null",
    "'{}'",
    "array[null]::text[]",
    `array[${long}]`,
    "array_fill('x'::text, array[100000])",
    "'{{a},{b}}'",
  ],
  "double precision[]": ["null", "'{}'", "'{NaN}'", "'{Infinity,-Infinity}'", "array_fill(1::float8, array[100000])"],
};
/** A value that passes, for arguments that have no default. */
const valid: Record<string, string> = {
  text: "'refresh'",
  integer: "1",
  bigint: "1",
  boolean: "true",
  "double precision": "1",
  interval: "'1 day'",
  "timestamp with time zone": "now()",
  jsonb: "'{}'",
  "text[]": "'{}'",
  uuid: "gen_random_uuid()",
};

interface Argument {
  name: string;
  type: string;
  has_default: boolean;
}
interface Called {
  name: string;
  arguments: Argument[];
  roles: string[];
}

const functions = await database.rows<Called>(`
  select proname as name,
    coalesce((
      select jsonb_agg(
        jsonb_build_object('name', proargnames[n], 'type', format_type(type, null), 'has_default', n > pronargs - pronargdefaults)
        order by n
      )
      from unnest(proargtypes::oid[]) with ordinality as argument (type, n)
    ), '[]') as arguments,
    array(
      select role from unnest('{insights_admin,insights_worker,insights_analyst}'::text[]) as role
      where has_function_privilege(role, pg_proc.oid, 'execute')
    ) as roles
  from pg_proc
  where pronamespace = 'monitor'::regnamespace and proname !~ '^_' and prorettype <> 'trigger'::regtype
  order by proname`);

const call = (called: Called, changed?: [string, string]): string =>
  `select monitor.${called.name}(${called.arguments
    .filter(({ name, has_default }) => !has_default || name === changed?.[0])
    .map(({ name, type }) => {
      const value = name === changed?.[0] ? changed[1] : (valid[type] ?? "null");
      return `${name} => (${value})::${type}`;
    })
    .join(", ")})`;

/** The error of a statement whose effects are undone. */
async function outcome(db: Queries, sql: string): Promise<{ code: string; message: string; hint: string } | null> {
  await db.query("savepoint attempt");
  try {
    await db.query(sql);
    return null;
  } catch (error) {
    const { code, message, hint } = error as { code: string; message: string; hint?: string };
    return { code, message, hint: hint ?? "" };
  } finally {
    await db.query("rollback to attempt");
  }
}

test("there are functions to attack, and each type of an argument has hostile values", () => {
  expect(functions.length).toBeGreaterThan(30);
  const types = new Set(functions.flatMap((called) => called.arguments.map(({ type }) => type)));
  expect([...types].filter((type) => !(type in hostile) && !type.includes("."))).toEqual([]);
});

test.each(["insights_admin", "insights_worker", "insights_analyst"])(
  "hostile arguments of %s",
  { timeout: 600_000 },
  async (role) => {
    const findings: string[] = [];
    let refused = 0;
    await database.as(role, {}, async (db) => {
      for (const called of functions.filter(({ roles }) => roles.includes(role))) {
        for (const { name, type } of called.arguments) {
          for (const value of hostile[type] ?? ["null"]) {
            const sql = call(called, [name, value]);
            const error = await outcome(db, sql);
            if (error === null) continue;
            refused++;
            // A value that the type does not hold, such as a time beyond the calendar, is the caller's error too.
            if (!/^CF0|^22/.test(error.code)) findings.push(`${error.code} ${error.message.slice(0, 200)}: ${sql}`);
            if (`${error.message}${error.hint}`.length > 1000) findings.push(`long message: ${sql}`);
            if (error.message.includes("x".repeat(101))) findings.push(`long value: ${sql}`);
          }
        }
      }
    });
    expect(findings).toEqual([]);
    expect(refused).toBeGreaterThan(0);
  },
);

test.each(["insights_visitor", "insights_learner", "insights_instructor"])("%s may call none", async (role) => {
  await database.as(role, {}, async (db) => {
    for (const called of functions)
      expect(await outcome(db, call(called)), called.name).toMatchObject({ code: "42501" });
  });
});
