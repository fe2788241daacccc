import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, inject, test } from "vitest";
import { withClient } from "../../src/database/connect.ts";
import { testDatabase } from "../support/database.ts";
import { insights as callInsights, endAtEndOfFile, type Insights } from "../support/insights.ts";

const directory = await mkdtemp(join(tmpdir(), "insights-start-"));
endAtEndOfFile();
afterAll(() => rm(directory, { recursive: true, force: true }));

const insights = (parameters: string[], environment: Record<string, string> = {}): Insights =>
  callInsights(parameters, { INSIGHTS_DATA_DIR: directory, PORT: "0", ...environment });

async function graphql<T>(url: string, token: string | undefined, query: string): Promise<T> {
  const response = await fetch(`${url}/graphql`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    body: JSON.stringify({ query }),
  });
  return (await response.json()) as T;
}

/** Starts `insights start`, returns its output when it is ready; `end` is the signal that ends it. */
async function ready(
  start: Insights,
  end: RegExp,
): Promise<{ url: string; database: string; token: (role: string) => string }> {
  await start.prints(end);
  const text = start.output();
  expect(text).toMatch(/^ready /m);
  const find = (pattern: RegExp): string => pattern.exec(text)?.[1] ?? `nothing like ${pattern}`;
  const url = find(/start page +(http\S+)\/\n/);
  return {
    url,
    database: find(/psql "(postgres:[^"\s]+)"/),
    token: (role) => find(new RegExp(`^${role}: ${url}/#token=(ey\\S+)$`, "m")),
  };
}

const demo = /^admin: http\S+#token=ey\S+\n/m;
const own = /^Sign in with .*\n/m;

/** The events of the simulated time: after it, the people of the demo go on while it runs. */
const simulated =
  "select count(*)::int as count from track.event where occurred_at < (select until from canvas_flow_truth.population)";
const count = (url: string): Promise<number> =>
  withClient(url, async (client) => {
    const { rows } = await client.query<{ count: number }>(simulated);
    return rows[0]?.count ?? 0;
  });

describe.skipIf(inject("server").kind === "native")(
  "the quick start, on the embedded database (once is enough)",
  () => {
    let first: Insights;
    let stored = 0;

    test("simulates, trains and serves the printed addresses", { timeout: 300_000 }, async () => {
      first = insights(["start"]);
      const { url, database, token } = await ready(first, demo);
      stored = await count(database);
      expect(stored).toBeGreaterThan(10_000);

      expect((await fetch(`${url}/`)).status).toBe(200);
      expect((await fetch(`${url}/graphiql`, { headers: { accept: "text/html" } })).status).toBe(200);
      expect(await (await fetch(`${url}/healthz`)).json()).toMatchObject({ status: "ok", pendingMigrations: [] });

      const query = "{ recommendForMe(top: 3) { nodes { item score reasons { item contribution } } } }";
      const answer = await graphql<{ data: { recommendForMe: { nodes: { item: string; score: number }[] } } }>(
        url,
        token("learner"),
        query,
      );
      expect(answer.data.recommendForMe.nodes).toHaveLength(3);
      const analysis = await graphql<{ data: { analyticsPopularItems: { nodes: unknown[] } } }>(
        url,
        token("analyst"),
        "{ analyticsPopularItems(top: 5) { nodes { item } } }",
      );
      expect(analysis.data.analyticsPopularItems.nodes).toHaveLength(5);

      // The experiment of the platform, whose true effect is 0.1. The draw depends on the day.
      const arms = await withClient(database, async (client) => {
        const { rows } = await client.query<{ variation: string; people: string; low: number; high: number }>(
          `select variation, people, low, high
           from experiment.results('resume-videos', difference => 'absolute')
           where metric = 'videos_finished'`,
        );
        return rows;
      });
      expect(arms.map(({ variation }) => variation)).toEqual(["control", "resume"]);
      for (const { people } of arms) expect(Number(people)).toBeGreaterThan(20);
      expect(arms[1]?.low).toBeLessThan(0.1);
      expect(arms[1]?.high).toBeGreaterThan(0.1);
    });

    test("a second one is refused, and other commands use the first one's database", async () => {
      const second = insights(["start"]);
      expect(await second.exitCode()).toBe(1);
      expect(second.output()).toContain(`is in use by "insights start" (process ${first.child.pid})`);

      const sql = insights(["sql", "--json", simulated]);
      expect(await sql.exitCode()).toBe(0);
      expect(JSON.parse(sql.output())).toEqual([{ count: stored }]);
      // No false alarm: neither the worker, nor its tasks, nor the simulated data.
      const health = insights(["health"]);
      expect(await health.exitCode()).toBe(0);
      expect(health.printed()).toMatch(/^ok {4}\d+ checks found no problem/);

      const doctor = insights(["doctor"]);
      expect(await doctor.exitCode()).toBe(0);
    });

    test("after kill -9 the next start continues with the same data, and a signal ends it cleanly", async () => {
      first.child.kill("SIGKILL");
      await first.exitCode();
      const next = insights(["start"]);
      const { database } = await ready(next, demo);
      expect(next.output()).not.toContain("Simulating");
      expect(await count(database)).toBe(stored);
      next.child.kill("SIGINT");
      expect(await next.exitCode()).toBe(0);
      expect(next.output()).toContain("stopping");
    });
  },
);

