import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { testDatabase } from "../support/database.ts";
import { endAtEndOfFile, insights } from "../support/insights.ts";

const database = await testDatabase();
endAtEndOfFile();
const directory = await mkdtemp(join(tmpdir(), "insights-export-"));
afterAll(() => rm(directory, { recursive: true }));
const environment = { DATABASE_URL: database.url(), INSIGHTS_POOLER: String(!database.native) };

async function call(...words: string[]): Promise<{ code: number | null; out: string; said: string }> {
  const running = insights(["export", ...words], environment);
  return { code: await running.exitCode(), out: running.printed(), said: running.output() };
}

await database.query(
  `select track.ingest('[
     {"type": "identify", "messageId": "1", "userId": "ada", "anonymousId": "browser", "traits": {"plan": "free"}},
     {"type": "page", "messageId": "2", "userId": "ada", "properties": {"path": "/a", "huge": 12345678901234567890.5, "bird": "🐦"}}]')`,
);

test("a file that only its owner may read, with numbers as they were sent", async () => {
  const path = join(directory, "ada.json");
  expect(await call("ada", "--output", path)).toMatchObject({ code: 0, out: `the data of "ada" is in ${path}\n` });
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  const text = await readFile(path, "utf8");
  expect(text).toContain("12345678901234567890.5");
  expect(JSON.parse(text).data["track.event"][0].properties.bird).toBe("🐦");
  expect(await readdir(directory)).toEqual(["ada.json"]);
  // The name of a browser stands for the same person.
  const printed = await call("browser");
  expect(printed.code).toBe(0);
  expect(JSON.parse(printed.out).data["track.event"]).toEqual(JSON.parse(text).data["track.event"]);
});

test("an unknown person, and a file that cannot be written: nothing is exported and logged", async () => {
  const log = () => database.value<number>("select count(*)::int from privacy.export_log");
  const before = await log();
  expect(await call("nobody")).toMatchObject({
    code: 1,
    out: "",
    said: expect.stringContaining('there is no person "nobody" [CF002]'),
  });
  expect(await call("ada", "-o", join(directory, "absent", "ada.json"))).toMatchObject({
    code: 1,
    said: expect.stringContaining("(ENOENT)"),
  });
  expect((await call()).code).toBe(2);
  expect(await log()).toBe(before);
});
