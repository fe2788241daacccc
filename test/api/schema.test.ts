import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { buildSchema } from "postgraphile/graphql";
import { expect, test, vi } from "vitest";
import { describeApi } from "../../src/api/schema.ts";
import { packageRoot } from "../../src/paths.ts";
import { testDatabase } from "../support/database.ts";

const database = await testDatabase();
const committed = join(packageRoot, "schema.graphql");

const said = [vi.spyOn(console, "warn"), vi.spyOn(console, "error"), vi.spyOn(console, "log")];
const schema = await describeApi(database.pool);
const complaints = said.flatMap((spy) => spy.mock.calls.map((call) => call.join(" ")));
for (const spy of said) spy.mockRestore();

test("the schema is built without a warning", () => {
  expect(complaints).toEqual([]);
});

test("schema.graphql is the schema of the API (npm run schema writes it)", async () => {
  if (process.env["INSIGHTS_WRITE_SCHEMA"]) await writeFile(committed, schema);
  expect(schema).toBe(await readFile(committed, "utf8"));
});

test("partitions that are created later do not change it", async () => {
  await database.query("select track.make_partitions('2020-01-01', '2020-03-01')");
  expect(await describeApi(database.pool)).toBe(schema);
});

test("without the foreign keys of big tables, which a distributed database does not have, it is the same", async () => {
  const keys = await database.rows<{ alter: string }>(
    `select format('alter table %s drop constraint %I', reference.conrelid::regclass, reference.conname) as alter
     from pg_constraint as reference
     join track.distribution as entry on to_regclass(format('%I.%I', entry.schema_name, entry.table_name)) = reference.conrelid
     where reference.contype = 'f'`,
  );
  expect(keys.length).toBeGreaterThan(5);
  for (const { alter } of keys) await database.query(alter);
  expect(await describeApi(database.pool)).toBe(schema);
});

test("every function that a role of the API may execute is a field, unless its tag excludes it", async () => {
  const functions = await database.rows<{ room: string; name: string; comment: string; volatile: boolean }>(
    `select
       namespace.nspname as room,
       proc.proname as name,
       coalesce(obj_description(proc.oid, 'pg_proc'), '') as comment,
       proc.provolatile = 'v' as volatile
     from pg_proc as proc
     join pg_namespace as namespace on namespace.oid = proc.pronamespace
     where namespace.nspname in ('ml', 'privacy', 'track', 'experiment', 'analytics', 'recommend', 'monitor')
       and not starts_with(proc.proname, '_')
       and proc.prokind = 'f'
       and proc.prorettype <> 'trigger'::regtype
       -- Vectors stay behind functions.
       and not exists (
         select
         from unnest(proc.proargtypes::oid[] || coalesce(proc.proallargtypes, '{}') || proc.prorettype) as mentioned (type_id)
         join pg_type as type on type.oid = mentioned.type_id
         left join pg_type as element on element.oid = type.typelem
         left join pg_attribute as attribute on attribute.attrelid = coalesce(nullif(element.typrelid, 0), nullif(type.typrelid, 0))
         where 'vector' in (type.typname, element.typname, format_type(attribute.atttypid, null), split_part(format_type(attribute.atttypid, null), '.', 2))
       )
       and exists (
         select
         from unnest(array['insights_visitor', 'insights_learner', 'insights_instructor', 'insights_analyst', 'insights_admin', 'insights_worker']) as role
         where has_function_privilege(role, proc.oid, 'execute')
       )
     order by 1, 2`,
  );
  const { _fields: query } = { _fields: buildSchema(schema).getQueryType()?.getFields() ?? {} };
  const mutation = buildSchema(schema).getMutationType()?.getFields() ?? {};
  const camel = (name: string): string => name.replace(/_+(\w)/g, (_, letter: string) => letter.toUpperCase());

  const missing = functions.filter(({ room, name, comment, volatile }) => {
    const tag = /^@behavior (.*)$/m.exec(comment)?.[1] ?? "";
    const isQuery = volatile ? tag.includes("+queryField") : !/-queryField|-\*/.test(tag);
    const isMutation = volatile && !/-mutationField|-\*/.test(tag);
    const field = camel(`${room}_${name}`);
    return (isQuery && !(field in query)) || (isMutation && !(field in mutation));
  });
  expect(missing.map(({ room, name }) => `${room}.${name}`)).toEqual([]);
  expect(functions.length).toBeGreaterThan(30);
});

test("objects without a grant are not in it: no secret, no raw message, no private function", () => {
  expect(schema).not.toMatch(/recommendSecret|trackMessage\b|TrackParsedMessage|graphileWorker/i);
  expect(
    Object.keys(buildSchema(schema).getQueryType()?.getFields() ?? {}).filter((name) => name.includes("_")),
  ).toEqual([]);
});
