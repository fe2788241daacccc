import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { packageRoot } from "../../src/paths.ts";

const rooms = ["privacy", "track", "analytics", "recommend", "monitor"];

/** All files below a folder whose names end so, with their texts. */
function filesIn(folder: string, ending: string): { name: string; text: string }[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(ending))
    .map(({ name, parentPath }) => ({ name, text: readFileSync(join(parentPath, name), "utf8") }));
}

describe.each(rooms)("%s", (room) => {
  const definition = new RegExp(
    `create (?:or replace )?(?:function|procedure|aggregate|view|materialized view) ${room}\\.([a-z]\\w*)`,
    "g",
  );
  const names = filesIn(join(packageRoot, "src", "sql", room), ".sql").flatMap(({ text }) =>
    [...text.matchAll(definition)].map(([, name]) => name),
  );

  test.each([...new Set(names)].sort())("%s has a test file named after it, which calls it and asserts", (name) => {
    const folder = join(packageRoot, "test", "sql", room);
    const text = existsSync(folder)
      ? filesIn(folder, ".test.ts").find((file) => file.name === `${name}.test.ts`)?.text
      : undefined;
    expect(text, `test/sql/${room}/${name}.test.ts is missing`).toBeDefined();
    // Called in SQL, or, as track.ingest is, by a helper of the room.
    expect(text).toMatch(new RegExp(`${room}\\.${name}\\b|\\b${name}\\(`));
    expect(text).toContain("expect(");
  });
});
