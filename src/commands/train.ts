import Table from "cli-table3";
import { Command } from "commander";
import { step } from "../terminal.ts";
import { refresh } from "./refresh.ts";
import { withSession } from "./session.ts";

interface Training {
  version: number | null;
  deployed: boolean;
  reason: string;
  algorithm: string;
  lambda: number | null;
  ndcg_at_10: number | null;
  recall_at_10: number | null;
  popularity_ndcg_at_10: number | null;
  popularity_recall_at_10: number | null;
  test_people: number | null;
  people: number;
  items: number;
  interactions: number;
  seconds: number;
}

const figure = (value: number | null): string => (value === null ? "" : value.toFixed(4));

/** Why a version is not deployed. */
const reasons: Record<string, string> = {
  worse: "worse than the deployed version",
  popularity: "not better than a list by popularity",
  untested: "too few people to compare it with a list by popularity",
};

export default new Command()
  .description(
    "Selects and trains a recommender inside the database, and deploys it if it is better than the deployed version and than popularity.",
  )
  .argument("[kind]", "kind of items to recommend", "course")
  .option("--json", "print the result as JSON")
  .addHelpText(
    "after",
    `
The models are trained on what happened before the time after which people took a fifth of their items, and compared on
the same people and items afterwards. Each step is a transaction of its own: a run that was interrupted continues.
insights evaluate prints all metrics.`,
  )
  .action(async (kind: string, options: { json?: true }) => {
    await withSession("train", async ({ pool }) => {
      const out = options.json ? process.stderr : process.stdout;
      // Events that arrived since the last refresh count too, whether or not a worker runs.
      await refresh(pool, out);
      // Popular, trending and similar items, which a platform without a worker would not have.
      await step(
        "Refreshing lists",
        () =>
          pool.query(
            "select analytics.refresh_views(), recommend.refresh_item_vectors(), recommend.refresh_lists()::int as rows",
          ),
        ({ rows }) => `${(rows[0] as { rows: number }).rows} rows`,
        out,
      );
      const training = await step(
        `Training recommend.${kind}`,
        async (bar) => {
          for (;;) {
            const { rows } = await pool.query<Training>(
              `select
                 version, deployed, reason, algorithm, lambda, ndcg_at_10, recall_at_10, popularity_ndcg_at_10,
                 popularity_recall_at_10, test_people, people, items, interactions,
                 extract(epoch from duration)::float8 as seconds
               from recommend.train_step($1)`,
              [kind],
            );
            const training = rows[0] as Training;
            if (training.version !== null) return training;
            const progress = await pool.query<{ progress: number }>(
              `select coalesce(sum(progress * case purpose when 'selection' then 0.8 else 0.15 end), 0) as progress
               from recommend.evaluation
               where kind = $1 and purpose in ('selection', 'deployment') and model_id is null`,
              [kind],
            );
            bar.update(progress.rows[0]?.progress ?? 0, 1);
          }
        },
        ({ version }) => `version ${version}`,
        out,
      );
      if (options.json) {
        console.log(JSON.stringify(training));
        return;
      }
      console.log(
        `version ${training.version} of recommend.${kind}: ${training.algorithm}, ${training.interactions} interactions of ${training.people} people with ${training.items} items`,
      );
      if (training.ndcg_at_10 !== null) {
        const table = new Table({
          head: [`on ${training.test_people ?? 0} people`, "model", "popularity"],
          style: { head: [], border: [] },
        });
        table.push(
          ["NDCG@10", figure(training.ndcg_at_10), figure(training.popularity_ndcg_at_10)],
          ["recall@10", figure(training.recall_at_10), figure(training.popularity_recall_at_10)],
        );
        console.log(table.toString());
      }
      console.log(
        training.deployed
          ? `deployed (${training.reason})`
          : `not deployed: ${reasons[training.reason] ?? training.reason}`,
      );
    });
  });
