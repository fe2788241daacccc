import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  buildSchema,
  type GraphQLArgument,
  type GraphQLField,
  type GraphQLInputType,
  getNamedType,
  isEnumType,
  isInputObjectType,
  isLeafType,
  isListType,
  isNonNullType,
  isObjectType,
} from "postgraphile/graphql";
import { describe, expect, test, vi } from "vitest";
import { packageRoot } from "../../src/paths.ts";
import { testApi } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";
import { isFull } from "../support/runs.ts";
import { makeWorld } from "../support/world.ts";

/*
 * Every argument of every field with invalid values: the answer is never an internal error (XX000).
 */

const database = await testDatabase();
await makeWorld(database);
const { ask } = await testApi(database, {
  INSIGHTS_POOL_SIZE: "6",
  // A learner and a visitor would wait for their rates of requests.
  INSIGHTS_ADDRESS_RATE: "1000000",
  INSIGHTS_PERSON_RATE: "1000000",
});
const schema = buildSchema(await readFile(join(packageRoot, "schema.graphql"), "utf8"));

const cursor = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64");
const texts = ["", " ", "x", "\u0000", "\ud800", "%s%n", "'; --", "-1", "1e999", "x".repeat(10_000), "público"];
const values: Record<string, unknown[]> = {
  Int: [-1, 0, 2_147_483_647, -2_147_483_648],
  Float: [-1, 0, 1e308, -1e308, 5e-324],
  BigInt: ["-1", "0", "9223372036854775807", "99999999999999999999", "x", "1.5", ""],
  BigFloat: ["-1", "NaN", "Infinity", "1e1000", "x", ""],
  Boolean: [true, false],
  String: texts,
  Datetime: ["infinity", "-infinity", "0001-01-01", "294276-12-31", "300000-01-01", "soon", "", "now\u0000"],
  Date: ["infinity", "0001-01-01", "5874898-01-01", "soon", ""],
  UUID: ["x", "", "00000000-0000-0000-0000-000000000000"],
  JSON: [null, 0, "x", "{", [], {}, [null], { a: { b: "\u0000" } }],
  Cursor: [
    "x",
    "",
    "AAAA",
    cursor(1),
    cursor([]),
    cursor(["natural", -1]),
    cursor(["natural", "x"]),
    cursor(["a", 1, 2]),
  ],
  ID: ["x", "", "AAAA", cursor(["tracks", "1"]), cursor([1, {}])],
};
const plausible: Record<string, unknown> = {
  Int: 1,
  Float: 0.5,
  BigInt: "1",
  BigFloat: "0.5",
  Boolean: true,
  String: "course",
  Datetime: "2026-02-01T00:00:00Z",
  Date: "2026-02-01",
  UUID: "00000000-0000-0000-0000-000000000001",
  JSON: {},
  Cursor: cursor(["natural", 1]),
  ID: "x",
};

function good(type: GraphQLInputType): unknown {
  if (isNonNullType(type)) return good(type.ofType);
  if (isListType(type)) return [good(type.ofType)];
  if (isInputObjectType(type)) {
    const required = Object.values(type.getFields()).filter((field) => isNonNullType(field.type));
    return Object.fromEntries(required.map((field) => [field.name, good(field.type)]));
  }
  return isEnumType(type) ? type.getValues()[0]?.name : plausible[type.name];
}

function bad(type: GraphQLInputType): unknown[] {
  if (isNonNullType(type)) return bad(type.ofType);
  if (isListType(type)) return [[], [null], ...bad(type.ofType).map((value) => [value])];
  if (isInputObjectType(type)) {
    const base = good(type) as object;
    const fields = Object.values(type.getFields()).filter(({ name }) => name !== "clientMutationId");
    // Intervals have six similar fields: two of them are sufficient.
    const chosen = type.name === "IntervalInput" ? fields.slice(0, 2) : fields;
    return [{}, ...chosen.flatMap((field) => bad(field.type).map((value) => ({ ...base, [field.name]: value })))];
  }
  if (isEnumType(type)) return [];
  return values[type.name] ?? [`no values for ${type.name}`];
}

/** The smallest selection of a result. */
function selection(field: GraphQLField<unknown, unknown>): string {
  const type = getNamedType(field.type);
  if (!isObjectType(type)) return "";
  const fields = type.getFields();
  if (fields["nodes"]) return `{ nodes ${selection(fields["nodes"])} }`;
  const leaf = Object.values(fields).find(
    ({ name, type, args }) =>
      args.length === 0 && name !== "nodeId" && name !== "clientMutationId" && isLeafType(getNamedType(type)),
  );
  // The arguments of a mutation are evaluated although its result is not selected.
  return leaf ? `{ ${leaf.name} }` : "{ __typename }";
}

interface Call {
  field: GraphQLField<unknown, unknown>;
  argument: GraphQLArgument;
  value: unknown;
}

function callsOf(fields: Record<string, GraphQLField<unknown, unknown>>): Call[] {
  return Object.values(fields).flatMap((field) =>
    field.args.flatMap((argument) => bad(argument.type).map((value) => ({ field, argument, value }))),
  );
}

async function tryAll(who: string, operation: "query" | "mutation", calls: Call[]): Promise<Map<string, string>> {
  const failures = new Map<string, string>();
  const codes = new Map<string, number>();
  const one = async ({ field, argument, value }: Call): Promise<void> => {
    const given = field.args.filter(({ name, type }) => name === argument.name || isNonNullType(type));
    const declared = given.map(({ name, type }) => `$${name}: ${type}`).join(", ");
    const passed = given.map(({ name }) => `${name}: $${name}`).join(", ");
    const variables = Object.fromEntries(
      given.map(({ name, type }) => [name, name === argument.name ? value : good(type)]),
    );
    const { errors } = await ask(
      who,
      `${operation} (${declared}) { ${field.name}(${passed}) ${selection(field)} }`,
      variables,
    );
    for (const { extensions, message } of errors) {
      const code = extensions?.code ?? "none";
      codes.set(code, (codes.get(code) ?? 0) + 1);
      if (code === "XX000") {
        failures.set(`${field.name}(${argument.name}: ${JSON.stringify(value)?.slice(0, 100)})`, message);
      }
    }
  };
  const queue = [...calls];
  await Promise.all(
    Array.from({ length: 4 }, async () => {
      for (let call = queue.shift(); call !== undefined; call = queue.shift()) await one(call);
    }),
  );
  // Most calls are refused with a message: a run without any refusal would have tested nothing.
  expect([...codes.keys()].some((code) => code.startsWith("CF"))).toBe(true);
  return failures;
}

describe.each([
  ["query", "admin"],
  ["query", "learner:ada"],
  ["mutation", "admin"],
  ["mutation", "visitor"],
] as const)("%s as %s", { timeout: 300_000 }, (operation, who) => {
  test("no argument causes an internal error", async () => {
    const logged = vi.spyOn(console, "error").mockImplementation(() => {});
    const type = operation === "query" ? schema.getQueryType() : schema.getMutationType();
    // A third of them, another one in each run; all of them with `--full`.
    const part = Math.floor(Math.random() * 3);
    const calls = callsOf(type?.getFields() ?? {}).filter((_, index) => isFull || index % 3 === part);
    const failures = await tryAll(who, operation, calls);
    logged.mockRestore();
    expect([...failures.keys()]).toEqual([]);
  });
});
