import type pg from "pg";
import type { GraphQLInputType, GraphQLObjectType, GraphQLOutputType, GraphQLSchema } from "postgraphile/graphql";
import {
  getNamedType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  isObjectType,
} from "postgraphile/graphql";
import type { Random } from "../../src/simulator/random.ts";

/*
 * Hostile values: of each SQL type for calls of functions, of each GraphQL type for documents, and messages for
 * track.ingest. Each is drawn from a seeded generator, so that a finding can be repeated.
 */

export const pick = <T>(random: Random, list: readonly T[]): T => list[Math.floor(random.uniform() * list.length)] as T;

const long = (length: number): string => "ab".repeat(length / 2);

/** Names of objects, and other texts. */
const texts = (names: readonly string[]): readonly string[] => [
  ...names,
  ...names,
  "",
  " ",
  "x",
  "'; drop table track.event; --",
  '"',
  "$$",
  "\\",
  "%s%n%1$s",
  "null",
  "-1",
  "NaN",
  "1e999",
  "\u0001\t\n",
  "\u202eabc",
  "e\u0301",
  "😀",
  "{}",
  "[]",
  "{a,b}",
  "a,b",
  "a.b.c",
  "pg_catalog.pg_authid",
  "public.missing",
  "select 1",
  "(select 1)",
  "pg_sleep(10)",
  "../../etc/passwd",
  ".*",
  "(a+)+$",
  long(10_000),
  long(100_000),
  "(".repeat(10_000),
  "[".repeat(100_000),
];

const doubles = ["NaN", "Infinity", "-Infinity", "0", "-0", "1", "-1", "0.5", "1e308", "-1e308", "5e-324", "1e15", "3"];
const times = [
  "infinity",
  "-infinity",
  "epoch",
  "now",
  "4714-01-01 00:00:00 BC",
  "294276-12-31 23:59:59.999999",
  "0001-01-01",
  "2026-02-01",
  "2026-02-28",
];
const documents = [
  "null",
  "0",
  '"x"',
  "[]",
  "{}",
  "[null]",
  "[[]]",
  "[1e400]",
  '{"a": 1}',
  '{"since": "-28 days"}',
  '[{"type": "track", "event": "x", "anonymousId": "b"}]',
  `${"[".repeat(5000)}${"]".repeat(5000)}`,
  `[${"0,".repeat(50_000)}0]`,
  `{"${long(10_000)}": "${long(10_000)}"}`,
];

/** As values; JavaScript writes no more levels, and no greater numbers. */
const parsed: readonly unknown[] = documents
  .filter((text) => !text.includes("1e400") && !text.startsWith("[[[["))
  .map((text) => JSON.parse(text));

/** Literals of a SQL type, as text that is cast to it. */
function literals(type: string, names: readonly string[]): readonly (string | null)[] {
  switch (type) {
    case "text":
      return texts(names);
    case "name":
      return names.map((name) => name.slice(0, 60));
    case "smallint":
      return ["0", "1", "-1", "32767", "-32768"];
    case "integer":
      return ["0", "1", "1", "2", "3", "-1", "10", "1000", "2147483647", "-2147483648"];
    case "bigint":
      return ["0", "1", "2", "3", "-1", "4096", "9223372036854775807", "-9223372036854775808"];
    case "double precision":
    case "real":
      return doubles.filter((value) => type !== "real" || !/e(308|-324)/.test(value));
    case "numeric":
      return [...doubles, "1e1000", "1e-1000"];
    case "boolean":
      return ["true", "false"];
    case "timestamp with time zone":
      return times;
    case "date":
      return ["infinity", "-infinity", "4714-01-01 BC", "5874897-12-31", "0001-01-01", "2026-02-01", "2026-02-28"];
    case "interval":
      return [
        "0",
        "1 day",
        "-1 day",
        "1 microsecond",
        "178000000 years",
        "-178000000 years",
        "1 mon -1 day",
        "30 days",
      ];
    case "uuid":
      return ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"];
    case "json":
    case "jsonb":
      return documents;
    case "bytea":
      return ["", "\\x00", `\\x${"ff".repeat(100_000)}`];
    case "regclass":
      return ["lab.houses", "track.event", "pg_catalog.pg_authid", "pg_catalog.pg_class"];
    case "vector":
      return ["[0]", "[1,2,3]", "[-1,1]", `[${"1,".repeat(15_999)}1]`];
    case "bit":
      return ["", "0", "1", "10".repeat(50_000)];
    default:
      return [null];
  }
}

