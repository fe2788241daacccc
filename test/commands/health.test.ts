import { expect, test } from "vitest";
import { testDatabase } from "../support/database.ts";
import { endAtEndOfFile, insights } from "../support/insights.ts";

const database = await testDatabase();
endAtEndOfFile();

const health = (...words: string[]): ReturnType<typeof insights> =>
  insights(["health", ...words], { DATABASE_URL: database.url() });

test("a healthy installation: one line, and exit code 0", async () => {
  const call = health();
  expect(await call.exitCode()).toBe(0);
  expect(call.printed()).toMatch(/^ok {4}\d+ checks found no problem {2}\(.+\)\n$/);
});

test("a warning has its fix, and a critical problem the exit code 1", async () => {
  await database.query("insert into track.stale (person_id, since, until) values (1, now(), now())");
  const warned = health();
  expect(await warned.exitCode()).toBe(0);
  expect(warned.printed().split("\n")).toMatchObject([
    expect.stringMatching(/^warn {2}1 problem {2}/),
    "warn  worker: no worker is running, and none has run; changes of people wait to be refreshed",
    expect.stringMatching(/^ {6}→ Start a worker: insights worker/),
    "",
  ]);
  await database.query(
    "insert into monitor.worker values ('here:1:a', now() - interval '1 hour', now() - interval '1 hour', null, '1')",
  );
  const critical = health("--json");
  expect(await critical.exitCode()).toBe(1);
  expect(JSON.parse(critical.printed())).toMatchObject({
    status: "critical",
    problems: 1,
    findings: [{ health_check: "worker", subject: "", severity: "critical", threshold: 180 }],
  });
});

test("--watch repeats until it is stopped", async () => {
  const call = health("--watch", "1", "--json");
  await call.prints(/\{.*\}\n\{.*\}\n/);
  call.child.kill("SIGTERM");
  await call.exitCode();
});

test.each(["0", "x", "86401"])("--watch %s is refused", async (given) => {
  const call = health("--watch", given);
  expect(await call.exitCode()).toBe(2);
  expect(call.output()).toContain("Use 1 to 86400 seconds.");
});
