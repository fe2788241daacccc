import { describe, expect, test } from "vitest";
import { rooms } from "../../src/database/catalogue.ts";
import { testDatabase } from "../support/database.ts";

const database = await testDatabase();

/** Whether the text shows more than 100 characters of the value, which is one letter repeated. */
const shows = (text: string | undefined): boolean => /z{101}/i.test(text ?? "");

interface Argument {
  name: string;
  type: string;
}

interface Granted {
  name: string;
  role: string;
  arguments: Argument[];
}

const granted = (
  await database.rows<Granted>(`
    with room as (${rooms})

    select
      format('%I.%I', room.nspname, function.proname) as name,
      -- The one with the most rights, so that nothing stops before it has looked at its arguments.
      (
        select candidate.role
        from unnest(array['insights_admin', 'insights_worker', 'insights_analyst', 'insights_instructor', 'insights_learner', 'insights_visitor'])
          with ordinality as candidate (role, rank)
        where has_function_privilege(candidate.role, function.oid, 'execute')
        order by candidate.rank
        limit 1
      ) as role,
      (
        select jsonb_agg(jsonb_build_object(
          'name', coalesce(function.proargnames[argument.place], ''),
          'type', format_type(argument.type, null)
        ) order by argument.place)
        from unnest(function.proargtypes::oid[]) with ordinality as argument (type, place)
      ) as arguments
    from pg_catalog.pg_proc as function
    join room on room.oid = function.pronamespace
    where function.prokind = 'f'
    order by 1, function.oid
  `)
).filter(({ role }) => role !== null);

const isText = ({ type }: Argument): boolean => ["text", "text[]", "jsonb", "json"].includes(type);

/** A value of another argument with which the function reaches the tested one. */
function plausible({ name, type }: Argument): string {
  if (type === "text") {
    if (/output|out_table|into|model_table|result/.test(name)) return "'probe_out'";
    if (/table|source|relation/.test(name)) return "'public.probe'";
    if (/depend|actual|observ|label|target|outcome/.test(name)) return "'y'";
    if (/bucket/.test(name)) return "'day'";
    return "'x'";
  }
  if (type === "text[]") return "array['x']";
  if (type === "jsonb") return `'{"x": 1}'`;
  if (type === "integer" || type === "bigint" || type === "double precision") return "1";
  if (type === "boolean") return "true";
  if (type === "timestamp with time zone") return /until/.test(name) ? "now()" : "now() - interval '1 day'";
  if (type === "interval") return "'1 day'";
  if (type === "regclass") return "'public.probe'";
  return "null";
}

const long: Record<string, string[]> = {
  text: ["repeat('z', 100000)", "repeat('z,', 50000)"],
  "text[]": ["array[repeat('z', 100000)]", "array_fill('z'::text, array[100000])"],
  jsonb: [
    "to_jsonb(repeat('z', 100000))",
    "jsonb_build_object(repeat('z', 100000), 1)",
    "(select jsonb_object_agg('z' || i, 1) from generate_series(1, 50000) as i)",
    "(repeat('[', 1000) || repeat(']', 1000))::jsonb",
  ],
  json: ["to_json(repeat('z', 100000))"],
};

describe("a hostile value", () => {
  const tried = granted.filter((one) => one.arguments?.some(isText));

  test("there are functions to test", () => {
    expect(tried.length).toBeGreaterThan(100);
  });

  test.each(tried.map((one) => [`${one.name}(${one.arguments.map(({ type }) => type).join(", ")})`, one] as const))(
    "%s shows at most 100 characters of it",
    async (_, { name, role, arguments: all }) => {
      // One argument at a time, then all at once.
      const calls = [all.map((one) => (isText(one) ? long[one.type]?.[0] : plausible(one))).join(", ")];
      for (const [place, argument] of all.entries()) {
        for (const value of isText(argument) ? (long[argument.type] ?? []) : []) {
          calls.push(all.map((other, index) => (index === place ? value : plausible(other))).join(", "));
        }
      }
      const offenders: string[] = [];
      await database.as("postgres", {}, async (db) => {
        await db.query("create table public.probe as select i as x, i % 2 as y from generate_series(1, 20) as i");
        await db.query(`grant select on public.probe to ${role}`);
        await db.query(
          "create schema attempt; grant all on schema attempt to public; set local search_path to attempt, public",
        );
        // No call comes near it, also on a busy machine, unless it grows faster than the value.
        await db.query("set local statement_timeout = '60s'");
        await db.query(`set local role ${role}`);
        for (const values of calls) {
          await db.query("savepoint attempt");
          const error = await db
            .query(`select ${name}(${values})`)
            .then(() => undefined)
            .catch((failure: { code?: string; message: string; detail?: string; hint?: string }) => failure);
          await db.query("rollback to savepoint attempt");
          if (error === undefined) continue;
          const { code, message, detail, hint } = error;
          if (
            code?.startsWith("XX") ||
            code === "57014" ||
            [message, detail, hint].some(shows) ||
            message.length > 400 ||
            (hint ?? "").length > 1000
          ) {
            offenders.push(`${values.slice(0, 200)}: ${code} ${message.slice(0, 150)} … hint ${hint?.length}`);
          }
        }
      });
      expect(offenders).toEqual([]);
    },
  );
});
