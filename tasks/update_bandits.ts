import { defineTask, emptyPayload } from "../src/worker/define-task.ts";

/** Updates the weights of the bandits whose interval has passed. */
export default defineTask({
  name: "update_bandits",
  payload: emptyPayload,
  async due(_payload, { call }) {
    const [found] = await call<{ any: boolean }>(
      "select exists (select from experiment.experiment where state = 'running' and bandit is not null) as any",
    );
    return found?.any === true;
  },
  async run(_payload, { call }) {
    const updated = await call<{ experiment: string; weights: number[] }>(
      `select experiment_key as experiment, weights
       from experiment.update_bandits()
       join experiment.experiment using (experiment_id)`,
    );
    return { rows: updated.length, detail: { updated } };
  },
});