/** A literal of a SQL type, an array of them, or null. */
export function literal(random: Random, type: string, names: readonly string[]): string | null {
  if (random.uniform() < 0.08) return null;
  if (!type.endsWith("[]")) return pick(random, literals(type, names));
  const shape = random.uniform();
  if (shape < 0.1) return "{}";
  if (shape < 0.15) return "{NULL}";
  const element = type.slice(0, -2);
  const one = (): string => {
    const value = pick(random, literals(element, names));
    return value === null || random.uniform() < 0.05 ? "NULL" : `"${value.replaceAll(/["\\]/g, "\\$&")}"`;
  };
  if (shape < 0.2) return `{{${one()},${one()}},{${one()},${one()}}}`;
  // Long, of one short value.
  if (shape < 0.25) {
    const value = one();
    if (value.length < 50) return `{${`${value},`.repeat(20_000)}${value}}`;
  }
  return `{${Array.from({ length: 1 + Math.floor(random.uniform() * 4) }, one).join(",")}}`;
}

const scalars = (name: string, names: readonly string[]): readonly unknown[] => {
  switch (name) {
    case "Int":
      return [0, 1, 2, 10, -1, 2_147_483_647, -2_147_483_648, 1e10, 0.5, "1", null];
    case "Float":
      return [0, 1, 0.5, -1, 1e308, 5e-324, "NaN", null];
    case "BigInt":
      return ["0", "1", "-1", "9223372036854775807", "99999999999999999999", "x", 1, null];
    case "BigFloat":
      return ["NaN", "Infinity", "1e1000", "0", "x", null];
    case "Boolean":
      return [true, false, "true", null];
    case "Datetime":
    case "Date":
      return [...times, "soon", "", "now\u0000", 5, null];
    case "UUID":
      return ["x", "00000000-0000-0000-0000-000000000000", null];
    case "JSON":
      return [...parsed, `${"[".repeat(300)}${"]".repeat(300)}`, "x", "{"];
    case "Cursor":
    case "ID":
      return ["x", "", Buffer.from('["natural",1]').toString("base64"), Buffer.from("[[[").toString("base64"), 1, null];
    default:
      return [...texts(names), "\u0000", "\ud800", "\udc00".repeat(10_000), 1, true, null];
  }
};

function input(random: Random, type: GraphQLInputType, names: readonly string[]): unknown {
  if (isNonNullType(type)) return input(random, type.ofType, names);
  if (isListType(type)) {
    if (random.uniform() < 0.1) return pick<unknown>(random, [[], [null], null, "x"]);
    return Array.from({ length: 1 + Math.floor(random.uniform() * 3) }, () => input(random, type.ofType, names));
  }
  if (isInputObjectType(type)) {
    const fields = Object.values(type.getFields()).filter(
      (field) => isNonNullType(field.type) || random.uniform() < 0.4,
    );
    return Object.fromEntries(fields.map((field) => [field.name, input(random, field.type, names)]));
  }
  if (isEnumType(type)) return random.uniform() < 0.9 ? pick(random, type.getValues()).name : "NONE";
  return pick(random, scalars(type.name, names));
}

export interface Operation {
  query: string;
  variables: Record<string, unknown>;
}

