import { InsightsError } from "../src/errors.ts";
import { defineTask, emptyPayload } from "../src/worker/define-task.ts";

interface Step {
  erased: number;
  failed: number;
  error: string | null;
}

/**
 * Erases the people who requested it, then refreshes the views and lists that were computed with their data, and marks
 * the receipts as complete. A request that could not be carried out is the error of the run, after the others.
 */
export default defineTask({
  name: "erase",
  payload: emptyPayload,
  async due(_payload, { call }) {
    const [found] = await call<{ any: boolean }>(
      `select exists (select from privacy.erasure where completed_at is null)
         or exists (
           select from privacy.request
           where kind = 'erasure' and completed_at is null and person_id not in (select privacy.restricted())
         ) as any`,
    );
    return found?.any === true;
  },
  async run(_payload, { call, stopping }) {
    let erased = 0;
    let failed = 0;
    while (!stopping) {
      const [step] = await call<Step>("select * from privacy.erase_requested()");
      failed = step?.failed ?? 0;
      if (step === undefined || step.erased === 0) break;
      erased += step.erased;
    }
    const [open] = await call<{ now: string | null }>(
      `select clock_timestamp()::text as now from (select) as one
       where exists (select from privacy.erasure where completed_at is null)`,
    );
    let completed = 0;
    if (open !== undefined && !stopping) {
      await call("select analytics.refresh_views()");
      await call("select recommend.refresh_lists()");
      const [row] = await call<{ completed: number }>("select privacy.complete_erasures($1) as completed", [open.now]);
      completed = row?.completed ?? 0;
    }
    if (failed > 0) {
      throw new InsightsError(`requests for erasure that failed: ${failed}; erased: ${erased}`, {
        hint: "They are tried again each minute. List them: select * from privacy.open_requests where kind = 'erasure'",
      });
    }
    return { rows: erased, detail: { completed } };
  },
});
