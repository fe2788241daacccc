import { readFile } from "node:fs/promises";
import Table from "cli-table3";
import { Command, InvalidArgumentError } from "commander";
import type pg from "pg";
import { z } from "zod";
import { InsightsError } from "../errors.ts";
import { asAdministrator, readInput } from "./session.ts";

const json = z.custom<object | string | number | boolean | null>((value) => value !== undefined, "a JSON value");

/** The parts of a file, in the order in which each needs the ones before it, with the arguments of their functions. */
const planSchema = z.strictObject({
  layers: z.array(z.strictObject({ layer: z.string(), description: z.string() })).default([]),
  holdouts: z.array(z.strictObject({ holdout: z.string(), share: z.number(), description: z.string() })).default([]),
  features: z
    .array(
      z.strictObject({
        feature_key: z.string(),
        description: z.string(),
        value_type: z.string().optional(),
        default_value: json.optional(),
        rules: z.array(json).optional(),
      }),
    )
    .default([]),
  metrics: z
    .array(
      z.strictObject({
        metric_key: z.string(),
        type: z.string(),
        events: z.array(z.string()).optional(),
        description: z.string().optional(),
        item: z.string().optional(),
        property_filter: json.optional(),
        value_property: z.string().optional(),
        numerator: z.string().optional(),
        denominator: z.string().optional(),
        quantile: z.number().optional(),
        cap: z.number().optional(),
        delay: z.string().optional(),
        period: z.string().optional(),
        is_lower_better: z.boolean().optional(),
      }),
    )
    .default([]),
  experiments: z.array(z.looseObject({ key: z.string() })).default([]),
});
type Plan = z.infer<typeof planSchema>;

/** Arguments that are sent as JSON; the others as values of their types. */
const jsonArguments = new Set(["default_value", "rules", "property_filter"]);

/** A file with parts, or with the definition of one experiment. */
function readPlan(text: string, file: string): Plan {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    throw new InsightsError(`${file} is not JSON: ${(error as Error).message}`, {
      hint: "See insights experiment --help.",
    });
  }
  const isExperiment = typeof content === "object" && content !== null && "key" in content;
  const parsed = planSchema.safeParse(isExperiment ? { experiments: [content] } : content);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new InsightsError(`${file}: ${issue?.path.join(".") || "the file"}: ${issue?.message ?? "is invalid"}`, {
    hint: "Give an object with layers, holdouts, features, metrics and experiments, or the definition of one experiment.",
  });
}

async function call(client: pg.PoolClient, name: string, values: Record<string, unknown>): Promise<void> {
  const names = Object.keys(values).filter((argument) => values[argument] !== undefined);
  await client.query(
    `select experiment.${name}(${names.map((argument, index) => `${argument} => $${index + 1}`).join(", ")})`,
    names.map((argument) => (jsonArguments.has(argument) ? JSON.stringify(values[argument]) : values[argument])),
  );
}

async function printRows(sql: string, values: unknown[], none: string, asJson: true | undefined): Promise<void> {
  const result = await asAdministrator("experiment", async (client) => await client.query(sql, values), {
    readOnly: true,
  });
  const rows = result.rows as Record<string, unknown>[];
  if (asJson) console.log(JSON.stringify(rows));
  else if (rows.length === 0) console.log(none);
  else {
    const names = result.fields.map(({ name }) => name);
    const table = new Table({ head: names.map((name) => name.replaceAll("_", " ")), style: { head: [], border: [] } });
    table.push(...rows.map((row) => names.map((name) => String(row[name] ?? ""))));
    console.log(table.toString());
  }
}

const list = new Command("list")
  .description("Prints the experiments, the latest first.")
  .option("--json", "print JSON")
  .action(async (options: { json?: true }) => {
    await printRows(
      `select
         experiment_key as experiment, state, coalesce(feature_key, placement, '') as subject,
         (
           select string_agg(
             variation_key || ' ' || round((weights[variation + 1] * 100)::numeric, 1)::text || ' %', ', ' order by variation
           )
           from experiment.variation
           cross join (
             select weights from experiment.weighting
             where weighting.experiment_id = known.experiment_id
             order by since desc
             limit 1
           ) as latest
           where variation.experiment_id = known.experiment_id
         ) as variations,
         to_char(started_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI"Z"') as started,
         to_char(stopped_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI"Z"') as stopped,
         (
           select variation_key from experiment.variation
           where variation.experiment_id = known.experiment_id and variation = shipped_variation
         ) as shipped
       from experiment.experiment as known
       order by coalesce(started_at, created_at) desc, experiment_id desc`,
      [],
      "no experiments; define one: insights experiment define <file>",
      options.json,
    );
  });