/** A document of the schema: fields with hostile arguments, aliases, fragments and directives, at times not valid. */
export function operation(
  random: Random,
  schema: GraphQLSchema,
  kind: "query" | "mutation",
  names: readonly string[],
): Operation {
  const root = (kind === "query" ? schema.getQueryType() : schema.getMutationType()) as GraphQLObjectType;
  const declared: string[] = [];
  const variables: Record<string, unknown> = {};
  const fragments: string[] = [];
  let budget = 30;

  const selection = (output: GraphQLOutputType, depth: number): string => {
    const type = getNamedType(output);
    if (!isObjectType(type)) return "";
    const all = Object.values(type.getFields());
    const leaves = all.filter(({ type: inner }) => !isObjectType(getNamedType(inner)));
    const chosen = Array.from({ length: 1 + Math.floor(random.uniform() * 3) }, () =>
      pick(random, depth > 0 && random.uniform() < 0.6 ? all : leaves.length > 0 ? leaves : all),
    );
    const body = chosen
      .map((field) => {
        budget -= 1;
        if (budget < 0) return "__typename";
        return call(field, depth - 1);
      })
      .join(" ");
    if (random.uniform() < 0.1) {
      const name = `F${fragments.length}`;
      fragments.push(`fragment ${name} on ${type.name} { ${body} }`);
      return `{ ...${name} ...${name} }`;
    }
    return `{ __typename ${body} }`;
  };

  const call = (field: ReturnType<GraphQLObjectType["getFields"]>[string], depth: number): string => {
    const passed = field.args
      .filter(({ type }) => isNonNullType(type) || random.uniform() < 0.4)
      .map(({ name, type }) => {
        const variable = `v${declared.length}`;
        declared.push(`$${variable}: ${type}`);
        variables[variable] = input(random, type, names);
        return `${name}: $${variable}`;
      });
    const alias = random.uniform() < 0.2 ? `a${Math.floor(random.uniform() * 3)}: ` : "";
    const directive = random.uniform() < 0.05 ? pick(random, [" @include(if: true)", " @skip(if: false)", " @x"]) : "";
    const isLeaf = !isObjectType(getNamedType(field.type));
    const inner = isLeaf ? "" : depth > 0 ? selection(field.type, depth) : "{ __typename }";
    return `${alias}${field.name}${passed.length > 0 ? `(${passed.join(", ")})` : ""}${directive} ${inner}`;
  };

  const count = kind === "mutation" ? 1 : 1 + Math.floor(random.uniform() * 2);
  const body = Array.from({ length: count }, () => call(pick(random, Object.values(root.getFields())), 4)).join(" ");
  const head = declared.length > 0 ? `${kind} (${declared.join(", ")})` : kind;
  let query = [`${head} { ${body} }`, ...fragments].join("\n");
  if (random.uniform() < 0.1) {
    const place = Math.floor(random.uniform() * query.length);
    const damage = pick(random, ["", "{", "}", '"', "\u0000", "$", "...", "@", "\ud800", "#"]);
    query = query.slice(0, place) + damage + query.slice(place + Math.floor(random.uniform() * 3));
  }
  return { query, variables };
}

const members = [
  "type",
  "event",
  "userId",
  "anonymousId",
  "messageId",
  "timestamp",
  "sentAt",
  "originalTimestamp",
  "properties",
  "traits",
  "context",
  "integrations",
  "previousId",
  "groupId",
  "name",
  "category",
  "channel",
];

const properties = [
  "item",
  "itemKind",
  "itemTitle",
  "parent",
  "url",
  "viewId",
  "interval",
  "servingId",
  "rating",
  "value",
  "topic",
  "path",
  "referrer",
  "title",
  "consent",
  "categoryPreferences",
  "page",
  "userAgent",
  "ip",
  "traits",
  "birthday",
  "email",
];

const kinds = ["track", "page", "screen", "identify", "alias", "group", "delete", "", null, 7];

const events = [
  "Page Viewed",
  "Heartbeat",
  "Course Enrolled",
  "Course Dismissed",
  "Course Rated",
  "Item Liked",
  "Recommendation Clicked",
  "Segment Consent Preference Updated",
  "consent_preferences",
];

/** A message in Segment's form, or something like one. */
export function message(random: Random, names: readonly string[]): unknown {
  if (random.uniform() < 0.03) return pick<unknown>(random, [null, 0, "x", [], {}, [[]], true]);
  const value = (depth: number): unknown => {
    const shape = random.uniform();
    if (depth > 0 && shape < 0.15) return [value(depth - 1), value(depth - 1)];
    if (depth > 0 && shape < 0.3) return { [pick(random, properties)]: value(depth - 1) };
    if (shape < 0.6) return pick(random, scalars("String", names));
    return pick<unknown>(random, [0, -1, 1e308, 1e-320, true, null, ...times, ...names]);
  };
  const object = (): unknown =>
    random.uniform() < 0.1
      ? value(1)
      : Object.fromEntries(
          Array.from({ length: Math.floor(random.uniform() * 5) }, () => [pick(random, properties), value(2)]),
        );
  const said: Record<string, unknown> = {
    type: pick(random, kinds),
    event: random.uniform() < 0.8 ? pick(random, events) : value(1),
    messageId: `f${random.bits()}`,
  };
  said[random.uniform() < 0.5 ? "userId" : "anonymousId"] = random.uniform() < 0.8 ? pick(random, names) : value(1);
  for (const member of members) {
    if (random.uniform() < 0.2) {
      said[member] = /^(properties|traits|context|integrations)$/.test(member) ? object() : value(1);
    }
  }
  return said;
}

/** A role that calls functions, and the settings of its requests. */
export interface Caller {
  role: "visitor" | "learner" | "instructor" | "analyst" | "admin" | "worker";
  person?: string;
}

