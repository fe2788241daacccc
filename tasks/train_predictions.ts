import { z } from "zod";
import { defineTask } from "../src/task.ts";

const payload = z.object({
  /** `dropout`, `completion` or `activity`; all for which enough is known when left out. */
  question: z.string().optional(),
});

/** The predictions about learners, on all that is known by now; the better version is deployed. */
export default defineTask<z.output<typeof payload>>({
  name: "train_predictions",
  payload,
  async due({ question }, { call }) {
    if (question !== undefined) return true;
    const [found] = await call<{ any: boolean }>("select exists (select from analytics.due_predictions()) as any");
    return found?.any === true;
  },
  async run({ question }, { call }) {
    const trained = await call<{ row_count: string }>(
      `select project, version, algorithm, deployed, outcome, metric, value, champion_value, row_count
       from analytics.train_predictions($1)`,
      [question],
    );
    return { rows: trained.reduce((sum, { row_count }) => sum + Number(row_count), 0), detail: { trained } };
  },
});
