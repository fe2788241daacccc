import pg from "pg";
import { z } from "zod";
import type { Role } from "../api/authentication.ts";

/*
 * The tools of a role: the functions of the rooms that PostgreSQL lets it execute, and the API publishes. Name, description
 * and types of a tool are those of the function in the catalogue.
 */

export interface Tool {
  /** `<room>_<function>`: clients accept no dots. */
  name: string;
  /** The function, with its schema. */
  function: string;
  description: string;
  /** Whether it writes: such a tool exists with `--write` only. */
  writes: boolean;
  /** Whether it logs what it reads, so that its transaction may not be read-only. */
  logs: boolean;
  returnsNothing: boolean;
  arguments: z.ZodObject;
  /** The same for clients. */
  inputSchema: { type: "object"; [key: string]: unknown };
  /** The statement that calls it with these arguments, and its parameters. */
  call(given: Record<string, unknown>): { expression: string; values: unknown[] };
}

interface Argument {
  name: string;
  /** As `format_type` writes it. */
  type: string;
  /** Type of the elements of an array. */
  element: string | null;
  labels: string[] | null;
  default: string | null;
}

interface Found {
  room: string;
  name: string;
  comment: string;
  volatile: boolean;
  nothing: boolean;
  arguments: Argument[];
}

/**
 * Excluded are functions that the API cannot publish either: with arguments or results of the types of pgvector, of any
 * type, or (in arguments) of a composite type.
 */
const functions = `
with vector as (
  select oid from pg_catalog.pg_type where typname ~ '^_?(vector|halfvec|sparsevec)$'
), excluded as (
  select oid from vector
  union all
  select oid from pg_catalog.pg_type where typname ~ '^_?any' or typname in ('trigger', 'event_trigger', 'internal')
  union all
  select pg_class.reltype
  from pg_catalog.pg_attribute
  join pg_catalog.pg_class on pg_class.oid = pg_attribute.attrelid
  where pg_attribute.atttypid in (select oid from vector) and pg_class.reltype <> 0
)
select pg_namespace.nspname as room, pg_proc.proname as name, pg_proc.provolatile = 'v' as volatile,
  result.typname = 'void' as nothing,
  coalesce(pg_catalog.obj_description(pg_proc.oid, 'pg_proc'), '') as comment,
  coalesce(argument.list, '[]') as arguments
from pg_catalog.pg_namespace
join pg_catalog.pg_proc on pg_proc.pronamespace = pg_namespace.oid
join pg_catalog.pg_type as result on result.oid = pg_proc.prorettype
cross join lateral (
  select
    bool_or(
      type.oid in (select oid from excluded) or type.typtype in ('c', 'p') or coalesce(element.typtype in ('c', 'p'), false)
    ) as excluded,
    json_agg(json_build_object(
      'name', pg_proc.proargnames[given.place],
      'type', pg_catalog.format_type(type.oid, null),
      'element', case when element.oid is not null then pg_catalog.format_type(element.oid, null) end,
      'labels', (
        select json_agg(enumlabel order by enumsortorder) from pg_catalog.pg_enum where enumtypid = type.oid
      ),
      'default', case
        when given.place > pg_proc.pronargs - pg_proc.pronargdefaults
        then pg_catalog.pg_get_function_arg_default(pg_proc.oid, given.place::int)
      end
    ) order by given.place) as list
  from unnest(pg_proc.proargtypes) with ordinality as given (oid, place)
  join pg_catalog.pg_type as type on type.oid = given.oid
  left join pg_catalog.pg_type as element on element.typarray = type.oid
) as argument
where pg_namespace.nspname = any ($1)
  and pg_proc.prokind = 'f'
  and pg_proc.proname !~ '^_'
  and pg_proc.provariadic = 0
  and (pg_proc.pronargs = 0 or cardinality(pg_proc.proargnames) >= pg_proc.pronargs)
  and not exists (select from excluded where excluded.oid in (result.oid, result.typelem))
  and (result.typname <> 'record' or pg_proc.proargmodes is not null)
  and not coalesce(argument.excluded, false)
  and pg_catalog.has_schema_privilege($2, pg_namespace.oid, 'usage')
  and pg_catalog.has_function_privilege($2, pg_proc.oid, 'execute')
order by room, name`;