export interface Finding {
  call: string;
  reason: string;
}

export interface Tally {
  tried: number;
  /** Calls that ended with a code CF, or that the caller may not make. */
  refused: number;
  /** Calls that were stopped after their time. */
  stopped: number;
  slowest: { call: string; milliseconds: number };
  findings: Finding[];
}

export const emptyTally = (): Tally => ({
  tried: 0,
  refused: 0,
  stopped: 0,
  slowest: { call: "", milliseconds: 0 },
  findings: [],
});

const isAnonymous = ({ role }: Caller): boolean => role === "visitor" || role === "learner";

/** Errors that a caller may get for arguments: codes CF, no permission, and those of casts. */
const expected = /^(CF\d{3}|42501|22P02|22007|22008)$/;

/** The sum of products of the caller's own numbers may be out of the range of double precision. */
const overflowing =
  /^ml\.(linregr|logregr|mlogregr|coxph|glm|elastic_net)(_gaussian|_binomial)?_(predict|predict_prob|prob)$/;

/** Helpers have requirements that their callers meet: any error of arguments, but none of the server. */
const expectedOfHelper = /^(CF|0A|21|22|2F|23|34|42|P0)|^54[0-9]{3}$|^55000$/;

const shorten = (values: readonly (string | null)[]): string =>
  JSON.stringify(values.map((value) => (value !== null && value.length > 80 ? `${value.slice(0, 80)}…` : value)));

interface Signature {
  name: string;
  types: string[];
}

/**
 * Calls functions of the rooms as a role, with hostile arguments, for `count` calls. Each call is rolled back. A finding
 * is another error, a lost connection, a value in the answer that only another person's data contain
 * (`foreign`), or a call of a visitor or learner that does not end in `limit` milliseconds.
 */
export async function fuzzFunctions(
  pool: pg.Pool,
  random: Random,
  caller: Caller,
  { count, names, foreign, limit = 5000 }: { count: number; names: string[]; foreign: string[]; limit?: number },
): Promise<Tally> {
  const tally = emptyTally();
  const role = `insights_${caller.role}`;
  const { rows } = await pool.query<Signature>(
    `select procedure.oid::regproc::text as name,
       array(
         select format_type(type, null) from unnest(procedure.proargtypes) with ordinality as argument (type, n) order by n
       )::text[] as types
     from pg_catalog.pg_proc as procedure
     join pg_catalog.pg_namespace as namespace on namespace.oid = procedure.pronamespace
     where namespace.nspname = any ($1)
       and has_function_privilege($2, procedure.oid, 'execute')
       and procedure.prokind = 'f'
       and procedure.prorettype <> 'trigger'::regtype
       -- It raises what it is given.
       and procedure.oid <> 'common.refuse(text, text, text)'::regprocedure
       and not exists (
         select from unnest(procedure.proargtypes) as type
         where type in ('internal'::regtype, 'anyarray'::regtype, 'anyelement'::regtype)
       )
     order by procedure.oid::regprocedure::text`,
    [["common", "ml", "privacy", "track", "experiment", "analytics", "recommend", "monitor"], role],
  );
  for (let number = 0; number < count; number++) {
    const { name, types } = pick(random, rows);
    const values = types.map((type) => literal(random, type, names));
    const isHelper = name.includes("._");
    const call = `${name}${shorten(values)}`;
    const client = await pool.connect();
    const begin = performance.now();
    let broken: Error | undefined;
    const lost = (error: Error): void => {
      broken = error;
    };
    client.on("error", lost);
    try {
      await client.query("begin");
      await client.query("select set_config(name, value, true) from json_each_text($1) as setting (name, value)", [
        JSON.stringify({ statement_timeout: String(limit), role, "insights.person": caller.person ?? "" }),
      ]);
      if (caller.person !== undefined) await client.query("select track.sign_in()");
      const cast = types.map((type, index) => `$${index + 1}::text::${type}`).join(", ");
      const answer = await client.query(
        `select to_json(answer)::text as answer from ${name}(${cast}) as answer limit 1000`,
        values,
      );
      const text = answer.rows.map((row: { answer: string }) => row.answer).join("\n");
      const leaked = foreign.find((value) => text.includes(value));
      if (leaked !== undefined) tally.findings.push({ call, reason: `the answer contains "${leaked}"` });
    } catch (error) {
      const code = error instanceof Error && "code" in error ? String(error.code) : "";
      const message = error instanceof Error ? error.message.slice(0, 200) : String(error);
      if (code === "57014") {
        tally.stopped += 1;
        if (isAnonymous(caller) && !isHelper) tally.findings.push({ call, reason: `did not end in ${limit} ms` });
      } else if ((isHelper ? expectedOfHelper : expected).test(code)) tally.refused += 1;
      else if (code === "22003" && overflowing.test(name)) tally.refused += 1;
      else tally.findings.push({ call, reason: `${code} ${message}` });
    }
    const milliseconds = performance.now() - begin;
    if (isAnonymous(caller) && !isHelper && milliseconds > tally.slowest.milliseconds)
      tally.slowest = { call, milliseconds };
    await client.query("rollback").catch((error: Error) => {
      broken = error;
    });
    if (broken !== undefined) tally.findings.push({ call, reason: `the connection was lost: ${broken.message}` });
    client.off("error", lost);
    client.release(broken);
    tally.tried += 1;
  }
  return tally;
}

