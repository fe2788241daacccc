import { readFileSync } from "node:fs";
import { glob } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { expect, test } from "vitest";
import { sqlRoot as sql, statementsOf } from "../support/sql.ts";

/*
 * The house rules that are about files, not about the catalogue.
 */
const paths = (await Array.fromAsync(glob("**/*.sql", { cwd: sql }))).sort();
const text = new Map(paths.map((path) => [path, readFileSync(join(sql, path), "utf8")]));

/** Files of functions, which can be run again. */
const sources = paths.filter((path) => path.includes("/") && !/(^|\/)(tables|policies|views)\.sql$/.test(path));

/** The statements of a file that define or call functions. */
const code = new Map(sources.map((path) => [path, statementsOf(path).replace(/^(grant|alter function) .*?;$/gms, "")]));
const statements = (path: string): string => code.get(path) ?? "";

interface Definition {
  name: string;
  path: string;
}

const definitions: Definition[] = sources.flatMap((path) =>
  [...statements(path).matchAll(/^create or replace (?:function|procedure|aggregate) (\w+\.\w+)/gm)].map(
    ([, name]) => ({
      name: name ?? "",
      path,
    }),
  ),
);
const isPrivate = ({ name }: Definition): boolean => /\._/.test(name);
const shortName = (name: string): string => name.split(".")[1] ?? "";

test("no line is longer than 120 columns", () => {
  const long = paths.flatMap((path) =>
    (text.get(path) ?? "")
      .split("\n")
      .map((line, index) => ({ place: `${path}:${index + 1}`, length: [...line].length }))
      .filter(({ length }) => length > 120)
      .map(({ place, length }) => `${place}: ${length}`),
  );
  expect(long, long.join("\n")).toEqual([]);
});

test("one public function per file, which has its name", () => {
  expect(definitions.length).toBeGreaterThan(200);
  const wrong = definitions
    .filter((definition) => !isPrivate(definition))
    .filter(({ name, path }) => basename(path, ".sql") !== shortName(name))
    .map(({ name, path }) => `${name} in ${path}`);
  expect(wrong, wrong.join("\n")).toEqual([]);
});

/** The directory of one function with many helpers, such as track/ingest; undefined in a directory of several functions. */
const functionDirectory = (path: string): string | undefined => {
  const directory = dirname(path);
  return directory.startsWith("ml/") || directory.endsWith("/functions") ? undefined : directory;
};

test("a private function that a second file calls has a file of its own name", () => {
  const wrong = definitions.filter(isPrivate).flatMap(({ name, path }) => {
    if (basename(path, ".sql").replace(/^_/, "") === shortName(name).replace(/^_/, "")) return [];
    const callers = sources.filter(
      (other) =>
        other !== path &&
        (functionDirectory(other) === undefined || functionDirectory(other) !== functionDirectory(path)) &&
        new RegExp(`\\b${name}\\s*\\(`).test(statements(other)),
    );
    return callers.length > 0 ? [`${name} in ${path}, called in ${callers.join(", ")}`] : [];
  });
  expect(wrong, wrong.join("\n")).toEqual([]);
});

test("every file is included once", () => {
  const included = ["all.sql", "structure.sql"].flatMap((path) =>
    [...(text.get(path) ?? "").matchAll(/^--!include (.*)$/gm)].map(([, file]) => file ?? ""),
  );
  expect(included.filter((path) => path !== "prepare.sql").sort()).toEqual(paths.filter((path) => path.includes("/")));
});
