import { expect, test } from "vitest";
import { chains } from "../sql/recommend/evaluations.ts";
import { testDatabase } from "../support/database.ts";
import { endAtEndOfFile, insights } from "../support/insights.ts";
import * as algebra from "../support/matrix.ts";
import { ingest } from "../support/recommend.ts";

const database = await testDatabase();
endAtEndOfFile();

// The embedded database behaves like a pooler, which its address does not show.
const environment = { DATABASE_URL: database.url(), INSIGHTS_POOLER: String(!database.native) };

const call = async (...words: string[]): Promise<{ code: number | null; out: string; said: string }> => {
  const running = insights(["evaluate", ...words], environment);
  const code = await running.exitCode();
  return { code, out: running.printed(), said: running.output() };
};

const json = (out: string): { model: string; metric: string; k: number; value: number }[] =>
  JSON.parse(out.split("\n").find((line) => line.startsWith("[")) ?? "");

test("prints the metrics of each model", async () => {
  await ingest(database, chains(60, algebra.generator(2)));
  const { code, out } = await call("--models", "popularity,sequence(decay => 0.5, history_decay => 0.5)", "--k", "1,5");
  expect(code).toBe(0);
  expect(out).toContain("sequence(decay => 0.5, history_decay => 0.5)");
  expect(out).toContain("all, k = 1");
  expect(out).toContain("all, k = 5");
  expect(out).toMatch(/popularity +│ 0\.\d{4} \[0\.\d{3}, 0\.\d{3}\]/);
});

test("continues an evaluation that was interrupted, with the same results", async () => {
  const whole = json((await call("--models", "popularity,sequence", "--json", "--seed", "4")).out);
  const id = await database.value<string>(
    "select evaluation_id from recommend.start_evaluation('{popularity,sequence}', seed => 4)",
  );
  await database.query("select recommend.continue_evaluation($1)", [id]);
  const { code, out } = await call("--resume", id, "--json");
  expect(code).toBe(0);
  expect(json(out)).toEqual(whole);
});

test("searches parameters", async () => {
  const { code, out } = await call("--search", "4", "--json");
  expect(code).toBe(0);
  expect(json(out).filter(({ metric }) => metric === "ndcg")).toHaveLength(4);
  expect(await database.value("select count(*)::int from recommend.best_parameters")).toBe(4);
});

test("invalid arguments are refused with what would be right", async () => {
  expect(await call("--protocol", "tme")).toMatchObject({ code: 1, said: expect.stringContaining('"time"') });
  expect(await call("--models", "eese")).toMatchObject({ code: 1, said: expect.stringContaining('"ease"') });
  expect(await call("--k", "many")).toMatchObject({ code: 1, said: expect.stringContaining("not a whole number") });
  expect(await call("--resume", "4711")).toMatchObject({ code: 1, said: expect.stringContaining("CF002") });
  expect((await call("--unknown")).code).toBe(2);
});

test("numbers and combinations of options are checked before the data are refreshed", async () => {
  for (const words of [
    ["--k", ""],
    ["--k", "10,,20"],
    ["--k", "100000000000"],
    ["--people", "-99999999999"],
    ["--seed", "1.5"],
    ["--search", "1e3"],
    ["--resume", "9".repeat(40)],
  ]) {
    const { code, said } = await call(...words);
    expect(code, words.join(" ")).toBe(1);
    expect(said).toMatch(new RegExp(`${words[0]} is .*not a whole number`));
    expect(said).not.toContain("Refreshing");
  }
  expect((await call("--k", "")).said).toContain("--k is empty");
  expect(await call("--resume", "1", "--search", "3")).toMatchObject({
    code: 2,
    said: expect.stringContaining("cannot be used with"),
  });
  expect((await call("--resume", "1", "--models", "ease")).code).toBe(2);
  expect((await call("--search", "3", "--protocol", "time")).code).toBe(2);
});

test("a hint names a near name only when there is one", async () => {
  expect((await call("--protocol", "zzz")).said).toContain("hint: The protocols are time");
  expect((await call("--segments", "zzz")).said).toContain("hint: track.person_set lists the sets");
});
