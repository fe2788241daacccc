import { z } from "zod";
import { defineTask } from "../src/worker/define-task.ts";

/**
 * Compares the rollups with the events, each check in a transaction of its own, and repairs what differs: all of them, or
 * as many as there is time for. The next run continues; `turn_runs` is the number of runs after which all are compared.
 */
export default defineTask({
  name: "check_rollups",
  payload: z.object({
    /** Most checks; default: all rollups once. */
    checks: z.int().min(1).max(1_000_000).optional(),
    /** Time after which no further check begins. */
    seconds: z.number().min(0).max(86_400).default(20),
  }),
  async run({ checks, seconds }, tools) {
    const begin = performance.now();
    const [turn] = await tools.call<{ checks: number; seconds: number | null }>(
      "select checks::float8, extract(epoch from duration)::float8 as seconds from track.rollup_turn()",
    );
    const wanted = checks ?? turn?.checks ?? 0;
    let rows = 0;
    let differing = 0;
    let done = 0;
    const examples: string[] = [];
    while (done < wanted && !tools.stopping) {
      if (done > 0 && performance.now() - begin > 1000 * seconds) break;
      const results = await tools.call<{ rollup: string; checked: number; differing: number; example: string | null }>(
        "select rollup, checked, differing, example from track.check_rollups()",
      );
      if (results.length === 0) break;
      done += 1;
      for (const result of results) {
        rows += result.checked;
        differing += result.differing;
        if (result.example !== null) examples.push(`${result.rollup}: ${result.example}`);
      }
    }
    const all = turn?.checks ?? 0;
    return {
      rows,
      detail: {
        differing,
        checks: done,
        ...(done < all && done > 0 ? { turn_runs: Math.ceil(all / done) } : {}),
        ...(examples.length > 0 ? { examples: examples.slice(0, 10) } : {}),
      },
    };
  },
});