const show = new Command("show")
  .description("Prints the complete definition of an experiment as JSON.")
  .argument("<key>", "key of the experiment")
  .action(async (key: string) => {
    const definition = await asAdministrator("experiment", async (client) => {
      const { rows } = await client.query<{ definition: object }>("select experiment.definition($1)", [key]);
      return rows[0]?.definition;
    });
    console.log(JSON.stringify(definition, null, 2));
  });

const define = new Command("define")
  .description("Creates or changes layers, holdouts, features, metrics and drafts of experiments from a JSON file.")
  .argument("<file>", "the file; - for standard input")
  .action(async (file: string) => {
    const plan = readPlan(file === "-" ? await readInput() : await readFile(file, "utf8"), file);
    await asAdministrator("experiment", async (client) => {
      for (const layer of plan.layers) await call(client, "define_layer", layer);
      for (const holdout of plan.holdouts) await call(client, "define_holdout", holdout);
      for (const feature of plan.features) await call(client, "define_feature", feature);
      // A ratio needs the metrics that it divides.
      for (const metric of plan.metrics.toSorted(
        (one, other) => Number(one.type === "ratio") - Number(other.type === "ratio"),
      )) {
        await call(client, "define_metric", metric);
      }
      for (const experiment of plan.experiments) {
        await client.query("select experiment.define_experiment($1)", [JSON.stringify(experiment)]);
      }
    });
    const counts = Object.entries(plan).flatMap(([part, { length }]) =>
      length === 0 ? [] : [`${length} ${length === 1 ? part.slice(0, -1) : part}`],
    );
    console.log(`defined: ${counts.join(", ") || "nothing"}`);
  });

const start = new Command("start")
  .description("Starts a draft: people are assigned from now on, and its plan is fixed.")
  .argument("<key>", "key of the experiment")
  .action(async (key: string) => {
    await asAdministrator("experiment", async (client) => await client.query("select experiment.start($1)", [key]));
    console.log(`"${key}" is running`);
  });

function readNumber(text: string): number {
  const number = Number(text);
  if (text.trim() === "" || !Number.isFinite(number)) throw new InvalidArgumentError("Use a number, such as 0.5.");
  return number;
}

const weights = new Command("weights")
  .description("Changes the weights of the variations of a running experiment, or the share of people who take part.")
  .argument("<key>", "key of the experiment")
  .argument(
    "[weights...]",
    "one weight for each variation; their sum is 1",
    (text: string, former: number[] | undefined) => [...(former ?? []), readNumber(text)],
  )
  .option("--coverage <share>", "share of the people who take part, up to 1", readNumber)
  .action(async (key: string, given: number[] | undefined, options: { coverage?: number }) => {
    await asAdministrator(
      "experiment",
      async (client) =>
        await client.query("select experiment.change_weights($1, $2, $3)", [
          key,
          given === undefined || given.length === 0 ? null : given,
          options.coverage ?? null,
        ]),
    );
    console.log(`"${key}" has other weights from now on`);
  });

const stop = new Command("stop")
  .description("Ends an experiment, or takes the variation back that it shipped to a feature.")
  .argument("<key>", "key of the experiment")
  .requiredOption("--reason <text>", "why; it is recorded")
  .action(async (key: string, options: { reason: string }) => {
    await asAdministrator(
      "experiment",
      async (client) => await client.query("select experiment.stop($1, $2)", [key, options.reason]),
    );
    console.log(`"${key}" is stopped`);
  });

const ship = new Command("ship")
  .description("Gives one variation to all people, and ends the experiment if it is running.")
  .argument("<key>", "key of the experiment")
  .argument("<variation>", "key of the variation")
  .action(async (key: string, variation: string) => {
    await asAdministrator(
      "experiment",
      async (client) => await client.query("select experiment.ship($1, $2)", [key, variation]),
    );
    console.log(`"${variation}" of "${key}" is shipped`);
  });

