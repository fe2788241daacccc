import { readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../src/paths.ts";

/*
 * The published test cases of GrowthBook's clients, specification 0.8.0, without their names: `packages/sdk-js/test/cases.json`
 * of https://github.com/growthbook/growthbook at commit 8f1db4456915a8e7b7faf23d5632ca7219d2f469 (MIT licence). Two groups
 * are left out, as they do not concern a database: `decrypt` (payloads that are encrypted for a browser) and `urlRedirect`
 * (a browser that goes to another page).
 */
const file = join(packageRoot, "test", "sql", "experiment", "assignment", "growthbook.jsonl");

/** The cases of a group, each with its position for messages. */
export function published<Case extends unknown[]>(group: string): { place: string; values: Case }[] {
  return readFileSync(file, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as [string, ...Case])
    .filter(([name]) => name === group)
    .map(([, ...values], position) => ({ place: `${group}[${position}]`, values: values as unknown as Case }));
}

/** JSON as PostgreSQL keeps it: the members of an object by length, then by their bytes. */
export function inOrder<Value>(value: Value): Value {
  if (Array.isArray(value)) return value.map(inOrder) as Value;
  if (value === null || typeof value !== "object") return value;
  const members = Object.entries(value).map(([key, member]) => ({ bytes: Buffer.from(key), key, member }));
  members.sort((a, b) => a.bytes.length - b.bytes.length || Buffer.compare(a.bytes, b.bytes));
  return Object.fromEntries(members.map(({ key, member }) => [key, inOrder(member)])) as Value;
}
