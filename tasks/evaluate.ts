import { z } from "zod";
import { defineTask } from "../src/worker/define-task.ts";

const payload = z.object({
  /** An evaluation or a search that was started; default: all that no one has continued for ten minutes. */
  evaluation: z.number().int().positive().optional(),
  /** Starts a search of parameters with this number of trials. */
  trials: z.number().int().min(1).max(500).optional(),
  /** Kind of items of the search. */
  kind: z.string().default("course"),
  seed: z.number().int().default(1),
});

interface State {
  evaluation_id: string;
  state: "running" | "finished";
}

/** Continues evaluations and searches of parameters in steps, each in a transaction of its own. */
export default defineTask<z.infer<typeof payload>>({
  name: "evaluate",
  payload,
  async due({ evaluation, trials }, { call }) {
    if (evaluation !== undefined || trials !== undefined) return true;
    const [found] = await call<{ any: boolean }>(`select exists (${waiting}) as any`);
    return found?.any === true;
  },
  async run({ evaluation, trials, kind, seed }, tools) {
    const started =
      trials === undefined
        ? []
        : await tools.call<State>("select evaluation_id, state from recommend.start_search($1, $2, $3)", [
            kind,
            trials,
            seed,
          ]);
    const unfinished =
      evaluation !== undefined
        ? [{ evaluation_id: String(evaluation) }]
        : trials !== undefined
          ? started
          : await tools.call<State>(waiting);
    let rows = 0;
    for (const { evaluation_id } of unfinished) {
      for (let state = "running"; state === "running" && !tools.stopping; rows++) {
        const [step] = await tools.call<State>("select state from recommend.continue_evaluation($1)", [evaluation_id]);
        state = step?.state ?? "finished";
      }
    }
    return { rows, detail: { evaluations: unfinished.map(({ evaluation_id }) => Number(evaluation_id)) } };
  },
});

const waiting = `
  select evaluation_id
  from recommend.evaluation
  where state = 'running'
    and purpose in ('evaluation', 'search')
    and progressed_at < now() - interval '10 minutes'
  order by evaluation_id`;
