import { z } from "zod";
import { defineTask } from "../src/worker/define-task.ts";
import { refreshAll } from "../src/worker/refresh.ts";

const payload = z.object({
  /** `dropout`, `completion` or `activity`; default: all targets with enough data. */
  target: z.string().optional(),
  /** Only when a deployed version was marked, after the erasure of a person: it is not used until the next training. */
  marked: z.boolean().default(false),
});

interface Trained {
  row_count: string;
}

/** Trains the predictions about learners on all known outcomes; the better version is deployed. */
export default defineTask<z.output<typeof payload>>({
  name: "train_predictions",
  payload,
  async due({ target, marked }, { call }) {
    if (target !== undefined) return true;
    const [found] = await call<{ any: boolean }>(
      `select exists (
         select
         from analytics.due_predictions() as due (target)
         join analytics.prediction_target using (target)
         left join ml.project on project.name = prediction_target.project
         where not $1
           or ml.deployed_version(project.name) is null
             and exists (select from ml.deployment where deployment.project_id = project.project_id)
       ) as any`,
      [marked],
    );
    return found?.any === true;
  },
  async run({ target }, tools) {
    // In short statements; the training itself refreshes what is still queued in its own transaction.
    await refreshAll(tools.call, { stopping: () => tools.stopping });
    const columns = "project, version, algorithm, deployed, outcome, metric, value, champion_value, row_count";
    const trained: Trained[] = [];
    if (target !== undefined) {
      trained.push(...(await tools.call<Trained>(`select ${columns} from analytics.train_predictions($1)`, [target])));
    } else {
      // Step by step: other clients use the session of the embedded database in between.
      for (let finished = false; !finished && !tools.stopping; ) {
        const [step] = await tools.call<{ finished: boolean; trained: Trained | null }>(
          `select
             step.finished,
             case when (step.trained).version is not null then to_jsonb(step.trained) - 'metrics' end as trained
           from analytics.train_predictions_step() as step`,
        );
        finished = step?.finished !== false;
        if (step?.trained) trained.push(step.trained);
      }
    }
    return { rows: trained.reduce((sum, { row_count }) => sum + Number(row_count), 0), detail: { trained } };
  },
});
