import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { packageRoot } from "../../src/paths.ts";
import { generateClientTypes } from "../support/client_types.ts";

test("the client's types are those of schema.graphql", async () => {
  const file = join(packageRoot, "src/client/operations.ts");
  const generated = await generateClientTypes();
  if (process.env["INSIGHTS_WRITE_SCHEMA"]) await writeFile(file, generated);
  expect(await readFile(file, "utf8"), "Run `npm run schema`.").toBe(generated);
});
