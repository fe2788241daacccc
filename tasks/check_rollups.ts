import { z } from "zod";
import { defineTask } from "../src/worker/define-task.ts";

/** Compares samples of the rollups with the events, each in a transaction of its own, and repairs what differs. */
export default defineTask({
  name: "check_rollups",
  payload: z.object({ checks: z.int().min(1).max(10_000).default(4) }),
  async run({ checks }, tools) {
    let rows = 0;
    let differing = 0;
    const examples: string[] = [];
    for (let done = 0; done < checks && !tools.stopping; done++) {
      const results = await tools.call<{ rollup: string; checked: number; differing: number; example: string | null }>(
        "select rollup, checked, differing, example from track.check_rollups()",
      );
      if (results.length === 0) break;
      for (const result of results) {
        rows += result.checked;
        differing += result.differing;
        if (result.example !== null) examples.push(`${result.rollup}: ${result.example}`);
      }
    }
    return { rows, detail: { differing, ...(examples.length > 0 ? { examples: examples.slice(0, 10) } : {}) } };
  },
});