/** Names in the platform of makeWorld, and in the table of the tests. */
export const names = [
  "ada",
  "ben",
  "browser of ada",
  "course-algebra",
  "course",
  "Page Viewed",
  "personalization",
  "analytics",
  "signed_in",
  "lab.houses",
  "price",
  "id",
  "plan",
];

/** Values in the data of others, which a role may not see; analysts, admins and workers see them. */
export const foreign = (role: Caller["role"]): string[] =>
  role === "visitor" || role === "learner" || role === "instructor"
    ? ["plan of ben", "plan of cleo", "browser of ben", "browser of cleo"]
    : [];

interface Sending {
  post(body: string, headers?: Record<string, string>): Promise<Response>;
  token(role: Caller["role"], person?: string): Promise<string>;
  schema: GraphQLSchema;
  names: string[];
}

async function headersOf(who: string, { token }: Sending): Promise<[Caller["role"], Record<string, string>]> {
  const [role, person] = who.split(":") as [Caller["role"], string | undefined];
  return [role, role === "visitor" ? {} : { authorization: `Bearer ${await token(role, person)}` }];
}

/** Sends documents. A finding is an internal error, an answer that is not JSON, or another person's data. */
export async function fuzzDocuments(random: Random, who: string, sending: Sending, count: number): Promise<Tally> {
  const tally = emptyTally();
  const [role, headers] = await headersOf(who, sending);
  for (let number = 0; number < count; number++) {
    const kind = random.chance(0.7) ? "query" : "mutation";
    const body = operation(random, sending.schema, kind, sending.names);
    const call = JSON.stringify(body).slice(0, 500);
    const begin = performance.now();
    const response = await sending.post(JSON.stringify(body), headers);
    const text = await response.text();
    const milliseconds = performance.now() - begin;
    if (milliseconds > tally.slowest.milliseconds) tally.slowest = { call, milliseconds };
    tally.tried += 1;
    if (text.includes('"errors"')) tally.refused += 1;
    if (response.status >= 500 || text.includes('"XX000"')) {
      tally.findings.push({ call, reason: `${response.status} ${text.slice(0, 300)}` });
    }
    const leaked = foreign(role).find((value) => text.includes(value) && !call.includes(value));
    if (leaked !== undefined) tally.findings.push({ call, reason: `the answer contains "${leaked}"` });
  }
  return tally;
}

const ingest =
  "mutation ($batch: JSON!) { trackIngest(input: {batch: $batch}) { result { accepted duplicates rejected errors } } }";

/** Sends batches of messages. Each message is accepted, a duplicate or rejected; no batch is lost for one of them. */
export async function fuzzMessages(random: Random, who: string, sending: Sending, count: number): Promise<Tally> {
  const tally = emptyTally();
  const [, headers] = await headersOf(who, sending);
  for (let number = 0; number < count; number++) {
    const batch = Array.from({ length: random.integer(1, 20) }, () => message(random, sending.names));
    const body = JSON.stringify({ query: ingest, variables: { batch } });
    // A visitor may send 512,000 bytes.
    if (body.length > 400_000) continue;
    const response = await sending.post(body, headers);
    const text = await response.text();
    tally.tried += 1;
    const { data, errors } = JSON.parse(text);
    const result = data?.trackIngest?.result;
    const sum = (result?.accepted ?? 0) + (result?.duplicates ?? 0) + (result?.rejected ?? 0);
    if (errors !== undefined || sum !== batch.length) {
      tally.findings.push({ call: body.slice(0, 2000), reason: `${response.status} ${text.slice(0, 300)}` });
    }
  }
  return tally;
}
