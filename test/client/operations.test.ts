import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { packageRoot } from "../../src/paths.ts";
import { generateOperations } from "../support/operations.ts";

test.each([
  ["the client", "src/client", false],
  ["the pages", "src/dashboard", true],
])("the operations of %s, and their types, are those of schema.graphql", async (_of, directory, withSql) => {
  const file = join(packageRoot, directory, "operations.ts");
  const generated = await generateOperations(directory, { withSql });
  if (process.env["INSIGHTS_WRITE_SCHEMA"]) await writeFile(file, generated);
  expect(await readFile(file, "utf8"), "Run `npm run schema`.").toBe(generated);
});
