import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { addresses } from "../../src/dashboard/addresses.ts";
import * as operations from "../../src/dashboard/operations.ts";
import { packageRoot } from "../../src/paths.ts";

/* The operations of each page: a token that is limited to the page may send no others. */

const root = join(packageRoot, "src", "dashboard");
const path = join(root, "views.ts");
const texts = new Map(Object.entries(operations).map(([name, { text }]) => [name, text]));

/** The operations that a file imports, and the files that it imports. */
async function operationsOf(file: string, seen: Set<string> = new Set()): Promise<Set<string>> {
  const found = new Set<string>();
  if (seen.has(file)) return found;
  seen.add(file);
  const text = await readFile(file, "utf8");
  for (const [, imported = "", from = ""] of text.matchAll(/import\s+(?!type\b)([^;"']*?)\s+from\s+"(\.[^"]+)"/g)) {
    const other = join(dirname(file), from);
    if (other === join(root, "operations.ts")) {
      for (const [name] of imported.matchAll(/\w+/g)) if (texts.has(name)) found.add(name);
      expect(imported, file).not.toContain("*");
    } else if (other.startsWith(root) && /\.tsx?$/.test(other)) {
      for (const name of await operationsOf(other, seen)) found.add(name);
    }
  }
  // A board shows the figures of other pages, without their forms and their reads of a person.
  for (const [, from = ""] of text.matchAll(/import\("(\.[^"]+)"\)/g)) {
    if (!from.startsWith("./") || !file.startsWith(join(root, "pages"))) continue;
    for (const name of await operationsOf(join(dirname(file), from), seen)) {
      const query = texts.get(name) ?? "";
      if (query.startsWith("query") && !query.includes("$person:")) found.add(name);
    }
  }
  return found;
}

async function generate(): Promise<string> {
  const views: string[] = [];
  for (const address of Object.values(addresses)) {
    const view = address.slice(1);
    // Queries are free there.
    if (view === "queries") continue;
    const found = await operationsOf(join(root, "pages", `${view}.tsx`));
    const list = [...found].sort().map((name) => `    "${name}",\n`);
    views.push(`  ${/^\w+$/.test(view) ? view : JSON.stringify(view)}: [\n${list.join("")}  ],\n`);
  }
  return `/* Written by test/dashboard/views.test.ts from the imports of the pages: npm run schema writes it again. */

import type * as operations from "./operations.ts";

/** Pages that other sites may contain, by their address, and the operations that they send. */
export const operationsOfViews: Readonly<Record<string, readonly (keyof typeof operations)[]>> = {
${views.join("")}};
`;
}

test("src/dashboard/views.ts lists the operations that each page sends (npm run schema writes it)", async () => {
  const text = await generate();
  if (process.env["INSIGHTS_WRITE_SCHEMA"]) await writeFile(path, text);
  const withoutSpace = (code: string): string => code.replaceAll(/[\s,]+/g, "");
  expect(withoutSpace(await readFile(path, "utf8"))).toBe(withoutSpace(text));
  expect(text).toContain('"popularItems"');
});
