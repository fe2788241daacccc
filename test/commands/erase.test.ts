import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { testDatabase } from "../support/database.ts";
import { endAtEndOfFile, insights } from "../support/insights.ts";

const database = await testDatabase();
endAtEndOfFile();
const directory = await mkdtemp(join(tmpdir(), "insights-erase-"));
afterAll(() => rm(directory, { recursive: true }));
const environment = { DATABASE_URL: database.url(), INSIGHTS_POOLER: String(!database.native) };

async function call(...words: string[]): Promise<{ code: number | null; out: string; said: string }> {
  const running = insights(["erase", ...words], environment);
  return { code: await running.exitCode(), out: running.printed(), said: running.output() };
}

await database.query(
  `select track.ingest('[{"type": "track", "messageId": "1", "userId": "ada", "event": "Seen"},
     {"type": "track", "messageId": "2", "userId": "ben", "event": "Seen"}]')`,
);
const stored = (name: string) =>
  database.value<number>("select count(*)::int from track.identity where external_id = $1", [name]);

test("needs --yes, then prints the receipt; the person is unknown afterwards", async () => {
  expect(await call("ada")).toMatchObject({
    code: 1,
    out: "",
    said: expect.stringContaining('"ada" would be erased, which cannot be undone'),
  });
  expect(await stored("ada")).toBe(1);
  const { code, out } = await call("ada", "--yes", "--reason", "her letter of May");
  expect(code).toBe(0);
  const receipt = JSON.parse(out);
  expect(receipt.counts["track.event"]).toEqual({ deleted: 1 });
  expect(await database.value("select privacy.subject_hash('{ada}', $1)", [receipt.salt])).toBe(receipt.subject_hash);
  expect(await stored("ada")).toBe(0);
  expect(await call("ada", "--yes")).toMatchObject({ code: 1, said: expect.stringContaining("[CF002]") });
});

test("repeats the erasures of a list, and refuses other files", async () => {
  const { code, out } = await call("--list");
  expect(code).toBe(0);
  const file = join(directory, "erasures.json");
  await writeFile(file, out);
  expect(await call("--replay", file)).toMatchObject({ code: 0, out: "erased 0 people again\n" });
  await writeFile(file, "no list");
  expect(await call("--replay", file)).toMatchObject({ code: 1, said: expect.stringContaining("is not JSON") });
  expect(await call("--replay", join(directory, "absent"))).toMatchObject({
    code: 1,
    said: expect.stringContaining("(ENOENT)"),
  });
  expect(await call()).toMatchObject({ code: 1, said: expect.stringContaining("give a person, --list or --replay") });
  expect(await stored("ben")).toBe(1);
});
