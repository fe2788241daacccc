import { defineTask, emptyPayload } from "../src/worker/define-task.ts";

/** Ends the experiments that do harm, and those that are decided automatically; keeps the results of ended ones. */
export default defineTask({
  name: "decide_experiments",
  payload: emptyPayload,
  async due(_payload, { call }) {
    const [found] = await call<{ any: boolean }>(
      `select exists (
        select from experiment.experiment left join experiment.kept using (experiment_id)
        where state = 'running' or stopped_at is not null and kept_at is null
      ) as any`,
    );
    return found?.any === true;
  },
  async run(_payload, { call }) {
    const decided = await call<{ experiment: string; verdict: string; variation: string | null; reason: string }>(
      "select experiment, verdict, variation, reason from experiment.decide_experiments()",
    );
    return { rows: decided.length, detail: { decided } };
  },
});
