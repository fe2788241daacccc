import Table from "cli-table3";
import { Command } from "commander";
import { step } from "../terminal.ts";
import { refresh } from "./refresh.ts";
import { withSession } from "./session.ts";

interface Training {
  version: number;
  deployed: boolean;
  reason: string;
  lambda: number;
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

export default new Command()
  .description(
    "Trains a recommender inside the database, evaluates it, and deploys it unless it is worse than the deployed version.",
  )
  .argument("[kind]", "kind of items to recommend", "course")
  .option("--json", "print the result as JSON")
  .addHelpText(
    "after",
    "\nEvaluated on the item that each of up to 1,000 people took last, which the evaluated model was not trained on.",
  )
  .action(async (kind: string, options: { json?: true }) => {
    await withSession("train", async ({ pool }) => {
      const out = options.json ? process.stderr : process.stdout;
      // Events that arrived since the last refresh count too, whether or not a worker runs.
      await refresh(pool, out);
      const training = await step(
        `Training recommend.${kind}`,
        async () => {
          const { rows } = await pool.query<Training>(
            `select
               version, deployed, reason, lambda, ndcg_at_10, recall_at_10, popularity_ndcg_at_10, popularity_recall_at_10,
               test_people, people, items, interactions, extract(epoch from duration)::float8 as seconds
             from recommend.train($1)`,
            [kind],
          );
          return rows[0] as Training;
        },
        ({ version }) => `version ${version}`,
        out,
      );
      if (options.json) {
        console.log(JSON.stringify(training));
        return;
      }
      console.log(
        `version ${training.version} of recommend.${kind}: ${training.interactions} interactions of ${training.people} people with ${training.items} items, lambda ${training.lambda}`,
      );
      if (training.ndcg_at_10 !== null) {
        const table = new Table({
          head: [`on ${training.test_people} people`, "model", "popularity"],
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
          : `not deployed: ${training.reason} than the deployed version`,
      );
    });
  });
