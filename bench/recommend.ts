/*
 * Serving: recommend.for_person on MovieLens-100k (1,682 items, each rating an event), in SQL and over HTTP.
 *
 * DATABASE_URL=postgres://… npm exec -- node bench/recommend.ts
 *
 * Without DATABASE_URL it runs on the embedded database. Needs ../shared/data/movielens_100k. The ratings are sent
 * through track.ingest; interactions, model and lists are computed by the product. Times are measured by the caller,
 * one request at a time, every person once, in random order; a round trip without work is measured for comparison.
 */
import { randomBytes } from "node:crypto";
import { signToken } from "../src/api/authentication.ts";
import { authenticationOptions, startApi } from "../src/api/server.ts";
import { readConfig } from "../src/config.ts";
import { dataset, hasDataset } from "../test/support/datasets.ts";
import { generator } from "../test/support/matrix.ts";
import { benchDatabase } from "./database.ts";

if (!hasDataset("movielens_100k/ratings")) throw new Error("Needs ../shared/data/movielens_100k.");
const ratings = dataset("movielens_100k/ratings");
const titles = new Map(dataset("movielens_100k/movies").map((row) => [row["movie_id"], row["title"]]));
const next = generator(1);
const people = [...new Set(ratings.map((row) => row["user_id"] ?? ""))]
  .map((person) => ({ person, order: next() }))
  .sort((a, b) => a.order - b.order)
  .map(({ person }) => person);

const { client, url, embedded, name, close } = await benchDatabase();
console.log(`${name}: ${people.length} people, ${titles.size} items, ${ratings.length.toLocaleString("en")} events`);

async function step<T>(label: string, work: () => Promise<T>): Promise<T> {
  const started = performance.now();
  const result = await work();
  console.log(`${label.padEnd(52)} ${((performance.now() - started) / 1_000).toFixed(1).padStart(6)} s`);
  return result;
}

await step("track.ingest, batches of 1,000", async () => {
  for (let start = 0; start < ratings.length; start += 1_000) {
    const batch = ratings.slice(start, start + 1_000).map((row) => ({
      type: "track",
      messageId: `${row["user_id"]}:${row["movie_id"]}`,
      userId: row["user_id"],
      event: "Course Rated",
      timestamp: row["rated_at"],
      properties: {
        item: `film-${row["movie_id"]}`,
        itemKind: "course",
        itemTitle: titles.get(row["movie_id"] ?? null) ?? null,
        rating: Number(row["rating"]),
      },
    }));
    const { rows } = await client.query("select accepted, errors from track.ingest($1)", [JSON.stringify(batch)]);
    if (rows[0].accepted !== batch.length) throw new Error(JSON.stringify(rows[0].errors));
  }
});
const refresh = async (name: string): Promise<void> => {
  while (((await client.query("select from track.refresh(2000, $1)", [name])).rowCount ?? 0) > 0);
};
await step("track.refresh, track.session", () => refresh("track.session"));
await step("track.refresh, recommend.interaction", () => refresh("recommend.interaction"));
await client.query("select analytics.refresh_views(), recommend.refresh_lists()");
await client.query("vacuum analyze");
const training = await step("recommend.train, three ridges measured", async () => {
  const { rows } = await client.query(
    "select version, lambda, ndcg_at_10, recall_at_10, popularity_ndcg_at_10, popularity_recall_at_10, test_people from recommend.train()",
  );
  return rows[0] as Record<string, number>;
});
const share = (value: number | undefined): string => (value ?? Number.NaN).toFixed(3);
console.log(
  `  the last item of ${training["test_people"]} people among all not taken: NDCG@10 ${share(training["ndcg_at_10"])}, recall@10 ` +
    `${share(training["recall_at_10"])}; by popularity ${share(training["popularity_ndcg_at_10"])}, ${share(training["popularity_recall_at_10"])}; λ = ${training["lambda"]}`,
);

async function latencies(
  label: string,
  callers: readonly string[],
  request: (person: string) => Promise<unknown>,
): Promise<void> {
  for (const person of callers.slice(0, 20)) await request(person);
  const times: number[] = [];
  for (const person of callers) {
    const started = performance.now();
    await request(person);
    times.push(performance.now() - started);
  }
  times.sort((a, b) => a - b);
  const at = (part: number): string =>
    `${(times[Math.floor(part * (times.length - 1))] ?? 0).toFixed(1).padStart(6)} ms`;
  console.log(`${label.padEnd(52)} median ${at(0.5)}   95 % ${at(0.95)}   longest ${at(1)}`);
}

console.log();
await latencies("select 1", people, () => client.query({ name: "one", text: "select 1 as one" }));
const serve = (top: number) => (person: string) =>
  client.query({
    name: "serve",
    text: "select to_json(r) from recommend.for_person($1, $2) as r",
    values: [person, top],
  });
await latencies("recommend.for_person, 10 items with reasons", people, serve(10));
await latencies(
  "  of an unknown person",
  people.map((person) => `unknown ${person}`),
  serve(10),
);
await client.query("begin");
await client.query("set local role insights_learner");
await latencies("recommend.for_me, under row security", people, async (person) => {
  await client.query("select set_config('insights.person', $1, true)", [person]);
  await client.query("select track.sign_in()");
  return client.query({ name: "for_me", text: "select to_json(r) from recommend.for_me() as r" });
});
await client.query("rollback");
// Items with fewer people than the floor have no similar items.
const { rows: served } = await client.query<{ item: string }>(`
  select item.external_id as item
  from recommend.neighbours
  join track.item using (item_id)
  where neighbours.person_count >= (select smallest_group from analytics.setting)
  order by item.item_id
  limit 900`);
await latencies(
  "recommend.similar_items",
  served.map(({ item }) => item),
  (item) =>
    client.query({
      name: "similar",
      text: "select to_json(r) from recommend.similar_items($1) as r",
      values: [item],
    }),
);

// Events that were just ingested: the interactions are computed from the person's events in the call.
await client.query(
  "insert into track.stale (person_id, since, until) select person_id, now(), now() from track.person where person_id <> 0",
);
await latencies("recommend.for_person, with an event not yet refreshed", people, serve(10));

const config = { ...readConfig(), port: 0, jwtSecret: randomBytes(32).toString("hex") };
const api = await startApi(config, { url, embedded, pooler: embedded, own: false, close: async () => {} });
await client.query("select from track.refresh()");
const options = await authenticationOptions(config);
const tokens = new Map<string, string>();
for (const person of people)
  tokens.set(person, await signToken({ role: "learner", person, source: undefined }, options));
const ask = (query: string) => async (person: string) => {
  const response = await fetch(`${api.url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${tokens.get(person)}` },
    body: JSON.stringify({ query }),
  });
  const body = (await response.json()) as { data?: { recommendForMe?: { nodes: unknown[] } }; errors?: unknown };
  if (body.errors !== undefined) throw new Error(JSON.stringify(body.errors));
};
await latencies("POST /graphql, { __typename }", people, ask("{ __typename }"));
await latencies(
  "POST /graphql, recommendForMe with reasons",
  people,
  ask(
    "{ recommendForMe(top: 10) { nodes { rank item title score reasons { kind item title contribution } servingId } } }",
  ),
);
await api.close();
await close();