const results = new Command("results")
  .description("Prints the result of each metric in each variation, and how people are distributed.")
  .argument("<key>", "key of the experiment")
  .option("--among <sets>", "people of these sets only, such as 'segment.power & ~excluded'")
  .option("--test <test>", "another test than that of the plan: welch, sequential or bayesian")
  .option("--absolute", "print absolute differences; otherwise they are relative")
  .option("--all", "count people too whose period of the metric has not passed")
  .option("--json", "print JSON, with all columns")
  .action(async (key: string, options: { among?: string; test?: string; absolute?: true; all?: true; json?: true }) => {
    await printRows(
      `select ${
        options.json
          ? "*"
          : `metric, role, variation, people, round(figure::numeric, 4) as figure, round(effect::numeric, 4) as effect,
                round(low::numeric, 4) as low, round(high::numeric, 4) as high,
                round(coalesce(adjusted_p, p, chance_to_win)::numeric, 4) as p_or_chance, verdict`
      }
         from experiment.results($1, among => $2, test => $3, difference => $4, only_complete => $5)`,
      [
        key,
        options.among ?? null,
        options.test ?? null,
        options.absolute ? "absolute" : "relative",
        options.all === undefined,
      ],
      `"${key}" measures no metric`,
      options.json,
    );
    if (options.json) return;
    const warnings = await asAdministrator(
      "experiment",
      async (client) => {
        const { rows } = await client.query<{ warnings: string[] }>("select warnings from experiment.health($1, $2)", [
          key,
          options.among ?? null,
        ]);
        return rows[0]?.warnings ?? [];
      },
      { readOnly: true },
    );
    for (const warning of warnings) console.log(`warning: ${warning}`);
  });

const health = new Command("health")
  .description("Prints the number of exposed people by variation, and whether they are distributed by the weights.")
  .argument("<key>", "key of the experiment")
  .option("--json", "print JSON")
  .action(async (key: string, options: { json?: true }) => {
    await printRows(
      options.json
        ? "select * from experiment.health($1)"
        : `select
             arm.variation, arm.people, round(arm.expected::numeric, 1) as expected, srm_p, multiple, not_counted,
             array_to_string(warnings, ' ') as warnings
           from experiment.health($1) as known
           cross join lateral unnest(known.variations, known.people, known.expected) as arm (variation, people, expected)`,
      [key],
      `"${key}" has no variations`,
      options.json,
    );
  });

const history = new Command("history")
  .description("Prints who changed an experiment, when, and which fields.")
  .argument("<key>", "key of the experiment")
  .option("--json", "print JSON, with the values before and after")
  .action(async (key: string, options: { json?: true }) => {
    await printRows(
      options.json
        ? "select changed_at, action, actor, before, after from experiment.history($1)"
        : `select
             to_char(changed_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"') as time, action, actor,
             (
               select string_agg(field.key, ', ' order by field.key)
               from jsonb_object_keys(coalesce(before, '{}') || coalesce(after, '{}')) as field (key)
               where before is not null and before -> field.key is distinct from after -> field.key
             ) as changed
           from experiment.history($1)`,
      [key],
      `"${key}" has no history`,
      options.json,
    );
  });

const report = new Command("report")
  .description("Prints a report of an experiment as Markdown: decision, people, results, warnings and history.")
  .argument("<key>", "key of the experiment")
  .action(async (key: string) => {
    await asAdministrator("experiment", async (client) => {
      const { rows } = await client.query<{ report: string }>("select experiment.report($1)", [key]);
      process.stdout.write(rows[0]?.report ?? "");
    });
  });

const decide = new Command("decide")
  .description(
    "Ends the experiments that do harm, and those that are decided automatically, as the worker does hourly.",
  )
  .option("--json", "print JSON")
  .action(async (options: { json?: true }) => {
    await printRows(
      "select experiment, verdict, variation, reason from experiment.decide_experiments()",
      [],
      "no experiment is decided",
      options.json,
    );
  });

const experiment = new Command("experiment").description("Defines, starts, stops and ships experiments.").addHelpText(
  "after",
  `
Examples:
  insights experiment define plan.json
  insights experiment start new-player
  insights experiment weights new-player 0.2 0.8
  insights experiment results new-player --among segment.power
  insights experiment stop new-player --reason "The new player fails on phones."
  insights experiment ship new-player new
  insights experiment report new-player > report.md

A file holds the definition of one experiment, or all parts that it needs:
  {
    "features": [{"feature_key": "player", "description": "The new player of videos."}],
    "metrics": [{"metric_key": "completed", "type": "proportion", "events": ["Module Completed"], "period": "7 days"}],
    "experiments": [{
      "key": "new-player", "feature": "player", "goals": ["completed"],
      "variations": [{"key": "control", "value": false}, {"key": "new", "value": true}]
    }]
  }
The same file again changes nothing. See docs/experiments.md.`,
);
for (const command of [list, show, define, start, weights, results, health, stop, ship, history, report, decide]) {
  experiment.addCommand(command.exitOverride());
}

export default experiment;