/** The values of a type, as JSON. */
function valuesOf(type: string, labels: readonly string[] | null): z.ZodType {
  if (labels !== null) return z.enum(labels as [string, ...string[]]);
  if (type === "boolean") return z.boolean();
  if (type === "smallint") return z.int().min(-32_768).max(32_767);
  if (type === "integer") return z.int32();
  if (type === "bigint") return z.union([z.int(), z.string().regex(/^-?\d{1,19}$/)]);
  if (/^(numeric|real|double precision)$/.test(type)) return z.number();
  if (/^jsonb?$/.test(type)) return z.json();
  return z.string();
}

/** How values of a type are written, where JSON has no type of its own. */
function formatOf(type: string): string | undefined {
  if (type.startsWith("timestamp")) return "ISO 8601, such as 2026-02-28T09:30:00Z";
  if (type === "date") return "such as 2026-02-28";
  if (type === "interval") return "such as 7 days, or PT1H";
  if (type === "regclass") return "a table or view, as schema.name";
  return undefined;
}

const numbers = /^(smallint|integer|numeric|real|double precision)$/;

function schemaOf({ type, element, labels, default: preset }: Argument): z.ZodType {
  let schema = valuesOf(type, labels);
  if (element !== null) {
    const single = valuesOf(element, null).nullable();
    // An array of PostgreSQL has any number of dimensions.
    schema = z.array(numbers.test(element) ? z.union([single, z.array(single)]) : single);
  }
  if (preset !== null) schema = (/^NULL\b/.test(preset) ? schema.nullable() : schema).optional();
  const notes = [formatOf(element ?? type), preset === null ? undefined : `default: ${preset}`];
  const description = notes.filter((note) => note !== undefined).join("; ");
  return description === "" ? schema : schema.describe(description);
}

/** JSON is sent as text, also within arrays; other values as they are. */
function parameterOf(value: unknown, { type, element }: Argument): unknown {
  if (/^jsonb?$/.test(type)) return JSON.stringify(value);
  if (element !== null && /^jsonb?$/.test(element) && Array.isArray(value))
    return value.map((each) => JSON.stringify(each));
  return value;
}

function toolOf({ room, name, comment, volatile, nothing, arguments: list }: Found): Tool | undefined {
  const lines = comment.trim().split("\n");
  const start = lines.findIndex((line) => !line.startsWith("@"));
  const tags = lines.slice(0, Math.max(start, 0)).join(" ").split(/\s+/);
  const isRead = !volatile || tags.includes("+queryField");
  if (tags.includes("-*") || tags.includes(isRead ? "-queryField" : "-mutationField")) return undefined;
  const called = `${pg.escapeIdentifier(room)}.${pg.escapeIdentifier(name)}`;
  const schema = z.strictObject(Object.fromEntries(list.map((argument) => [argument.name, schemaOf(argument)])));
  const { $schema: _, ...inputSchema } = z.toJSONSchema(schema, { io: "input" });
  return {
    name: `${room}_${name}`,
    function: `${room}.${name}`,
    description: lines.slice(start).join("\n").trim(),
    writes: !isRead,
    logs: isRead && volatile,
    returnsNothing: nothing,
    arguments: schema,
    inputSchema: { ...inputSchema, type: "object" },
    call(given) {
      const sent = list.filter(({ name: argument }) => given[argument] !== undefined);
      const named = sent.map(
        ({ name: argument, type }, index) => `${pg.escapeIdentifier(argument)} => $${index + 1}::${type}`,
      );
      return {
        expression: `${called}(${named.join(", ")})`,
        values: sent.map((argument) => parameterOf(given[argument.name], argument)),
      };
    },
  };
}

/** The tools of a role in these rooms. */
export async function readTools(
  client: Pick<pg.ClientBase, "query">,
  role: Role,
  { rooms, write }: { rooms: readonly string[]; write: boolean },
): Promise<ReadonlyMap<string, Tool>> {
  const { rows } = await client.query<Found>(functions, [rooms, `insights_${role}`]);
  const tools = rows.map(toolOf).filter((tool) => tool !== undefined);
  return new Map(tools.filter(({ writes }) => write || !writes).map((tool) => [tool.name, tool]));
}
