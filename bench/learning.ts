/*
 * Models that learn and unlearn: an update of the deployed recommender beside its training, on MovieLens-100k.
 *
 * DATABASE_URL=postgres://… npm exec -- node bench/learning.ts
 *
 * Without DATABASE_URL it runs on the embedded database. Needs ../shared/data/movielens_100k. Each method is trained on
 * all rows (the part of a training that is repeated after each selection), then some people get one more item, and one
 * is unlearned. All is printed as a share of that training in the same run.
 */
import { dataset, hasDataset } from "../test/support/datasets.ts";
import { benchDatabase } from "./database.ts";

if (!hasDataset("movielens_100k/ratings")) throw new Error("Needs ../shared/data/movielens_100k.");
const ratings = dataset("movielens_100k/ratings");
const { client, name, close } = await benchDatabase();
console.log(`${name}: ${ratings.length.toLocaleString("en")} ratings`);

for (let start = 0; start < ratings.length; start += 1_000) {
  const batch = ratings.slice(start, start + 1_000).map((row) => ({
    type: "track",
    messageId: `${row["user_id"]}:${row["movie_id"]}`,
    userId: row["user_id"],
    event: "Course Rated",
    timestamp: row["rated_at"],
    properties: { item: `film-${row["movie_id"]}`, itemKind: "course", rating: Number(row["rating"]) },
  }));
  await client.query("select track.ingest($1)", [JSON.stringify(batch)]);
}
while (((await client.query("select from track.refresh(2000) where people > 0")).rowCount ?? 0) > 0);
await client.query("vacuum analyze");

const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const started = performance.now();
  await work();
  return performance.now() - started;
};

const methods: [string, object][] = [
  ["ease", { lambda: 500 }],
  ["edlae", { lambda: 200, dropout: 0.5, person_exponent: 0.5 }],
  ["sequence", { decay: 0.95, in_exponent: 0.2, saturation: 200 }],
  ["item_knn", { similarity: "cosine", shrinkage: 20 }],
];
for (const [algorithm, parameters] of methods) {
  const training = await timed(() =>
    client.query(
      `select ml.deploy('recommend.course', (recommend._store_version('course',
         jsonb_populate_record(recommend._model_parts('course', 'popularity'), jsonb_build_object('parts', $1::jsonb)),
         '{}', 1)).version)`,
      [JSON.stringify([{ algorithm, parameters, history_decay: 1, share: 1 }])],
    ),
  );
  const show = (label: string, time: number, people: number): void =>
    console.log(
      `${algorithm.padEnd(9)} ${label.padEnd(34)} ${time.toFixed(0).padStart(7)} ms, ` +
        `${(time / people).toFixed(0).padStart(6)} ms a person, ${(time / training).toFixed(2)} of the training`,
    );
  show("training on all rows", training, 943);
  for (const people of [1, 50]) {
    await client.query("begin");
    await client.query(
      `update recommend.interaction set weight = 0.5, liking = null where (person_id, item_id) in (
         select person_id, min(item_id) from recommend.interaction where liking > 0 group by person_id order by 1 limit $1)`,
      [people],
    );
    const time = await timed(() =>
      client.query(
        "select recommend.learn(array(select distinct person_id from recommend.interaction order by 1 limit $1), null, null)",
        [people],
      ),
    );
    show(`update of ${people}`, time, people);
    await client.query("rollback");
  }
  await client.query("begin");
  // Other versions that keep a record unlearn too: here there is one.
  await client.query("delete from recommend.learning where model_id < (select max(model_id) from recommend.learning)");
  show(
    "one person is unlearned",
    await timed(() => client.query("select recommend.unlearn(track.find_person('1'))")),
    1,
  );
  await client.query("rollback");
  const { rows } = await client.query<{ statistics: string; record: string }>(
    `select pg_size_pretty(sum(coalesce(pg_column_size(inverse), 0) + coalesce(pg_column_size(target_ids), 0)
         + coalesce(pg_column_size(totals), 0))) as statistics,
       (select pg_size_pretty(sum(pg_column_size(learned))) from recommend.learned
        where model_id = (select max(model_id) from recommend.learning)) as record
     from recommend.learned_item where model_id = (select max(model_id) from recommend.learning)`,
  );
  console.log(`${algorithm.padEnd(9)} statistics ${rows[0]?.statistics}, record ${rows[0]?.record}`);
}
await close();
