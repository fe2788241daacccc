import { expect, test } from "vitest";
import { testDatabase } from "../support/database.ts";

const database = await testDatabase();

test("null for each argument of a public function is an error of its own, or no error", async () => {
  const functions = await database.rows<{ call: string }>(`
    select format(
      '%I.%I(%s)',
      namespace.nspname,
      procedure.proname,
      (
        select string_agg('null::' || format_type(argument.type, null), ', ' order by argument.number)
        from unnest(procedure.proargtypes) with ordinality as argument (type, number)
      )
    ) as call
    from pg_catalog.pg_proc as procedure
    join pg_catalog.pg_namespace as namespace on namespace.oid = procedure.pronamespace
    where namespace.nspname in ('common', 'ml', 'privacy', 'track', 'experiment', 'analytics', 'recommend', 'monitor')
      and procedure.proname !~ '^_'
      and procedure.prokind = 'f'
      and procedure.pronargs > 0
      and procedure.prorettype <> 'trigger'::regtype
      -- It raises what it is given.
      and procedure.oid <> 'common.refuse(text, text, text)'::regprocedure
      and not exists (
        select
        from unnest(procedure.proargtypes) as type
        where type in ('internal'::regtype, 'anyarray'::regtype, 'anyelement'::regtype)
      )
  `);
  expect(functions.length).toBeGreaterThan(150);
  const raw: string[] = [];
  await database.as("postgres", {}, async (db) => {
    for (const { call } of functions) {
      const error = await db.rejects(
        `do $do$ begin perform * from ${call}; raise exception using errcode = 'CF999'; end; $do$`,
      );
      if (!error.code?.startsWith("CF")) raw.push(`${call}: ${error.code} ${error.message}`);
    }
  });
  expect(raw, raw.join("\n")).toEqual([]);
});
