import { setTimeout as pause } from "node:timers/promises";
import { InsightsError } from "../src/errors.ts";
import { defineTask, emptyPayload } from "../src/worker/define-task.ts";

interface Step {
  rule: string;
  table_name: string;
  method: string;
  row_count: string;
  partitions: string[];
}

/** How often a step is tried again while other transactions use its tables, each time after a second. */
const mostWaits = 30;

/** Applies the rules of retention in steps, each in a transaction of its own, until nothing is left to delete. */
export default defineTask({
  name: "apply_retention",
  payload: emptyPayload,
  async due(_payload, { call }) {
    const [found] = await call<{ any: boolean }>("select exists (select from privacy.retention) as any");
    return found?.any === true;
  },
  async run(_payload, tools) {
    const deleted: Record<string, number> = {};
    const partitions: string[] = [];
    let rows = 0;
    let waits = 0;
    while (!tools.stopping) {
      const [step] = await tools.call<Step>(
        "select rule, table_name, method, row_count, partitions from privacy.apply_retention()",
      );
      if (step === undefined) break;
      if (step.method === "wait") {
        waits += 1;
        if (waits > mostWaits) {
          throw new InsightsError(`${step.table_name} is in use by other transactions; ${rows} rows were deleted`, {
            hint: "It is tried again. Look for long transactions in pg_stat_activity.",
          });
        }
        await pause(1000);
        continue;
      }
      waits = 0;
      if (step.method !== "delete" && step.method !== "anonymize") continue;
      rows += Number(step.row_count);
      deleted[step.rule] = (deleted[step.rule] ?? 0) + Number(step.row_count);
      partitions.push(...step.partitions);
    }
    return { rows, detail: { deleted, partitions } };
  },
});
