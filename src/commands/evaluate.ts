import Table from "cli-table3";
import { Command, Option } from "commander";
import type pg from "pg";
import { InsightsError } from "../errors.ts";
import { step } from "../terminal.ts";
import { refresh } from "./refresh.ts";
import { withSession } from "./session.ts";

interface Options {
  kind: string;
  protocol: string;
  models?: string;
  k: string;
  seed: string;
  people: string;
  segments?: string;
  search?: string;
  resume?: string;
  json?: true;
}

interface State {
  evaluation_id: string;
  state: string;
  progress: number;
  test_people: number;
}

interface Result {
  model: string;
  segment: string;
  metric: string;
  k: number;
  value: number | null;
  lower: number | null;
  upper: number | null;
}

/** Checked here, so that a mistake is reported before the data are refreshed. */
function integer(name: string, text: string, most = 2 ** 31 - 1): number {
  const number = Number(text);
  if (/^-?\d+$/.test(text) && Math.abs(number) <= most) return number;
  throw new InsightsError(
    `--${name} is ${text === "" ? "empty" : text.slice(0, 100)}: not a whole number${/^-?\d+$/.test(text) ? ` up to ${most}` : ""}`,
    { hint: "insights evaluate --help lists the options." },
  );
}

/** Names are separated by semicolons or by commas outside of parentheses, as in `ease(50),sequence(decay => 0.9)`. */
const names = (text: string | undefined): string[] | null =>
  text === undefined
    ? null
    : text
        .split(/[;,](?![^(]*\))/)
        .map((name) => name.trim())
        .filter((name) => name !== "");

export default new Command()
  .description("Measures recommenders on what people did: each metric with its interval, and paired comparisons.")
  .option("--kind <kind>", "kind of items", "course")
  .option("--protocol <name>", "time, leave_last_out, random or one_vs_100", "time")
  .option("--models <names>", "such as popularity,deployed,ease(50); default: one of each")
  .option("--k <lengths>", "lengths of the lists", "10")
  .option("--seed <number>", "seed of samples and intervals", "1")
  .option("--people <count>", "maximum number of test people", "1000")
  .option("--segments <names>", "named sets of people to measure by")
  .addOption(
    new Option(
      "--search <trials>",
      "search the parameters of the models instead, with this number of trials",
    ).conflicts(["protocol", "models", "k", "people", "segments"]),
  )
  .addOption(
    new Option("--resume <id>", "continue the evaluation or search of this number").conflicts([
      "kind",
      "protocol",
      "models",
      "k",
      "seed",
      "people",
      "segments",
      "search",
    ]),
  )
  .option("--json", "print the results as JSON")
  .addHelpText(
    "after",
    `
Each step is a transaction of its own: a run that was interrupted is continued by --resume, with the same results. The
results stay in recommend.evaluation_result and recommend.evaluation_comparison.`,
  )
  .action(async (options: Options) => {
    await withSession("evaluate", async ({ pool }) => {
      const out = options.json ? process.stderr : process.stdout;
      const started = await start(pool, options, out);
      const id = started.evaluation_id;
      await step(
        `Evaluation ${id}`,
        async (bar) => {
          for (let state = started; state.state === "running"; ) {
            const { rows } = await pool.query<State>(
              "select evaluation_id, state, progress, test_people from recommend.continue_evaluation($1)",
              [id],
            );
            state = rows[0] as State;
            bar.update(state.progress, 1);
          }
        },
        () => `${started.test_people} people`,
        out,
      );
      const { rows } = await pool.query<Result>(
        `select result.model, result.segment, result.metric, result.k, result.value, result.lower, result.upper
         from recommend.evaluation_result as result join recommend.evaluation_model as model using (evaluation_id, model)
         where evaluation_id = $1 order by result.segment, result.k, model.model_no, result.metric`,
        [id],
      );
      if (options.json) {
        console.log(JSON.stringify(rows));
        return;
      }
      print(rows);
    });
  });

async function start(pool: pg.Pool, options: Options, out: NodeJS.WriteStream): Promise<State> {
  const columns = "evaluation_id, state, progress, test_people";
  if (options.resume !== undefined) {
    const { rows } = await pool.query<State>(`select ${columns} from recommend.continue_evaluation($1)`, [
      integer("resume", options.resume, Number.MAX_SAFE_INTEGER),
    ]);
    return rows[0] as State;
  }
  const seed = integer("seed", options.seed, Number.MAX_SAFE_INTEGER);
  const trials = options.search === undefined ? undefined : integer("search", options.search);
  const k = options.k.split(",").map((length) => integer("k", length.trim()));
  const people = integer("people", options.people);
  await refresh(pool, out);
  const { rows } =
    trials !== undefined
      ? await pool.query<State>(`select ${columns} from recommend.start_search($1, $2, $3)`, [
          options.kind,
          trials,
          seed,
        ])
      : await pool.query<State>(
          `select ${columns}
           from recommend.start_evaluation($1, $2, $3, $4, $5, segments => $6, people => $7)`,
          [names(options.models), options.protocol, k, options.kind, seed, names(options.segments) ?? [], people],
        );
  return rows[0] as State;
}

/** One table for each segment and length: models in rows, metrics in columns. */
function print(results: readonly Result[]): void {
  const metrics = ["ndcg", "recall", "precision", "map", "mrr", "hit_rate", "coverage", "novelty", "popularity_bias"];
  const groups = Map.groupBy(results, ({ segment, k }) => `${segment === "" ? "all" : segment}, k = ${k}`);
  for (const [title, rows] of groups) {
    const table = new Table({ head: [title, ...metrics], style: { head: [], border: [] } });
    for (const [model, own] of Map.groupBy(rows, (row) => row.model)) {
      table.push([
        model,
        ...metrics.map((metric) => {
          const found = own.find((row) => row.metric === metric);
          if (found?.value == null) return "";
          const interval =
            metric === "ndcg" && found.lower !== null && found.upper !== null
              ? ` [${found.lower.toFixed(3)}, ${found.upper.toFixed(3)}]`
              : "";
          return found.value.toFixed(4) + interval;
        }),
      ]);
    }
    console.log(table.toString());
  }
}
