import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";

const database = await testDatabase();

test("is the hash of the salt and the sorted names with their lengths", async () => {
  const salt = "00ff".repeat(8);
  for (const [names, text] of [
    [["ada"], "3:ada"],
    [["b", "a", "b"], "1:a1:b"],
    // Lengths in characters keep lists apart that would be one text.
    [["a1:b"], "4:a1:b"],
    [["ä", "😀", "B"], "1:B1:ä1:😀"],
  ] as const) {
    const expected = createHash("sha256").update(Buffer.from(salt, "hex")).update(text).digest("hex");
    expect(await database.value("select privacy.subject_hash($1, $2)", [names, salt])).toBe(expected);
  }
});
