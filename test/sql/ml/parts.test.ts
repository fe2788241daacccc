import { readFileSync } from "node:fs";
import { glob } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { sqlRoot as sql, statementsOf } from "../../support/sql.ts";

/** The floors of the room, from the ground up. A part calls itself and the floors below it. */
const floors = [
  ["linear_algebra", "distributions"],
  ["regression", "trees", "preparation", "forecasts", "assessment", "unsupervised", "hypothesis_tests", "recommenders"],
  ["registry"],
];
const floorOf = new Map(floors.flatMap((parts, floor) => parts.map((part) => [part, floor] as const)));

const files = (await Array.fromAsync(glob("ml/*/*.sql", { cwd: sql }))).sort();
const partOf = (path: string): string => path.split("/")[1] ?? "";

/** Each function of the room and the part where it is defined. */
const definedIn = new Map<string, string>();
for (const path of files) {
  for (const [, name] of statementsOf(path).matchAll(/^create or replace function (ml\.\w+)/gm)) {
    definedIn.set(name ?? "", partOf(path));
  }
}

test("each file is in a part, and each part has its README", async () => {
  expect([...new Set(files.map(partOf))].sort()).toEqual([...floorOf.keys()].sort());
  const readmes = await Array.fromAsync(glob("ml/*/README.md", { cwd: sql }));
  expect(readmes.map(partOf).sort()).toEqual([...floorOf.keys()].sort());
  expect(await Array.fromAsync(glob("ml/functions/*", { cwd: sql }))).toEqual([]);
});

test("no call runs upwards, or to another part on the same floor", () => {
  const calls = files.flatMap((path) =>
    [...statementsOf(path).matchAll(/\b(ml\.\w+)\s*\(/g)].map(([, name]) => ({ path, name: name ?? "" })),
  );
  const crossing = calls.filter(({ path, name }) => (definedIn.get(name) ?? partOf(path)) !== partOf(path));
  // That the calls are found at all.
  expect(crossing.length).toBeGreaterThan(10);
  const wrong = crossing.filter(
    ({ path, name }) => (floorOf.get(definedIn.get(name) ?? "") ?? 0) >= (floorOf.get(partOf(path)) ?? 0),
  );
  expect(wrong).toEqual([]);
});

test("the files are replayed from the ground up", () => {
  const replayed = readFileSync(join(sql, "all.sql"), "utf8")
    .split("\n")
    .filter((line) => line.startsWith("--!include ml/") && line.split("/").length === 3)
    .map((line) => line.replace("--!include ", ""));
  expect([...replayed].sort()).toEqual(files);
  expect([...new Set(replayed.map(partOf))]).toEqual(floors.flat());
});