test("on a user's own server nothing is simulated and no links are printed", async () => {
  const database = await testDatabase({ empty: true });
  const environment = {
    DATABASE_URL: database.url(),
    INSIGHTS_POOLER: String(!database.native),
    INSIGHTS_JWT_SECRET: "a key for tests, longer than 32 characters",
  };
  const start = insights(["start"], environment);
  const { url } = await ready(start, own);
  expect(start.output()).not.toContain("Simulating");
  expect(start.output()).not.toMatch(/\bey\w+\./);
  expect(start.output()).not.toContain("graphiql");
  expect((await fetch(`${url}/graphiql`)).status).toBe(404);
  expect(await database.value("select count(*)::int from track.event")).toBe(0);

  const token = insights(["token", "admin"], environment);
  expect(await token.exitCode()).toBe(0);
  const answer = await graphql(url, token.printed().trim(), "{ trackPeople { totalCount } }");
  expect(answer).toMatchObject({ data: { trackPeople: { totalCount: expect.any(Number) } } });
  start.child.kill("SIGTERM");
  expect(await start.exitCode()).toBe(0);
});

test.each(["start", "api"])("a port that is taken is reported by %s before anything is done", async (name) => {
  const database = await testDatabase({ empty: true });
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  const { port } = taken.address() as AddressInfo;
  const empty = await mkdtemp(join(tmpdir(), "insights-taken-"));
  try {
    const onServer = insights([name], { DATABASE_URL: database.url(), PORT: String(port) });
    expect(await onServer.exitCode()).toBe(1);
    expect(onServer.output()).toMatch(/^error: port \d+ of 127.0.0.1 is taken\nhint: /);
    expect(await database.value("select count(*)::int from pg_namespace where nspname = 'track'")).toBe(0);
    const embedded = insights([name], { INSIGHTS_DATA_DIR: join(empty, "data"), PORT: String(port) });
    expect(await embedded.exitCode()).toBe(1);
    expect(embedded.output()).toMatch(/is taken/);
    expect(await readdir(empty)).toEqual([]);
  } finally {
    taken.close();
    await rm(empty, { recursive: true });
  }
});

describe.skipIf(inject("server").kind === "native")("the command line (it needs no server: once is enough)", () => {
  test("every command has a --help", async () => {
    const help = insights(["--help"]);
    expect(await help.exitCode()).toBe(0);
    const commands = [...help.output().matchAll(/^ {2}([a-z]+) {2,}/gm)].map(([, name = ""]) => name);
    for (const name of [
      "start",
      "migrate",
      "api",
      "worker",
      "import",
      "simulate",
      "train",
      "recommend",
      "sql",
      "token",
      "doctor",
    ]) {
      expect(commands).toContain(name);
      const own = insights([name, "--help"]);
      expect(await own.exitCode()).toBe(0);
      expect(own.output()).toContain(`Usage: insights ${name}`);
      expect(own.output().split("\n").length).toBeGreaterThan(5);
    }
  });

  test("an unknown option or command is a usage error, an invalid setting an error", async () => {
    expect(await insights(["sql", "--nope"]).exitCode()).toBe(2);
    expect(await insights(["nope"]).exitCode()).toBe(2);
    const wrong = insights(["doctor"], { PORT: "many" });
    expect(await wrong.exitCode()).toBe(1);
    expect(wrong.output()).toContain('error: PORT is "many": expected a whole number from 0 to 65535');
    const keys = insights(["start"], { INSIGHTS_JWKS_URL: "https://id.example/keys" });
    expect(await keys.exitCode()).toBe(1);
    expect(keys.output()).toContain("INSIGHTS_JWT_AUDIENCE");
    const learner = insights(["token", "learner"]);
    expect(await learner.exitCode()).toBe(1);
    expect(learner.output()).toContain("a learner needs a userId");
    const instructor = insights(["token", "instructor"]);
    expect(await instructor.exitCode()).toBe(1);
    expect(instructor.output()).toContain("an instructor needs a userId");
    const nobody = insights(["token", "owner"]);
    expect(await nobody.exitCode()).toBe(2);
    const unreachable = insights(["doctor"], { DATABASE_URL: "postgres://nobody@127.0.0.1:1/nothing" });
    expect(await unreachable.exitCode()).toBe(1);
    expect(unreachable.output()).toContain("Check that a server listens at 127.0.0.1:1");
  });
});
