import { InsightsError } from "../src/errors.ts";
import { defineTask, emptyPayload } from "../src/worker/define-task.ts";

/** Compares the ledger with the records it seals; a difference is the error of the run. */
export default defineTask({
  name: "verify_ledger",
  payload: emptyPayload,
  async run(_payload, { call }) {
    const [report] = await call<{
      entries: string;
      unsealed: string;
      removed: string;
      problem_count: string;
      problem: string | null;
      position: string | null;
      hash: string | null;
    }>(
      `select entries, unsealed, removed, problem_count, head_position as position, head_hash as hash,
         (problems[1]).problem || ' at position ' || coalesce((problems[1]).position::text, 'unknown') as problem
       from privacy.verify_ledger()`,
    );
    const { entries, unsealed, removed, problem_count: problems, problem, position, hash } = report ?? {};
    if (problems !== "0")
      throw new InsightsError(`the ledger and the records differ: ${problem} (${problems} in all)`, {
        hint: "List them: select problem.* from privacy.verify_ledger() as report cross join unnest(report.problems) as problem",
      });
    return { rows: Number(entries), detail: { unsealed, removed, position, hash } };
  },
});
